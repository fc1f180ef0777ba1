//! What the audit log costs, and how much it takes.

use std::time::Duration;

use super::{SIDES, Table, acknowledged, cpu_per_mb, micros, number};
use crate::audit::{Audited, OFF, Round};
use crate::comparison::Speed;
use crate::histogram::Histogram;
use crate::load::{Figures, MEBIBYTE};

/// CPU and latency by way of keeping the log; the log alone; memory while a sink is dead.
pub fn audited(audited: &Audited) -> String {
    [ways(audited), journal(audited), sinks(audited)].join("\n")
}

fn ways(audited: &Audited) -> String {
    let mut table = Table::new(&[
        "audit log",
        "produce CPU ms/MB",
        "x off beside it",
        "consume CPU ms/MB",
        "x off beside it",
        "ack p50 / p99, us",
        "added to off",
        "first request of a connection p50 / p99, us",
        "added to off",
    ]);
    for (name, rounds) in &audited.ways {
        let rounds = rounds.as_deref().unwrap_or_default();
        let mut row = vec![(*name).to_owned()];
        for side in SIDES {
            let pairs = audited.pairs(name).iter();
            row.push(number(middle(pairs.filter_map(|pair| cpu_per_mb(side(&pair.with)))), 2));
            row.push(match quarters(ratios(audited, name, side)) {
                Some((low, middle, high)) => format!("{middle:.3} ({low:.3}-{high:.3})"),
                None => "-".into(),
            });
        }
        for of in LATENCIES {
            let both = QUANTILES.map(|at| middle(rounds.iter().map(|round| of(round, at))));
            row.push(both.map(|figure| number(figure, 0)).join(" / "));
            row.push(QUANTILES.map(|at| number(added(audited, name, of, at), 0)).join(" / "));
        }
        table.row(row);
    }
    table.text
}

fn journal(audited: &Audited) -> String {
    let mut table = Table::new(&[
        "the log alone",
        "events/s appended and synced",
        "under a checkpoint",
        "CPU us/event",
        "bytes/event",
        "events/s of the disk alone",
        "one event synced alone p50 / p99, us",
        "entries verified",
        "s",
    ]);
    if let Ok(journal) = &audited.journal {
        let alone = QUANTILES.map(|at| number(Some(in_micros(&journal.alone, at)), 0));
        table.row(vec![
            "one thread makes them".into(),
            number(Some(journal.events), 0),
            number(Some(journal.checkpoints), 0),
            number(Some(journal.cpu.as_secs_f64() * 1e6), 1),
            number(Some(journal.bytes), 0),
            number(Some(journal.disk), 0),
            alone.join(" / "),
            journal.verified.to_string(),
            number(Some(journal.verifying.as_secs_f64()), 1),
        ]);
    }
    table.text
}

fn sinks(audited: &Audited) -> String {
    let mut table = Table::new(&["memory", "events", "RSS before, MB", "peak, MB"]);
    for (name, growth) in ["no sink", "a sink that is dead"].into_iter().zip(audited.sinks.iter().flatten()) {
        let megabytes = |bytes: u64| number(Some(bytes as f64 / MEBIBYTE), 1);
        table.row(vec![name.into(), growth.events.to_string(), megabytes(growth.before), megabytes(growth.peak)]);
    }
    table.text
}

