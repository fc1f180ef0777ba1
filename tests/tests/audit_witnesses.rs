//! Promise: gateways witness each other's audit logs, and so does any witness that speaks the public protocol; who verifies can demand their
//! cosignatures; a log that was put back to an older state is noticed by its witness, and everybody hears of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use barnabas_tests::audit::AuditLog;
use barnabas_tests::broker::Broker;
use barnabas_tests::certs::Authority;
use barnabas_tests::gateway::{Gateway, Home, Settings};
use barnabas_tests::scratch::Scratch;
use barnabas_tests::wait;

/// The keys of a gateway's log: its own, and that of the gateway as a witness.
fn keys(home: &Home, settings: &Settings) -> [String; 2] {
    let config = home.write("keys.yaml", &settings.yaml(home));
    let printed = home.barnabas(&["audit", "keys"], Some(&config)).ok().stdout;
    ["log", "witness"].map(|name| {
        let line = printed.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {printed}")).trim().to_owned()
    })
}

fn name(key: &str) -> &str {
    key.split('+').next().expect("a name")
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-r").args([from, to]).status();
    assert!(status.is_ok_and(|status| status.success()), "a folder can be copied");
}

/// `audit verify` of a folder: exit code and what it says.
fn verify(home: &Home, folder: &Path, key: &str, more: &[&str]) -> (Option<i32>, String) {
    let folder = folder.display().to_string();
    let finished = home.barnabas(&[&["audit", "verify", &folder, "--key", key], more].concat(), None);
    (finished.status.code(), finished.text())
}

