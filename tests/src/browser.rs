//! A real Chromium without a window, driven by the DevTools protocol over two pipes: no port, no driver, no socket library.
//! Scripts that fail, requests that a policy stops and addresses that do not answer are collected: a test asks for them at its end.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait::{self, PATIENCE};

/// A browser with one page.
pub struct Browser {
    process: Process,
    to: File,
    from: Receiver<Value>,
    events: VecDeque<Value>,
    session: Option<String>,
    next: u64,
    folder: Scratch,
}

impl Browser {
    /// Starts it, with a memory of its own that is empty.
    ///
    /// # Panics
    /// When there is no Chromium.
    pub fn start() -> Self {
        let folder = Scratch::new("browser");
        let (input, output) = (folder.join("in"), folder.join("out"));
        let made = Command::new("mkfifo").args([&input, &output]).status().expect("mkfifo is there");
        assert!(made.success(), "the pipes cannot be made");
        let mut command = Command::new("sh");
        command.args(["-c", "exec chromium \"$@\" 3<\"$BROWSER_IN\" 4>\"$BROWSER_OUT\"", "chromium"]);
        command.args(FLAGS).arg(format!("--user-data-dir={}", folder.join("profile").display()));
        command.env("BROWSER_IN", &input).env("BROWSER_OUT", &output);
        let process = Process::start("chromium (Debian package chromium)", &command, &folder.join("chromium.log"));
        // Opened in the order of the shell: each side waits for the other.
        let to = File::options().write(true).open(&input).expect("the browser reads the pipe");
        let from = messages(&output);
        let mut browser = Self { process, to, from, events: VecDeque::new(), session: None, next: 1, folder };
        let target = browser.call("Target.createTarget", json!({"url": "about:blank"}));
        let attached = browser.call("Target.attachToTarget", json!({"targetId": target["targetId"], "flatten": true}));
        browser.session = attached["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.call(&format!("{domain}.enable"), json!({}));
        }
        browser.resize(1280, 900);
        browser
    }

    /// The size of the page, in pixels.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// `dark` or `light`; `print` for paper.
    pub fn prefer(&mut self, scheme: &str, medium: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"media": medium, "features": features}));
    }

    /// Runs a script before every script of the pages to come; `undo` with what it gives.
    pub fn before_pages(&mut self, script: &str) -> String {
        let added = self.call("Page.addScriptToEvaluateOnNewDocument", json!({"source": script}));
        added["identifier"].as_str().expect("an identifier").to_owned()
    }

    /// Takes such a script away.
    pub fn undo(&mut self, identifier: &str) {
        self.call("Page.removeScriptToEvaluateOnNewDocument", json!({"identifier": identifier}));
    }

    /// Goes to an address, and waits until the document is there.
    pub fn open(&mut self, url: &str) {
        let went = self.call("Page.navigate", json!({"url": url}));
        assert!(went.get("errorText").is_none(), "cannot open {url}: {went}");
        self.wait_for("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// What an expression gives; a promise is waited for.
    ///
    /// # Panics
    /// When it throws.
    #[track_caller]
    pub fn eval(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "awaitPromise": true, "returnByValue": true});
        let answer = self.call("Runtime.evaluate", asked);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// The text of the first element of a selector.
    #[track_caller]
    pub fn text(&mut self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({})?.innerText ?? ''", json!(selector)));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn wait_for(&mut self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        while self.eval(&format!("Boolean({expression})")) != json!(true) {
            let text = self.text("body");
            assert!(Instant::now() < end, "waited in vain: {expression}\n{text}\n{:?}", self.complaints());
            thread::sleep(wait::PAUSE);
        }
    }

    /// A picture of the whole page as it would be scrolled through, PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        let shot = self.call("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": true}));
        BASE64.decode(shot["data"].as_str().expect("a picture")).expect("base64")
    }

    /// What went wrong in the pages up to now, forgotten afterwards.
    pub fn complaints(&mut self) -> Vec<String> {
        while let Ok(message) = self.from.try_recv() {
            self.events.push_back(message);
        }
        let of = |event: &Value| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => Some(event["params"]["exceptionDetails"].to_string()),
            Some("Log.entryAdded") => Some(&event["params"]["entry"])
                .filter(|entry| entry["level"] == "error" || entry["level"] == "warning")
                .map(|entry| format!("{} {}", entry["text"], entry["url"])),
            _ => None,
        };
        self.events.drain(..).filter_map(|event| of(&event)).collect()
    }

    fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.next;
        self.next += 1;
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap_or_else(|e| panic!("the browser is gone: {e}\n{}", self.process.tail()));
        loop {
            let message = self.from.recv_timeout(PATIENCE);
            let message = message.unwrap_or_else(|_| panic!("no answer to {method}\n{}", self.process.tail()));
            if message["id"] != json!(id) {
                self.events.push_back(message);
                continue;
            }
            assert!(message.get("error").is_none(), "{method}: {message}");
            return message["result"].clone();
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its helpers end with it when it ends by itself.
        let _ = self.to.write_all(b"{\"id\":0,\"method\":\"Browser.close\"}\0");
        let end = Instant::now() + PATIENCE;
        while self.process.is_running() && Instant::now() < end {
            thread::sleep(wait::PAUSE);
        }
        let _ = fs::remove_dir_all(self.folder.join("profile"));
    }
}

/// What the browser says, message by message.
fn messages(path: &Path) -> Receiver<Value> {
    let file = File::open(path).expect("the browser writes the pipe");
    let (send, receive) = channel();
    thread::spawn(move || {
        for message in BufReader::new(file).split(0).map_while(Result::ok) {
            let Ok(message) = serde_json::from_slice(&message) else { continue };
            if send.send(message).is_err() {
                break;
            }
        }
    });
    receive
}

/// No window, no sandbox of its own (tests may run as root), nothing asked of the network by itself.
const FLAGS: [&str; 13] = [
    "--remote-debugging-pipe",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
];
