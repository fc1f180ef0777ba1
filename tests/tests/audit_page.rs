//! Promise: an auditor's browser shows who did what and who may do what, and proves it by itself: what was changed, left out, cut short
//! or signed by somebody else is shown, whatever the gateway says. Who is no auditor sees nothing.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use barnabas_tests::audit::AuditLog;
use barnabas_tests::broker::Broker;
use barnabas_tests::browser::Browser;
use barnabas_tests::clients::rd;
use barnabas_tests::clients::record::numbered;
use barnabas_tests::relay::Relay;
use barnabas_tests::scratch::Scratch;
use barnabas_tests::site::{Site, secret};
use barnabas_tests::wait;

struct Scene {
    site: Site,
    log: AuditLog,
    topic: String,
    secure: u16,
    _folder: Scratch,
}

/// A gateway whose log tells of a writer, and of somebody who was refused.
fn scene(browser_roles: &str) -> Scene {
    let folder = Scratch::new("audit-page");
    let directory = folder.join("log");
    let mut secure = 0;
    let mut site = Site::with(Broker::shared(), |settings| {
        let settings = settings.with_audit(&directory, &["window: 1s"]);
        secure = settings.ports.secure;
        let server = settings.tls.as_ref().expect("the site has TLS").server.clone();
        settings.with_secure_admin(&server, &[], browser_roles)
    });
    site.gateway.expect_in_log("may not write");
    site.gateway.expect_in_log("admin_access_refused");
    let (alice, mallory) = (site.client("alice"), site.client("mallory"));
    let (topic, secret) = (site.sealed_topic(1), secret());
    for number in 0..3 {
        rd::produce(&alice, &topic, &[numbered(&secret, number, 0)], &[]);
    }
    assert_eq!(rd::read_all(&alice, &topic).len(), 3);
    assert!(rd::try_produce(&mallory, &topic, &numbered(&secret, 9, 0)).is_err());
    let log = AuditLog::at(directory);
    log.wait_for("records.refused", |event| event["data"]["authenticationInfo"]["principal"] == "User:mallory");
    log.wait_for("records", |event| event["data"]["methodName"] == "kafka.Fetch");
    Scene { site, log, topic, secure, _folder: folder }
}

impl Scene {
    fn relay(&mut self, name: &str) -> Relay {
        Relay::start(self.secure, &self.site.authority.client(name))
    }
}

const ROLES: &str = "{ auditor: ['User:auditor'], operator: ['User:ops'] }";

const IS_VERIFIED: &str = "document.querySelector('#verdict')?.dataset.state === 'ok'";
const IS_LISTED: &str = "document.querySelectorAll('tr[data-entry]').length > 0 && document.querySelectorAll('.checked[data-state=open]').length === 0 && document.querySelector('[data-step=answers]')?.dataset.state === 'ok'";
const HAS_VERDICT: &str = "['ok', 'bad'].includes(document.querySelector('#verdict')?.dataset.state)";
const IS_BAD: &str = "document.querySelector('#verdict')?.dataset.state === 'bad'";

/// The cells of the rows that are shown.
fn rows(browser: &mut Browser) -> Vec<Value> {
    let rows = browser.eval(
        "[...document.querySelectorAll('tr[data-entry]')].map((row) => ({ entry: Number(row.dataset.entry), kind: row.dataset.kind, \
         outcome: row.dataset.outcome, text: row.innerText, checked: row.querySelector('.checked').dataset.state }))",
    );
    rows.as_array().expect("rows").clone()
}

fn submit(browser: &mut Browser, form: &str, fields: &Value) {
    browser.eval(&format!(
        "(() => {{ const form = document.querySelector('{form}'); for (const [name, value] of Object.entries({fields})) \
         form.elements[name].value = value; form.requestSubmit(); }})()"
    ));
}

