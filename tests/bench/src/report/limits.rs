//! How far from the limit, and how far from what was promised.

use super::audit::audit_rows;
use super::bridge::{added_p99_millis, worst, worst_style};
use super::life::{lost_or_doubled, revoked_row, worst_rotation};
use super::{Table, acknowledged, added, column_of, cpu_per_mb, cpu_per_request, median, number, peak};
use crate::audit::Audited;
use crate::bridge::Posts;
use crate::comparison::{Column, Speed};
use crate::load::http::Style;
use crate::load::idle::Idle;
use crate::load::latency::Paired;
use crate::load::stock::Stock;
use crate::parts::Parts;
use crate::revocation::Revocation;
use crate::rotation::Rotations;
use crate::stage::Party;

/// The parts alone.
pub fn parts(parts: &Parts, value_bytes: usize) -> String {
    let mut table = Table::new(&["part alone", "CPU ms/MB"]);
    for (name, figure) in [
        (format!("AES-256-GCM seal (ring), values of {value_bytes} B"), parts.seal),
        (format!("AES-256-GCM open (ring), values of {value_bytes} B"), parts.open),
        ("CRC-32C of a batch (crc-fast)".into(), parts.crc),
        ("copy of a batch".into(), parts.copy),
        ("TLS 1.3 encryption (rustls, ring)".into(), parts.encrypt),
        ("TLS 1.3 decryption (rustls, ring)".into(), parts.decrypt),
        ("loopback socket to socket, 64 KiB reads".into(), parts.relay),
    ] {
        table.row(vec![name, format!("{figure:.3}")]);
    }
    table.text
}

/// Measured CPU against the sum of the parts that the party cannot do without.
pub fn limits(parts: &Parts, speeds: &[Column<Speed>]) -> String {
    let mut table = Table::new(&["", "produce: parts", "measured", "x parts", "consume: parts", "measured", "x parts"]);
    for column in speeds.iter().filter(|column| column.party != Party::Direct) {
        let (mut produce, mut consume) = match column.party.seals() {
            true => (parts.seal_path(), parts.open_path()),
            false => (parts.pass(), parts.pass()),
        };
        if column.party.tls() {
            produce += parts.decrypt;
            consume += parts.encrypt;
        }
        let mut row = vec![column.party.name().to_owned()];
        for (limit, measured) in [
            (produce, median(column, |round| cpu_per_mb(&round.produce))),
            (consume, median(column, |round| cpu_per_mb(&round.consume))),
        ] {
            row.push(number(Some(limit), 2));
            row.push(number(measured, 2));
            row.push(number(measured.map(|measured| measured / limit), 2));
        }
        table.row(row);
    }
    table.text
}

/// All that the verdicts look at.
pub struct Measured {
    /// Full speed, main load.
    pub speeds: Vec<Column<Speed>>,
    /// One record in a request.
    pub singles: Vec<Column<Speed>>,
    /// Fixed rate.
    pub latencies: Vec<Column<Paired>>,
    /// Kafka's own consumer.
    pub stocks: Vec<Column<Stock>>,
    /// Idle connections.
    pub idle: Vec<Column<Idle>>,
    /// Rotations under load.
    pub rotations: Vec<Column<Rotations>>,
    /// Grants revoked.
    pub revocations: Vec<Column<Revocation>>,
    /// Posts over HTTP.
    pub posts: Vec<Column<Posts>>,
    /// The audit log.
    pub audited: Option<Audited>,
}

