//! The six steps: a stage arrives, a screenful leaves, and the word that each step has really happened.
//!
//! Every step is announced, done, and checked before its `ok` is printed. The first one that is not as it should be
//! ends the show with its number. What must never happen here: an `ok` for something that was assumed.

use std::io::Write;
use std::time::Duration;

use rdkafka::Message;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::OwnedMessage;
use serde_json::Value;

use super::anatomy::{Anatomy, SHORTEST_PIECE, gives_away};
use super::ledger;
use super::screen::{Ink, Screen};
use super::stage::{ORDERS, Stage};
use super::stock::{Stock, Told};
use crate::cli::{Exit, Failure};

/// Performs all steps in order.
pub(super) async fn perform<W: Write>(stage: &Stage, screen: &mut Screen<W>) -> Result<(), Failure> {
    goes_in(stage, screen).await.map_err(|why| failed(1, why))?;
    let stored = is_stored(stage, screen).await.map_err(|why| failed(2, why))?;
    is_read(stage, screen).await.map_err(|why| failed(3, why))?;
    is_refused(stage, screen).await.map_err(|why| failed(4, why))?;
    is_detected(stage, screen, stored).await.map_err(|why| failed(5, why))?;
    is_proved(stage, screen).await.map_err(|why| failed(6, why))
}

fn failed(step: usize, why: String) -> Failure {
    Failure::new(Exit::Failed, format!("step {step} of the demo failed: {why}"))
}

async fn goes_in<W: Write>(stage: &Stage, screen: &mut Screen<W>) -> Result<(), String> {
    say(screen.step(
        1,
        "A record goes in",
        &format!("alice, a stock client with a certificate, writes to `{ORDERS}`"),
    ))?;
    say(screen.line("key", Ink::Open, KEY))?;
    say(screen.line("value", Ink::Open, VALUE))?;
    let offset =
        Stock::of_gateway(stage, "alice").write(ORDERS, KEY.as_bytes(), VALUE.as_bytes()).await.map_err(text)?;
    if offset != 0 {
        return Err(format!("the first record of `{ORDERS}` is at offset {offset}"));
    }
    say(screen.good("acknowledged: partition 0, offset 0; her client knows nothing of sealing"))
}

async fn is_stored<W: Write>(stage: &Stage, screen: &mut Screen<W>) -> Result<OwnedMessage, String> {
    let what = "the record's value, asked of the broker itself, past the gateway";
    say(screen.step(2, "What the broker stores", what))?;
    let record = told_record(Stock::of_brokers(stage).read(ORDERS).map_err(text)?.next().await)?;
    let value = record.payload().ok_or("the stored record has no value")?;
    let anatomy = Anatomy::of(value)?;
    say(anatomy.show(screen))?;
    let whole = [record.key().unwrap_or_default(), value].concat();
    if gives_away(VALUE.as_bytes(), &whole) {
        return Err("the stored bytes hold a piece of the plaintext".to_owned());
    }
    if record.key() != Some(KEY.as_bytes()) {
        return Err("the stored record has another key".to_owned());
    }
    let (plain, sealed) = (VALUE.len(), value.len());
    say(screen.good(&format!(
        "{sealed} bytes for her {plain}; no {SHORTEST_PIECE} bytes in a row of the plaintext are among them"
    )))?;
    say(screen.note("              (the record's key stays readable: Kafka partitions and compacts by it)"))?;
    Ok(record)
}

async fn is_read<W: Write>(stage: &Stage, screen: &mut Screen<W>) -> Result<(), String> {
    say(screen.step(3, "The granted client reads it", "bob, a stock client, has a grant from the steward"))?;
    let record = told_record(Stock::of_gateway(stage, "bob").read(ORDERS).map_err(text)?.next().await)?;
    say(screen.line("value", Ink::Open, &String::from_utf8_lossy(record.payload().unwrap_or_default())))?;
    if !is_alices(&record) {
        return Err("bob was given something else than alice wrote".to_owned());
    }
    say(screen.good("offset 0: byte for byte what alice wrote"))
}

async fn is_refused<W: Write>(stage: &Stage, screen: &mut Screen<W>) -> Result<(), String> {
    let what = "eve has a certificate, too, but no grant";
    say(screen.step(4, "A client without a grant is refused", what))?;
    let (code, words) = told_error(Stock::of_gateway(stage, "eve").read(ORDERS).map_err(text)?.next().await)?;
    say(screen.line("eve sees", Ink::Bad, &words))?;
    if code != RDKafkaErrorCode::TopicAuthorizationFailed {
        return Err("eve's client was given another error".to_owned());
    }
    let event = refusal(stage, "User:eve").await?;
    say(screen.line("log says", Ink::Bad, &named(&event)))?;
    say(screen.good("Kafka's own error, which every client knows; she was given no record"))
}

