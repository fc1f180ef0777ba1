//! An HTTP/1.1 client of the tests: blocking, over TLS with a client certificate or in the clear, one connection kept for many requests.
//!
//! Written by hand, so that a test can say what no library would: half a body, a wrong length, a head that never ends. Every read is
//! bounded in time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderName;

use crate::certs::{self, ClientFiles};
use crate::wait::PATIENCE;

/// A connection to the bridge.
pub struct Http {
    stream: BufReader<Box<dyn Stream>>,
    host: String,
}

/// A web socket over any stream.
pub type Socket = tungstenite::WebSocket<Box<dyn Stream>>;

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Field names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A byte stream of either kind.
pub trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

impl Http {
    /// Connects by TLS as whom the files say.
    #[track_caller]
    pub fn tls(address: &str, files: &ClientFiles) -> Self {
        Self::try_tls(address, files).unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"))
    }

    /// The same, where the connection may be refused.
    pub fn try_tls(address: &str, files: &ClientFiles) -> io::Result<Self> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host).to_owned();
        let name = ServerName::try_from(host).map_err(io::Error::other)?;
        let config = Arc::new(certs::client_config(files));
        let session = rustls::ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = rustls::StreamOwned::new(session, connect(address)?);
        stream.flush()?;
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream: BufReader::new(Box::new(stream)), host: address.to_owned() })
    }

    /// Connects in the clear.
    #[track_caller]
    pub fn plain(address: &str) -> Self {
        let stream = connect(address).unwrap_or_else(|e| panic!("cannot connect to {address}: {e}"));
        Self { stream: BufReader::new(Box::new(stream)), host: address.to_owned() }
    }

    /// `GET`.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"")
    }

    /// `POST` of a body under a content type.
    #[track_caller]
    pub fn post(&mut self, path: &str, content_type: &str, body: impl AsRef<[u8]>) -> Answer {
        self.ask("POST", path, &[("content-type", content_type)], body.as_ref())
    }

    /// Any request.
    #[track_caller]
    pub fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.try_ask(method, path, headers, body).unwrap_or_else(|e| panic!("{method} {path}: {e}"))
    }

    /// The same, where the connection may end.
    pub fn try_ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> io::Result<Answer> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || method == "POST" {
            head += &format!("content-length: {}\r\n", body.len());
        }
        head += "\r\n";
        // In one piece, as clients that care send it.
        self.send(&[head.as_bytes(), body].concat())?;
        self.answer()
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Reads one answer.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut answer = self.head()?;
        if answer.header("transfer-encoding") == Some("chunked") {
            while self.chunk(&mut answer.body)? > 0 {}
        } else if let Some(length) = answer.header("content-length").and_then(|length| length.parse().ok()) {
            answer.body = vec![0; length];
            self.stream.read_exact(&mut answer.body)?;
        }
        Ok(answer)
    }

    /// Reads a piece of an answer that goes on; an empty one is its end.
    pub fn piece(&mut self) -> io::Result<Vec<u8>> {
        let mut piece = Vec::new();
        self.chunk(&mut piece)?;
        Ok(piece)
    }

    fn head(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("not a status line: {line}")))?;
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Answer { status, headers, body: Vec::new() })
    }

    /// Begins a request whose body comes in pieces, and is answered in pieces.
    #[track_caller]
    pub fn open(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) -> Open<'_> {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {}\r\ntransfer-encoding: chunked\r\n", self.host);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += "\r\n";
        self.send(head.as_bytes()).unwrap_or_else(|e| panic!("{method} {path}: {e}"));
        Open(self)
    }

    /// Opens a web socket; the error is the answer that came instead.
    pub fn socket(self, path: &str, headers: &[(&str, &str)]) -> Result<Socket, Box<tungstenite::Error>> {
        let mut request = format!("ws://{}{path}", self.host).into_client_request()?;
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a header name");
            request.headers_mut().insert(name, value.parse().expect("a header value"));
        }
        match tungstenite::client(request, self.stream.into_inner()) {
            Ok((socket, _)) => Ok(socket),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(Box::new(error)),
            Err(tungstenite::HandshakeError::Interrupted(_)) => panic!("the stream blocks"),
        }
    }

    /// Begins an answer that goes on: its head, and then line by line what comes.
    pub fn read_on(mut self, path: &str, headers: &[(&str, &str)]) -> io::Result<(Answer, Lines)> {
        let mut head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\n", self.host);
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.send((head + "\r\n").as_bytes())?;
        let answer = self.head()?;
        Ok((answer, Lines { http: self, seen: Vec::new() }))
    }

    fn chunk(&mut self, body: &mut Vec<u8>) -> io::Result<usize> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let start = body.len();
        body.resize(start + length, 0);
        self.stream.read_exact(&mut body[start..])?;
        self.stream.read_line(&mut String::new())?;
        Ok(length)
    }
}

/// A request whose body is being written, and whose answer is being read.
pub struct Open<'a>(&'a mut Http);

impl Open<'_> {
    /// Writes a piece of the body.
    pub fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.0.send(&[format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat())
    }

    /// Ends the body.
    pub fn finish(&mut self) -> io::Result<()> {
        self.0.send(b"0\r\n\r\n")
    }

    /// Reads the head of the answer.
    pub fn read_head(&mut self) -> io::Result<Answer> {
        self.0.head()
    }

    /// Reads a piece of the answer; an empty one is its end.
    pub fn read(&mut self) -> io::Result<Vec<u8>> {
        self.0.piece()
    }
}

/// The lines of an answer that goes on.
pub struct Lines {
    http: Http,
    seen: Vec<u8>,
}

impl Lines {
    /// The next line, without its end; `None` when the answer has ended, in whatever way.
    pub fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.seen.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.seen.drain(..=at).collect();
                return Some(String::from_utf8(line).expect("text").trim_end().to_owned());
            }
            if self.http.chunk(&mut self.seen).ok()? == 0 {
                return None;
            }
        }
    }

    /// The next line that is not empty, as JSON.
    pub fn json(&mut self) -> Option<Value> {
        loop {
            match self.line()? {
                line if line.is_empty() => {}
                line => return Some(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))),
            }
        }
    }

    /// The next Server-Sent Event that has data.
    pub fn event(&mut self) -> Option<SentEvent> {
        let mut event = SentEvent::default();
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("data", data)) => event.data = data.to_owned(),
                Some(("id", id)) => event.id = id.to_owned(),
                Some(("event", name)) => event.name = name.to_owned(),
                None if line.is_empty() && !event.data.is_empty() => return Some(event),
                _ => {}
            }
        }
    }
}

/// One event.
#[derive(Clone, Debug, Default)]
pub struct SentEvent {
    /// `event`.
    pub name: String,
    /// `id`.
    pub id: String,
    /// `data`.
    pub data: String,
}

impl Answer {
    /// The first field of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("not JSON ({e}): {self:?}"))
    }

    /// The status was this one.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// It is an error with this status and code, in the documented form.
    #[track_caller]
    pub fn is_error(&self, status: u16, code: u32) {
        assert_eq!(self.status, status, "{}", self.text());
        let body = self.json();
        assert_eq!(body["error_code"], code, "{body}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let port = address.rsplit_once(':').map_or(address, |(_, port)| port);
    let stream = TcpStream::connect(format!("127.0.0.1:{port}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
