//! What clients notice of the life of keys: epochs that rotate and grants that are revoked under them.

use std::time::Duration;

use super::{Table, number};
use crate::comparison::Column;
use crate::revocation::{Revocation, Seen};
use crate::rotation::{Rotation, Rotations};

/// Silences, duplicates and gaps while the epoch is rotated.
pub fn rotations(columns: &[Column<Rotations>]) -> String {
    let mut table = Table::new(&[
        "",
        "rotations",
        "produce / consume rec/s",
        "command, ms",
        "new key in use, ms",
        "longest wait for an acknowledgement, ms: quiet",
        "rotating",
        "for a delivery, ms: quiet",
        "rotating",
        "duplicates",
        "gaps",
    ]);
    for column in columns {
        let each = || column.rounds.iter().flat_map(|round| &round.each);
        let row = |figure: fn(&Rotation) -> Option<Duration>| middle_and_worst(each().filter_map(figure));
        let mut rates = column.rounds.iter().map(|round| (round.produced_per_second, round.delivered_per_second));
        let count = |figure: fn(&Rotations) -> u64| column.rounds.iter().map(figure).sum::<u64>();
        let unless_failed = |text: String| if column.rounds.is_empty() { "-".into() } else { text };
        table.row(vec![
            column.party.name().to_owned(),
            unless_failed(each().count().to_string()),
            rates
                .next_back()
                .map_or_else(|| "-".into(), |(produced, delivered)| format!("{produced:.0} / {delivered:.0}")),
            row(|rotation| Some(rotation.command)),
            row(|rotation| Some(rotation.in_force)),
            row(|rotation| rotation.quiet.acknowledged),
            row(|rotation| rotation.rotating.acknowledged),
            row(|rotation| rotation.quiet.delivered),
            row(|rotation| rotation.rotating.delivered),
            unless_failed(count(|round| round.duplicates).to_string()),
            unless_failed(count(|round| round.gaps).to_string()),
        ]);
    }
    table.text
}

/// How long a revoked reader goes on, by gateway.
pub fn revocations(columns: &[Column<Revocation>]) -> String {
    let mut table = Table::new(&[
        "",
        "revocations",
        "command, ms",
        "last record, ms from the command's start",
        "from its end",
        "refused, ms from the command's start",
        "from its end",
        "records after its end",
        "longest wait of others, ms: acknowledgement / delivery",
    ]);
    for column in columns {
        let rounds = || column.rounds.iter();
        let others = |figure: fn(&Revocation) -> Option<Duration>| middle_and_worst(rounds().filter_map(figure));
        for (index, name) in ["first gateway", "second gateway"].into_iter().enumerate() {
            let seen = || rounds().filter_map(move |round| Some((round, round.gateways.get(index)?)));
            let since_start =
                |figure: fn(&Seen) -> Duration| in_millis(seen().map(|(_, seen)| millis(figure(seen))).collect());
            let since_end = |figure: fn(&Seen) -> Duration| {
                in_millis(seen().map(|(round, seen)| millis(figure(seen)) - millis(round.command)).collect())
            };
            table.row(vec![
                format!("{}, {name}", column.party.name()),
                column.rounds.len().to_string(),
                middle_and_worst(rounds().map(|round| round.command)),
                since_start(|seen| seen.last),
                since_end(|seen| seen.last),
                since_start(|seen| seen.refused),
                since_end(|seen| seen.refused),
                seen().map(|(_, seen)| seen.late).max().map_or_else(|| "-".into(), |most| format!("{most} at most")),
                format!("{} / {}", others(|round| round.others.acknowledged), others(|round| round.others.delivered)),
            ]);
        }
    }
    table.text
}

/// The longest silence that any rotation brought, in milliseconds.
pub fn worst_rotation(columns: &[Column<Rotations>]) -> Option<f64> {
    let each = columns.iter().flat_map(|column| &column.rounds).flat_map(|round| &round.each);
    each.filter_map(|rotation| rotation.rotating.longest()).max().map(millis)
}

/// Duplicates and gaps of all rotations.
pub fn lost_or_doubled(columns: &[Column<Rotations>]) -> Option<f64> {
    let rounds: Vec<_> = columns.iter().flat_map(|column| &column.rounds).collect();
    (!rounds.is_empty()).then(|| rounds.iter().map(|round| round.duplicates + round.gaps).sum::<u64>() as f64)
}

/// The longest time from the start of a revocation until a gateway refused, in seconds.
fn slowest_revocation(columns: &[Column<Revocation>]) -> Option<f64> {
    let seen = columns.iter().flat_map(|column| &column.rounds).flat_map(|round| &round.gateways);
    seen.map(|seen| seen.refused).max().map(|refused| refused.as_secs_f64())
}

/// One more row of the verdicts: a figure that is reported and has no bar.
pub fn revoked_row(columns: &[Column<Revocation>]) -> Vec<String> {
    let slowest = slowest_revocation(columns);
    vec![
        "grant revoked under connected readers: slowest refusal on two gateways, s from the command's start".into(),
        "-".into(),
        number(slowest, 2),
        if slowest.is_some() { "no bar" } else { "not measured" }.into(),
    ]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn middle_and_worst(times: impl Iterator<Item = Duration>) -> String {
    in_millis(times.map(millis).collect())
}

/// The median, and the worst in brackets where there are several. A moment before the one that it is counted from is negative.
fn in_millis(mut figures: Vec<f64>) -> String {
    figures.sort_by(f64::total_cmp);
    let (upper, lower) = (figures.get(figures.len() / 2), figures.get(figures.len().saturating_sub(1) / 2));
    match (upper.zip(lower), figures.last()) {
        (Some((upper, lower)), Some(worst)) if figures.len() > 1 => {
            format!("{:.0} (worst {worst:.0})", (upper + lower) / 2.0)
        }
        (Some((only, _)), _) => format!("{only:.0}"),
        _ => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_with_the_worst() {
        assert_eq!(in_millis(vec![3.0, -1.0, 2.0]), "2 (worst 3)");
        assert_eq!(in_millis(vec![4.0]), "4");
        assert_eq!(in_millis(Vec::new()), "-");
    }
}
