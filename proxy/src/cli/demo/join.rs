//! How the user's own client joins: the stage arrives, files with its properties and the exact command lines leave.
//! The lines write to and read from a topic of their own, since the show leaves a forged record in the other one.

use std::io::Write;
use std::path::Path;

use zeroize::Zeroizing;

use super::screen::{Ink, Screen};
use super::stage::{LETTERS, Stage};
use super::stock;
use crate::cli::Failure;
use crate::cli::init::write_new;

/// Writes the files and prints the lines.
pub(super) fn tell<W: Write>(stage: &Stage, screen: &mut Screen<W>) -> Result<(), Failure> {
    for name in ["alice", "bob", "eve"] {
        write_properties(stage, name)?;
    }
    let file = |name: &str| stage.folder().join(name).display().to_string();
    let bootstrap = stage.bootstrap();
    screen.blank()?;
    screen.title(&format!("Your turn. The gateway stays up at {bootstrap} until Ctrl-C; `{LETTERS}` is sealed, alice and bob may write and read it"))?;
    let say = |screen: &mut Screen<W>, title: &str, lines: &[String]| {
        screen.note(title)?;
        lines.iter().try_for_each(|line| screen.spans(&[(Ink::Plain, &format!("  {line}"))]))
    };
    say(
        screen,
        "kcat writes as alice, reads as bob, and is refused as eve:",
        &[
            format!("echo hello | kcat -F {} -P -t {LETTERS} -k first", file("alice.conf")),
            format!("kcat -F {} -C -t {LETTERS} -e", file("bob.conf")),
            format!("kcat -F {} -C -t {LETTERS} -e", file("eve.conf")),
        ],
    )?;
    say(
        screen,
        "Kafka's own tools:",
        &[
            format!(
                "kafka-console-producer.sh --bootstrap-server {bootstrap} --producer.config {} --topic {LETTERS}",
                file("alice.properties")
            ),
            format!(
                "kafka-console-consumer.sh --bootstrap-server {bootstrap} --consumer.config {} --topic {LETTERS} --from-beginning",
                file("bob.properties")
            ),
        ],
    )?;
    let curl = |name: &str| {
        let [authority, own, key] = ["ca.pem".to_owned(), format!("{name}.pem"), format!("{name}.key")]
            .map(|file| stage.tls_file(&file).display().to_string());
        format!("curl --cacert {authority} --cert {own} --key {key}")
    };
    let records = format!("{}/v1/topics/{LETTERS}", stage.bridge());
    say(
        screen,
        "Without a Kafka client: alice posts by HTTPS, bob is sent what comes, until Ctrl-C:",
        &[
            format!("{} --data-binary 'hello by HTTP' {records}/records", curl("alice")),
            format!("{} -N '{records}/events?from=beginning&format=text'", curl("bob")),
        ],
    )?;
    say(
        screen,
        "See for yourself what the broker stores, past the gateway:",
        &[format!("kcat -b {} -C -t {LETTERS} -e | xxd", stage.upstream())],
    )?;
    say(
        screen,
        "The gateway:",
        &[
            format!("curl {0}/readyz ; curl {0}/metrics", stage.admin()),
            format!("less {}", stage.configuration().display()),
            format!("tail -f {}", stage.log().display()),
            format!("barnabas audit verify {0} ; barnabas audit query {0} --outcome denied", stage.audit().display()),
        ],
    )?;
    Ok(())
}

/// `NAME.conf` for librdkafka's clients, `NAME.properties` for Java's, which want certificate and key in one file.
fn write_properties(stage: &Stage, name: &str) -> Result<(), Failure> {
    let conf: String = stock::properties(stage, name).iter().map(|(key, value)| format!("{key}={value}\n")).collect();
    write_new(&stage.folder().join(format!("{name}.conf")), conf.as_bytes(), 0o644)?;
    let both = stage.tls_file(&format!("{name}.both.pem"));
    let key = Zeroizing::new(std::fs::read(stage.tls_file(&format!("{name}.key")))?);
    let certificate = std::fs::read(stage.tls_file(&format!("{name}.pem")))?;
    write_new(&both, &Zeroizing::new([key.as_slice(), &certificate].concat()), 0o600)?;
    let java = java_properties(&stage.tls_file("ca.pem"), &both);
    write_new(&stage.folder().join(format!("{name}.properties")), java.as_bytes(), 0o644)
}

fn java_properties(authority: &Path, both: &Path) -> String {
    format!(
        "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location={}\nssl.keystore.type=PEM\nssl.keystore.location={}\n",
        authority.display(),
        both.display()
    )
}