async fn is_detected<W: Write>(stage: &Stage, screen: &mut Screen<W>, stored: OwnedMessage) -> Result<(), String> {
    let mut value = stored.payload().unwrap_or_default().to_vec();
    let at = Anatomy::of(&value)?.ciphertext_at() + FLIPPED;
    let byte = value.get_mut(at).ok_or("the ciphertext is too short to flip a byte in")?;
    let before = *byte;
    *byte ^= 1;
    let what = format!("a copy is stored at the broker, byte {at} is {:02x} instead of {before:02x}", *byte);
    say(screen.step(5, "A flipped byte is detected", &what))?;
    let offset = Stock::of_brokers(stage).write(ORDERS, KEY.as_bytes(), &value).await.map_err(text)?;
    let reader = Stock::of_gateway(stage, "bob").read(ORDERS).map_err(text)?;
    if !is_alices(&told_record(reader.next().await)?) {
        return Err("bob was given something else than alice wrote".to_owned());
    }
    let (code, words) = told_error(reader.next().await)?;
    say(screen.line("bob sees", Ink::Bad, &words))?;
    if code != RDKafkaErrorCode::InvalidRecord {
        return Err("bob's client was given another error".to_owned());
    }
    let event = refusal(stage, "User:bob").await?;
    say(screen.line("log says", Ink::Bad, &named(&event)))?;
    let place = (event.get("topic").and_then(Value::as_str), number(&event, "partition"), number(&event, "offset"));
    if place != (Some(ORDERS), Some(0), Some(offset)) || !reason(&event).contains("authentication") {
        return Err(format!("the gateway does not name the record: {event}"));
    }
    if reader.position() != Some(offset) {
        return Err(format!("bob's client stands at {:?} instead of offset {offset}", reader.position()));
    }
    say(screen
        .good(&format!("bob has offset 0 and stands before offset {offset}: the forged record is never delivered")))
}

async fn is_proved<W: Write>(stage: &Stage, screen: &mut Screen<W>) -> Result<(), String> {
    let what = "each use of a key, each grant and refusal above is an entry under a signed checkpoint";
    say(screen.step(6, "The log proves itself", what))?;
    let size = ledger::whole(&stage.audit(), EVE).await?;
    say(screen.line(
        "the log",
        Ink::Open,
        &format!("{size} entries: nothing was changed, removed, inserted or moved"),
    ))?;
    let fault = ledger::tampered(&stage.audit(), &stage.folder().join("audit-tampered"), (EVE, ANNA))?;
    say(screen.line("a copy", Ink::Bad, &format!("where {EVE} became {ANNA}: {fault}")))?;
    say(screen.good("verified from the files alone, by whoever has the log's public key"))
}

fn is_alices(record: &OwnedMessage) -> bool {
    let same = record.key() == Some(KEY.as_bytes()) && record.payload() == Some(VALUE.as_bytes());
    same && record.offset() == 0
}

/// The gateway's log line about a record that `principal` was not given. It is written before the client is answered.
async fn refusal(stage: &Stage, principal: &str) -> Result<Value, String> {
    for _ in 0..LOOKS {
        let log = std::fs::read_to_string(stage.log()).map_err(text)?;
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let wanted = |event: &Value| {
            let is = |field: &str, text: &str| event.get(field).and_then(Value::as_str) == Some(text);
            is("event", "fetch_refused") && is("principal", principal)
        };
        if let Some(event) = events.into_iter().find(wanted) {
            return Ok(event);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Err(format!("the gateway's log says nothing about what {principal} was refused"))
}

fn named(event: &Value) -> String {
    let topic = event.get("topic").and_then(Value::as_str).unwrap_or("?");
    let place = |field| match number(event, field) {
        Some(number) if number >= 0 => format!(", {field} {number}"),
        // The refusal is about the whole partition.
        _ => String::new(),
    };
    format!("topic {topic}{}{}: {}", place("partition"), place("offset"), reason(event))
}

fn number(event: &Value, field: &str) -> Option<i64> {
    event.get(field).and_then(Value::as_i64)
}

fn reason(event: &Value) -> &str {
    event.get("reason").and_then(Value::as_str).unwrap_or_default()
}

fn told_record(told: Told) -> Result<OwnedMessage, String> {
    match told {
        Told::Record(record) => Ok(record),
        Told::Refused(_, words) => Err(words),
        Told::Nothing => Err("no record came".to_owned()),
    }
}

fn told_error(told: Told) -> Result<(RDKafkaErrorCode, String), String> {
    match told {
        Told::Record(record) => Err(format!("a record was delivered, at offset {}", record.offset())),
        Told::Refused(code, words) => Ok((code, words)),
        Told::Nothing => Err("neither a record nor an error came".to_owned()),
    }
}

fn say(printed: std::io::Result<()>) -> Result<(), String> {
    printed.map_err(text)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// Who was refused, and who somebody who tampers would like it to have been.
const EVE: &str = "User:eve";
const ANNA: &str = "User:ann";

const KEY: &str = "order-1";

const VALUE: &str = r#"{"customer":"Frieda","card":"4111 1111 1111 1111","total":42}"#;

/// Which byte of the ciphertext is changed.
const FLIPPED: usize = 7;

const LOOKS: usize = 100;

const LOOK_AGAIN: Duration = Duration::from_millis(50);
