//! What callers of the HTTP bridge cost and wait, beside native clients.

use std::time::Duration;

use super::{Table, number};
use crate::bridge::{Posts, per_record};
use crate::comparison::Column;
use crate::histogram::Histogram;
use crate::load::http::Style;

/// CPU for each record, by way of posting.
pub fn posts(columns: &[Column<Posts>]) -> String {
    let mut table = Table::new(&["", "CPU us/record", "x native", "records/s", "generator CPU us/record"]);
    for column in columns {
        for round in &column.rounds {
            let native = micros(per_record(&round.native));
            table.row(vec![
                format!("{}, native, one a request", column.party.name()),
                number(native, 1),
                number(Some(1.0), 2),
                number(Some(round.native.records_per_second()), 0),
                number(own(&round.native), 1),
            ]);
            for (style, figures) in &round.styles {
                let name = format!("{}, {}", column.party.name(), style.name());
                table.row(match figures {
                    Err(reason) => vec![name, "-".into(), "-".into(), "-".into(), reason.clone()],
                    Ok(figures) => {
                        let cpu = micros(per_record(figures));
                        vec![
                            name,
                            number(cpu, 1),
                            number(cpu.zip(native).map(|(cpu, native)| cpu / native), 2),
                            number(Some(figures.records_per_second()), 0),
                            number(own(figures), 1),
                        ]
                    }
                });
            }
        }
    }
    table.text
}

/// Acknowledgements at a modest rate, and memory of readers that wait.
pub fn callers(columns: &[Column<Posts>]) -> String {
    let mut table = Table::new(&[
        "",
        "native p50 / p99, us",
        "posted p50 / p99, us",
        "added p50 / p99, us",
        "waiting SSE reader, RSS KiB",
        "CPU us to open one",
    ]);
    for column in columns {
        for round in &column.rounds {
            let both = round.latency.as_ref();
            let pair = |of: &Histogram| format!("{} / {}", quantile(of, 0.5), quantile(of, 0.99));
            let added = |(native, posted): &(Histogram, Histogram)| {
                let added = |at| quantile(posted, at) - quantile(native, at);
                format!("{} / {}", added(0.5), added(0.99))
            };
            let (kib, opening) = match &round.readers {
                Ok(readers) => (number(Some(readers.rss / 1024.0), 1), number(micros(Some(readers.opening)), 0)),
                Err(reason) => ("-".into(), reason.clone()),
            };
            table.row(vec![
                column.party.name().to_owned(),
                both.map_or_else(|| "-".into(), |(native, _)| pair(native)),
                both.map_or_else(|| "-".into(), |(_, posted)| pair(posted)),
                both.map_or_else(|| "-".into(), added),
                kib,
                opening,
            ]);
        }
    }
    table.text
}

/// The worst of the gateways, for the verdicts.
pub fn worst(columns: &[Column<Posts>], figure: impl Fn(&Posts) -> Option<f64>) -> Option<f64> {
    columns.iter().flat_map(|column| &column.rounds).map(figure).reduce(|worst, one| Some(worst?.max(one?))).flatten()
}

/// CPU microseconds for each record by one style, of the worst gateway.
pub fn worst_style(columns: &[Column<Posts>], wanted: Style) -> Option<f64> {
    worst(columns, |posts| {
        let (_, figures) = posts.styles.iter().find(|(style, _)| *style == wanted)?;
        micros(per_record(figures.as_ref().ok()?))
    })
}

/// How much later the slowest hundredth of posts is acknowledged than that of a native client, in milliseconds.
pub fn added_p99_millis(posts: &Posts) -> Option<f64> {
    let (native, posted) = posts.latency.as_ref()?;
    Some((quantile(posted, 0.99) - quantile(native, 0.99)) as f64 / 1e3)
}

fn own(figures: &crate::load::Figures) -> Option<f64> {
    (figures.records > 0).then(|| figures.own_cpu.total.as_secs_f64() * 1e6 / figures.records as f64)
}

fn quantile(of: &Histogram, at: f64) -> i64 {
    i64::try_from(of.quantile(at).as_micros()).unwrap_or(i64::MAX)
}

fn micros(time: Option<Duration>) -> Option<f64> {
    time.map(|time| time.as_secs_f64() * 1e6)
}