/// A row of the verdicts: what, its bar, this run, digits, and whether the bar is the least.
pub(super) type Row = (&'static str, Option<f64>, Option<f64>, usize, bool);

/// The promised figures.
pub(super) fn audit_rows(audited: Option<&Audited>) -> Vec<Row> {
    let alarm = |side: usize| middle(ratios(audited?, "alarm", *SIDES.get(side)?).into_iter());
    let calm = |way| added(audited?, way, LATENCIES[0], 0.5);
    let journal = audited.and_then(|audited| audited.journal.as_ref().ok());
    let bar = journal.map(|journal| journal.disk.min(EVENTS));
    let sinks = audited.and_then(|audited| audited.sinks.as_ref().ok());
    let growth = sinks.map(|[none, dead]| (dead.peak as f64 - none.peak as f64) / MEBIBYTE);
    vec![
        ("audit log on, sealed, produce: CPU x off", Some(1.03), alarm(0), 3, false),
        ("the same, consume", Some(1.03), alarm(1), 3, false),
        ("audit log, `alarm`: added to the p50 of an acknowledgement, us", Some(NOTHING), calm("alarm"), 0, false),
        (
            "events/s appended and synced (or what the disk alone takes)",
            bar,
            journal.map(|journal| journal.events),
            0,
            true,
        ),
        (
            "`audit verify` of 10 million entries, s (from the entries of this run)",
            Some(60.0),
            journal.map(|journal| journal.verifying.as_secs_f64() * 1e7 / journal.verified.max(1) as f64),
            1,
            false,
        ),
        ("a sink is dead: peak memory above that without one, MB", Some(16.0), growth, 1, false),
    ]
}

/// By pair, a way's CPU for the same bytes divided by that without a log.
fn ratios(audited: &Audited, way: &str, side: fn(&Speed) -> &Figures) -> Vec<f64> {
    let of = |speed| cpu_per_mb(side(speed));
    audited.pairs(way).iter().filter_map(|pair| Some(of(&pair.with)? / of(&pair.without)?)).collect()
}

/// The median of the rounds' differences.
fn added(audited: &Audited, way: &str, of: fn(&Round, f64) -> f64, at: f64) -> Option<f64> {
    middle(audited.rounds(way).iter().zip(audited.rounds(OFF)).map(|(round, off)| of(round, at) - of(off, at)))
}

/// The median, between the quartiles.
fn quarters(mut figures: Vec<f64>) -> Option<(f64, f64, f64)> {
    let (_, middle, _) = spread_of(figures.clone())?;
    figures.retain(|figure| figure.is_finite());
    figures.sort_by(f64::total_cmp);
    let last = figures.len().checked_sub(1)?;
    Some((*figures.get(last / 4)?, middle, *figures.get(last - last / 4)?))
}

fn middle(figures: impl Iterator<Item = f64>) -> Option<f64> {
    spread_of(figures.collect()).map(|(_, middle, _)| middle)
}

fn spread_of(mut figures: Vec<f64>) -> Option<(f64, f64, f64)> {
    // A window in which nothing passed says nothing.
    figures.retain(|figure| figure.is_finite());
    figures.sort_by(f64::total_cmp);
    let (upper, lower) = (figures.get(figures.len() / 2)?, figures.get(figures.len().saturating_sub(1) / 2)?);
    Some((*figures.first()?, (upper + lower) / 2.0, *figures.last()?))
}

fn in_micros(histogram: &Histogram, at: f64) -> f64 {
    Duration::as_secs_f64(&histogram.quantile(at)) * 1e6
}

const QUANTILES: [f64; 2] = [0.5, 0.99];
const LATENCIES: [fn(&Round, f64) -> f64; 2] =
    [|round, at| micros(&round.calm, acknowledged, at), |round, at| in_micros(&round.first, at)];
/// The bar for the log, unless the disk takes fewer.
const EVENTS: f64 = 50_000.0;
/// What two runs of the same differ by.
const NOTHING: f64 = 20.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_of_its_figures() {
        assert_eq!(spread_of(vec![3.0, 1.0, 2.0]), Some((1.0, 2.0, 3.0)));
        assert_eq!(spread_of(vec![3.0, f64::NAN, 1.0]), Some((1.0, 2.0, 3.0)));
        assert_eq!(spread_of(Vec::new()), None);
        assert_eq!(quarters(vec![9.0, 1.0, 2.0, 3.0, 0.0]), Some((1.0, 2.0, 3.0)));
        assert_eq!(quarters(vec![5.0]), Some((5.0, 5.0, 5.0)));
    }
}