#[test]
fn a_browser_verifies_the_log_by_itself_and_sees_what_was_tampered_with() {
    let mut scene = scene(ROLES);
    let relay = scene.relay("auditor");
    let mut browser = Browser::start();
    browser.open(&relay.url("/audit/"));
    browser.wait_for(IS_VERIFIED);
    browser.wait_for(IS_LISTED);
    the_timeline_tells_what_happened(&mut browser, &scene.topic);
    a_filter_shows_what_it_asks_for(&mut browser);
    the_access_matrix_shows_who_may_what(&mut browser, &scene.topic);
    the_key_can_be_compared(&mut browser, &scene.log);
    assert_eq!(browser.complaints(), [""; 0]);

    let entry = rows(&mut browser)[0]["entry"].as_u64().expect("an index");
    a_changed_byte_is_seen(&mut browser, &relay, &scene.log, entry);
    what_the_gateway_leaves_out_is_seen(&mut browser, &relay);
    a_log_that_was_cut_short_is_seen(&mut browser, &relay);
    another_key_is_seen(&mut browser, &relay);
    keep_pictures(&mut browser, &relay);
    let read = scene.log.wait_for("log.read", |event| {
        event["data"]["log"]["filter"].as_str().is_some_and(|filter| filter.contains("outcome=DENIED"))
    });
    assert_eq!(read["data"]["authenticationInfo"]["principal"], "User:auditor");
}

fn the_timeline_tells_what_happened(browser: &mut Browser, topic: &str) {
    let rows = rows(browser);
    let has = |kind: &str, outcome: &str, text: &str| {
        let meant = |row: &&Value| {
            row["kind"] == kind && row["outcome"] == outcome && row["text"].as_str().is_some_and(|t| t.contains(text))
        };
        assert!(rows.iter().any(|row| meant(&row)), "no {kind} {outcome} {text}: {rows:#?}");
    };
    has("records", "SUCCESS", &format!("wrote 1 record of {topic}"));
    has("records", "SUCCESS", &format!("read 3 records of {topic}"));
    has("authorization", "DENIED", &format!("may not write {topic}"));
    has("grant.given", "SUCCESS", &format!("may write {topic}"));
    assert!(rows.iter().all(|row| row["checked"] == "ok"), "not all rows are checked: {rows:#?}");
    // Details by keyboard: a button, and what it opens.
    browser.eval("document.querySelector('tr[data-kind=\"grant.given\"] button').click()");
    assert!(browser.text("tr.details:not([hidden]) pre").contains("\"issuedAt\""));
}

fn a_filter_shows_what_it_asks_for(browser: &mut Browser) {
    submit(browser, "#filter", &json!({"outcome": "DENIED", "principal": "mallory"}));
    browser.wait_for("document.querySelectorAll('tr[data-entry]').length > 0 && [...document.querySelectorAll('tr[data-entry]')].every((row) => row.dataset.outcome === 'DENIED' && row.querySelector('.checked').dataset.state === 'ok')");
    let shown = rows(browser);
    assert!(
        shown.iter().all(|row| row["text"].as_str().is_some_and(|text| text.contains("User:mallory"))),
        "{shown:#?}"
    );
    browser.wait_for("document.querySelector('[data-step=answers]')?.dataset.state === 'ok'");
    submit(browser, "#filter", &json!({"outcome": "", "principal": "User:nobody"}));
    browser.wait_for("document.querySelector('#found').textContent.startsWith('0 events')");
    submit(browser, "#filter", &json!({"principal": "", "kind": "grant"}));
    browser.wait_for("document.querySelectorAll('tr[data-kind=\"grant.given\"]').length >= 2");
}

fn the_access_matrix_shows_who_may_what(browser: &mut Browser, topic: &str) {
    browser.wait_for("document.querySelectorAll('#matrix .right').length > 0 && [...document.querySelectorAll('#matrix .right')].every((right) => right.dataset.state === 'ok')");
    let cell = format!(
        "(() => {{ const at = [...document.querySelectorAll('#matrix thead th')].findIndex((th) => th.textContent === {topic}); \
         const row = [...document.querySelectorAll('#matrix tbody tr')].find((tr) => tr.firstChild.textContent === 'User:alice'); \
         return row.children[at].textContent.split('').sort().join(''); }})()",
        topic = json!(topic)
    );
    assert_eq!(browser.eval(&cell), "RW");
    assert!(!browser.text("#matrix").contains("mallory"));
    submit(browser, "#moment", &json!({"at": "2020-01-01T00:00"}));
    browser.wait_for("document.querySelector('#granted').textContent.startsWith('0 rights')");
}