/// Every promised figure with its bar and what this run showed.
pub fn verdicts(measured: &Measured) -> String {
    let Measured { speeds, singles, latencies, stocks, idle, rotations, revocations, posts, audited } = measured;
    let produce =
        |party| column_of(speeds, party).and_then(|column| median(column, |round| cpu_per_mb(&round.produce)));
    let consume =
        |party| column_of(speeds, party).and_then(|column| median(column, |round| cpu_per_mb(&round.consume)));
    let rate =
        |party| column_of(stocks, party).and_then(|column| median(column, |round| Some(round.records_per_second)));
    let stored = |party| column_of(speeds, party).and_then(|column| median(column, |round| Some(round.stored)));
    let added_p99 = |party| column_of(latencies, party).and_then(|column| added(column, acknowledged, 0.99));
    let minus = |left: Option<f64>, right: Option<f64>| Some(left? - right?);
    let single =
        column_of(singles, Party::Sealed).and_then(|column| median(column, |round| cpu_per_request(&round.produce)));
    let idle = column_of(idle, Party::SealedMtls).and_then(|column| median(column, |idle| Some(idle.rss / 1024.0)));
    let peak = column_of(speeds, Party::SealedMtls).and_then(|column| median(column, peak));
    let share = rate(Party::Sealed).zip(rate(Party::Direct)).map(|(sealed, direct)| sealed / direct);

    let mut table = Table::new(&["figure, 1 KiB records", "bar", "this run", "reached"]);
    let mut at_most = |name: &str, bar: Option<f64>, figure: Option<f64>, digits| {
        table.row(vec![
            name.into(),
            number(bar, digits),
            number(figure, digits),
            verdict(bar.zip(figure), |bar, figure| figure <= bar),
        ]);
    };
    at_most("sealed, produce, CPU ms/MB", Some(0.9), produce(Party::Sealed), 2);
    at_most("sealed, consume, CPU ms/MB", Some(0.7), consume(Party::Sealed), 2);
    at_most("sealed with mTLS, produce, CPU ms/MB", Some(1.5), produce(Party::SealedMtls), 2);
    at_most("sealed with mTLS, consume, CPU ms/MB", Some(1.1), consume(Party::SealedMtls), 2);
    at_most(
        "the same, produce: HAProxy's mTLS alone in this run",
        produce(Party::HaproxyMtls),
        produce(Party::SealedMtls),
        2,
    );
    at_most(
        "the same, consume: HAProxy's mTLS alone in this run",
        consume(Party::HaproxyMtls),
        consume(Party::SealedMtls),
        2,
    );
    at_most("pass-through, produce: HAProxy in this run", produce(Party::Haproxy), produce(Party::Pass), 2);
    at_most("pass-through, consume: HAProxy in this run", consume(Party::Haproxy), consume(Party::Pass), 2);
    at_most("one record in a request, sealed, CPU us", Some(30.0), single, 1);
    at_most("bytes added to a record", Some(44.0), minus(stored(Party::Sealed), stored(Party::Direct)), 1);
    at_most("added p99 of the acknowledgement, sealed, us", Some(1000.0), added_p99(Party::Sealed), 0);
    at_most("idle mTLS connection, KiB", Some(32.0), idle, 1);
    at_most("resident under load, sealed with mTLS, MB", Some(100.0), peak, 1);
    at_most("epoch rotated at full load: longest wait of a client, ms", Some(1000.0), worst_rotation(rotations), 0);
    at_most("the same: records doubled or lost", Some(0.0), lost_or_doubled(rotations), 0);
    table.row(vec![
        "sealed, rate of Kafka's own consumer: share of direct, at least".into(),
        number(Some(0.9), 2),
        number(share, 2),
        verdict(Some(0.9).zip(share), |bar, figure| figure >= bar),
    ]);
    let style = |wanted| worst_style(posts, wanted);
    let mut bridged = |what: &str, bar, figure: Option<f64>, digits| {
        let reached = verdict(Some(bar).zip(figure), |bar, figure| figure <= bar);
        table.row(vec![what.to_owned(), number(Some(bar), digits), number(figure, digits), reached]);
    };
    bridged("posted over HTTP, one a POST, CPU us/record", 25.0, style(Style::Raw), 1);
    bridged("the same, 100 a POST (v2)", 2.0, style(Style::Binary(100)), 1);
    bridged("the same, a v3 stream", 2.0, style(Style::Stream(500)), 1);
    bridged("posted at a modest rate: p99 added over a native client, ms", 2.0, worst(posts, added_p99_millis), 2);
    let reader = |posts: &Posts| posts.readers.as_ref().ok().map(|readers| readers.rss / 1024.0);
    bridged("waiting SSE reader, KiB", 64.0, worst(posts, reader), 1);
    for (name, bar, figure, digits, least) in audit_rows(audited.as_ref()) {
        let reached = verdict(bar.zip(figure), |bar, figure| if least { figure >= bar } else { figure <= bar });
        table.row(vec![name.to_owned(), number(bar, digits), number(figure, digits), reached]);
    }
    table.row(revoked_row(revocations));
    table.text
}

fn verdict(both: Option<(f64, f64)>, reached: impl Fn(f64, f64) -> bool) -> String {
    match both {
        None => "not measured".into(),
        Some((bar, figure)) if reached(bar, figure) => "yes".into(),
        Some(_) => "**no**".into(),
    }
}