#[test]
fn gateways_witness_each_other_and_notice_a_log_that_was_rolled_back() {
    let folder = Scratch::new("witness");
    let directories = ["one", "two"].map(|name| folder.join(name));
    let mut authority = Authority::new(folder.path());
    let server = authority.server("localhost", &["localhost"]);
    let client = authority.client("gateway-one").own.expect("a certificate");
    let homes = [Home::new(), Home::new()];
    let settings = |directory: &PathBuf| Settings::new(Broker::shared().address()).with_audit(directory, &[]);
    let [mut first, mut second] = directories.each_ref().map(settings);
    second = second.with_secure_admin(&server, &[], "{ witnessed: \"User:gateway-one\" }");
    let [log, witness] = keys(&homes[0], &first);
    let [other_log, other_witness] = keys(&homes[1], &second);

    // The first asks over TLS with a certificate, the second in the clear.
    let tls = format!(
        "{{ ca: {}, certificate: {}, private_key: {} }}",
        authority.ca().display(),
        client.certificate.display(),
        client.private_key.display()
    );
    let (secure, plain) = (second.ports.secure, first.ports.admin);
    first.audit.push(format!(
        "  witnesses: [{{ url: \"https://localhost:{secure}/witness\", key: \"{other_witness}\", tls: {tls} }}]"
    ));
    second.audit.push(format!("  witnesses: [{{ url: \"http://127.0.0.1:{plain}/witness\", key: \"{witness}\" }}]"));
    for (settings, of) in [(&mut first, &other_log), (&mut second, &log)] {
        settings.audit.push("  witness_interval: 1s".to_owned());
        settings.audit.push(format!("  witness_for: [\"{of}\"]"));
    }
    let mut one = Gateway::start(&homes[0], first);
    // Until the second is there it is not witnessed, which is worth a warning after some rounds.
    one.expect_in_log("audit_witness_does_not_cosign");
    let mut two = Gateway::start(&homes[1], second);
    two.expect_in_log("audit_witness_does_not_cosign");

    // Each has what the other has cosigned; nobody else counts.
    let demand =
        |directory: &Path, key: &str, witness: &str| verify(&homes[0], directory, key, &["--witness", witness]);
    for (directory, key, by) in [(&directories[0], &log, &other_witness), (&directories[1], &other_log, &witness)] {
        wait::until_true("the log is witnessed", || demand(directory, key, by).0 == Some(0));
        let (_, said) = demand(directory, key, by);
        assert!(said.contains(&format!("entries are witnessed by {}", name(by))), "{said}");
    }
    let (code, said) = demand(&directories[0], &log, &witness);
    assert!(code == Some(1) && said.contains("0 of 1 witnesses have cosigned"), "{said}");
    let bundle = folder.join("one.bundle");
    let (place, file) = (directories[0].display().to_string(), bundle.display().to_string());
    one.command(&["audit", "export", &place, "--bundle", &file]).ok();
    assert_eq!(demand(&bundle, &log, &other_witness).0, Some(0));
    let (code, said) = verify(&homes[0], &bundle, &log, &[]);
    assert!(code == Some(0) && said.contains(&format!("are witnessed by {}", name(&other_witness))), "{said}");
    assert!(one.metric("barnabas_audit_witnessed_entries") > 0.0);
    assert_eq!(one.metric("barnabas_audit_witness_alarm"), 0.0);
    // Anybody may ask the witness for what it has cosigned last.
    let memory = fs::read_dir(folder.join("two.witness")).expect("the witness's memory").flatten();
    let hash = memory.map(|file| file.file_name().to_string_lossy().into_owned()).find(|name| name.len() == 64);
    let path = format!("/witness/{}/checkpoint", hash.expect("it has seen the log"));
    let (status, checkpoint) = two.admin(&path);
    assert!(status == 200 && checkpoint.starts_with(name(&log)), "{status} {checkpoint}");
    assert!(checkpoint.contains(&format!("\u{2014} {} ", name(&other_witness))), "{checkpoint}");

    // The log goes on, is witnessed, and is then put back to where it was.
    one.terminate();
    let old = folder.join("old");
    copy(&directories[0], &old);
    let seen = |two: &Gateway| -> u64 {
        let text = two.admin(&path).1;
        text.lines().nth(1).and_then(|size| size.parse().ok()).expect("a size")
    };
    let before = AuditLog::at(&old).events().len() as u64;
    for _ in 0..2 {
        one.restart();
        one.terminate();
        // The last thing that a gateway does.
        let known = AuditLog::at(&directories[0]).events().len() as u64;
        assert_eq!(seen(&two), known, "all of it is witnessed");
    }
    assert!(seen(&two) > before);
    let kept = folder.write("kept.checkpoint", &two.admin(&path).1);
    fs::rename(&directories[0], folder.join("whole")).expect("a folder can be moved");
    copy(&old, &directories[0]);
    assert_eq!(verify(&homes[0], &directories[0], &log, &[]).0, Some(0), "by itself the old folder is whole");
    let kept = kept.display().to_string();
    let (code, said) = verify(&homes[0], &directories[0], &log, &["--checkpoint", &kept]);
    assert!(code == Some(1) && said.contains("rolled-back"), "{said}");
    assert_eq!(verify(&homes[0], &folder.join("whole"), &log, &["--checkpoint", &kept]).0, Some(0));

    one.expect_in_log("audit_witness_alarm");
    two.expect_in_log("audit_witness_saw_a_");
    one.restart();
    one.wait_for_log("audit_witness_alarm");
    two.wait_for_log("audit_witness_saw_a_");
    let reason = |event: &serde_json::Value| {
        let reason = event["data"]["result"]["reason"].as_str().unwrap_or_default().to_owned();
        ["log_shorter", "log_forked"].contains(&reason.as_str())
    };
    for directory in &directories {
        let alarm = AuditLog::at(directory).wait_for("log.witness_alarm", reason);
        assert_eq!(alarm["data"]["log"]["origin"], name(&log), "{alarm}");
        assert_eq!(alarm["data"]["log"]["witness"], name(&other_witness), "{alarm}");
    }
    assert!(one.metric("barnabas_audit_witness_alarm") > 0.0);
    assert!(two.metric("barnabas_audit_other_log_alarms_total") > 0.0);
    one.terminate();
    two.terminate();
}