fn the_key_can_be_compared(browser: &mut Browser, log: &AuditLog) {
    let vkey = fs::read_to_string(log.folder().join("vkey")).expect("the log has its key");
    let digest = ring::digest::digest(&ring::digest::SHA256, vkey.trim().as_bytes());
    submit(browser, "#compare", &json!({"expected": hex::encode(digest.as_ref())}));
    browser.wait_for("document.querySelector('#compared').dataset.state === 'ok'");
    let shown = browser.text("#fingerprint").replace(' ', "");
    assert_eq!(shown, hex::encode(digest.as_ref()));
    browser.wait_for(IS_VERIFIED);
}

fn a_changed_byte_is_seen(browser: &mut Browser, relay: &Relay, log: &AuditLog, entry: u64) {
    let folder = log.folder().join("tile/entries");
    let mut kept: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
    // The log grows by being looked at: what is written anew is changed, too, until the page has met it.
    wait::until("the page says so", wait::PATIENCE, || {
        for path in bundles(&folder).into_iter().filter(|path| !kept.contains_key(path)).collect::<Vec<_>>() {
            let Ok(bytes) = fs::read(&path) else { continue };
            let mut changed = bytes.clone();
            change_entry(&mut changed, entry);
            fs::write(&path, changed).expect("a bundle can be changed by whoever has the disk");
            kept.insert(path, bytes);
        }
        browser.open(&relay.url("/audit/"));
        browser.wait_for(HAS_VERDICT);
        (browser.eval(IS_BAD) == true).then_some(())
    });
    assert!(browser.text("#verdict").contains("NOT VERIFIED"));
    browser.wait_for(&format!("document.querySelector('#faults [data-entry=\"{entry}\"]')"));
    assert!(browser.text("#faults").contains("other bytes than were logged"));
    keep(browser, "tampered");
    for (path, bytes) in kept {
        fs::write(path, bytes).expect("a bundle can be put back");
    }
    // Bundles that were written meanwhile began with the changed bytes only on the disk, not in the gateway.
    browser.open(&relay.url("/audit/"));
    browser.wait_for(IS_VERIFIED);
}

fn what_the_gateway_leaves_out_is_seen(browser: &mut Browser, relay: &Relay) {
    let script = browser.before_pages(
        "const honest = window.fetch; window.fetch = async (...asked) => { const answer = await honest(...asked); \
         if (!String(asked[0]).startsWith('query')) return answer; const told = await answer.json(); \
         told.entries = told.entries.filter(({ text }) => !text.includes('DENIED')); return new Response(JSON.stringify(told)); };",
    );
    browser.open(&relay.url("/audit/"));
    browser.wait_for(IS_BAD);
    assert!(browser.text("[data-step=answers]").contains("left out entry"));
    browser.undo(&script);
    browser.open(&relay.url("/audit/"));
    browser.wait_for(IS_VERIFIED);
}

fn a_log_that_was_cut_short_is_seen(browser: &mut Browser, relay: &Relay) {
    // As if the log had been longer at the last visit.
    let change = |how: &str| {
        format!(
            "(() => {{ const memory = JSON.parse(localStorage.getItem('barnabas.audit.memory')); {how}; localStorage.setItem('barnabas.audit.memory', JSON.stringify(memory)); }})()"
        )
    };
    browser.eval(&change("localStorage.kept = JSON.stringify(memory); memory.size += 100000"));
    browser.open(&relay.url("/audit/"));
    browser.wait_for(IS_BAD);
    assert!(browser.text("[data-step=history]").contains("ROLLED BACK"));
    browser.eval(&change("Object.assign(memory, JSON.parse(localStorage.kept)); memory.root = btoa('x'.repeat(32))"));
    browser.open(&relay.url("/audit/"));
    browser.wait_for(IS_BAD);
    assert!(browser.text("[data-step=history]").contains("REWRITTEN"));
    browser.eval(&change("Object.assign(memory, JSON.parse(localStorage.kept))"));
    browser.open(&relay.url("/audit/"));
    browser.wait_for(IS_VERIFIED);
}

fn another_key_is_seen(browser: &mut Browser, relay: &Relay) {
    submit(browser, "#compare", &json!({"expected": "00".repeat(32)}));
    browser.wait_for(IS_BAD);
    assert!(browser.text("#compared").contains("ANOTHER key"));
    browser.eval("localStorage.clear()");
    browser.open(&relay.url("/audit/"));
    browser.wait_for(IS_VERIFIED);
}

#[test]
fn who_is_no_auditor_sees_nothing_and_a_revoked_one_is_out() {
    let mut scene = scene(ROLES);
    let [auditor, ops, alice] = ["auditor", "ops", "alice"].map(|name| scene.relay(name));
    for path in ["/audit/", "/audit/log/checkpoint", "/audit/log/tile/entries/000.p/1", "/audit/query", "/audit/access"]
    {
        assert_eq!(alice.ask(path).0, 403, "{path}");
        assert_eq!(ops.ask(path).0, 403, "{path}");
    }
    assert_eq!((ops.ask("/readyz").0, auditor.ask("/readyz").0), (200, 403));
    assert_eq!(auditor.ask("/audit/").0, 200);
    assert_eq!(scene.site.gateway.admin("/audit/").0, 404, "the plain address shows no page");
    let refused = scene.log.wait_for("http.request", |event| {
        event["data"]["authenticationInfo"]["principal"] == "User:alice"
            && event["data"]["http"]["path"] == "/audit/query"
    });
    assert_eq!(refused["data"]["result"], json!({"status": "DENIED", "reason": "no_role"}));

    let mut browser = Browser::start();
    browser.open(&alice.url("/audit/"));
    assert!(browser.text("body").contains("may not see this"), "{}", browser.text("body"));

    let certificate = scene.site.authority.client("auditor");
    let late = Relay::start(scene.secure, &certificate);
    assert_eq!(late.ask("/audit/").0, 200);
    let crl = scene.site.authority.revoke(&[&certificate]);
    let server = scene.site.server.clone();
    scene.site.gateway.reload(|settings| *settings = settings.clone().with_secure_admin(&server, &[crl], ROLES));
    wait::until_true("the revoked auditor is out", || late.ask("/audit/").0 == 0);
    assert_eq!(auditor.ask("/audit/").0, 200, "another certificate of the same name goes on");
}

/// All files of bundles.
fn bundles(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the log has bundles").flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { bundles(&path) } else { vec![path] }).collect()
}

/// Changes one letter of an entry, if the bundle has it.
fn change_entry(bundle: &mut [u8], entry: u64) {
    let mut at = 0;
    for _ in 0..entry % 256 {
        let Some(length) = bundle.get(at..at + 2) else { return };
        at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
    }
    if let Some(byte) = bundle.get_mut(at + 20) {
        *byte ^= 1;
    }
}

/// For people who work on the page: `BARNABAS_PICTURES=folder` keeps what it looks like.
fn keep_pictures(browser: &mut Browser, relay: &Relay) {
    for (scheme, medium) in [("light", "screen"), ("dark", "screen"), ("light", "print")] {
        browser.prefer(scheme, medium);
        browser.open(&relay.url("/audit/"));
        browser.wait_for(IS_VERIFIED);
        browser.wait_for("document.querySelectorAll('#matrix .right[data-state=ok]').length > 0");
        keep(browser, &format!("{scheme}-{medium}"));
    }
    browser.prefer("light", "screen");
}

fn keep(browser: &mut Browser, name: &str) {
    if let Some(folder) = std::env::var_os("BARNABAS_PICTURES") {
        fs::write(Path::new(&folder).join(format!("audit-{name}.png")), browser.picture()).expect("a picture is kept");
    }
}
