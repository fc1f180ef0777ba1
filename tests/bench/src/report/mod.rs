//! Markdown tables. Every figure is the median of its rounds, with the lowest and the highest in brackets when there were more
//! than one; every ratio is one of medians of the same run. What was not measured is a dash, never a zero.

mod audit;
mod bridge;
mod life;
mod limits;

use crate::comparison::{Column, Speed};
use crate::histogram::Histogram;
use crate::load::idle::Idle;
use crate::load::latency::{Latencies, Paired};
use crate::load::stock::Stock;
use crate::load::{Figures, MEBIBYTE};
use crate::stage::Party;

pub use audit::audited;
pub use bridge::{callers, posts};
pub use life::{revocations, rotations};
pub use limits::{Measured, limits, parts, verdicts};

/// Title, machine and how to read what follows.
pub fn opening(machine: &[String], rounds: usize, seconds: f64) -> String {
    let machine: String = machine.iter().map(|line| format!("- {line}\n")).collect();
    format!(
        "# Benchmark results\n\nWritten by `cargo run --release -p barnabas-bench -- all`; README.md beside this file says what each \
         figure means.\n\n{machine}- broker (1 GB heap), measured process and generator share the cores; {rounds} rounds of the \
         main loads, windows of {seconds} s\n- MB is 2^20 bytes of record values; CPU is user and system of the measured process\n"
    )
}

/// CPU, rate, ratios, bytes at rest and memory of produce and consume.
pub fn speed(columns: &[Column<Speed>]) -> String {
    let mut table = Table::new(&[
        "",
        "produce CPU ms/MB",
        "x HAProxy",
        "produce rec/s",
        "x direct",
        "consume CPU ms/MB",
        "x HAProxy",
        "consume rec/s",
        "x direct",
        "broker CPU ms/MB in / out",
        "bytes/record",
        "peak MB",
    ]);
    for column in columns {
        let bar = column_of(columns, column.party.bar());
        let direct = column_of(columns, Party::Direct);
        let mut row = vec![column.party.name().to_owned()];
        for side in SIDES {
            row.push(spread(column, |round| cpu_per_mb(side(round)), 2));
            row.push(times(column, bar, |round| cpu_per_mb(side(round))));
            row.push(spread(column, |round| Some(side(round).records_per_second()), 0));
            row.push(times(column, direct, |round| Some(side(round).records_per_second())));
        }
        let broker = SIDES.map(|side| {
            number(
                median(column, |round| {
                    let figures = side(round);
                    figures.broker_cpu.map(|cpu| figures.per_mebibyte(cpu))
                }),
                2,
            )
        });
        row.push(broker.join(" / "));
        row.push(number(median(column, |round| Some(round.stored)), 1));
        row.push(number(median(column, peak), 1));
        table.row(row);
    }
    table.text
}

/// CPU and memory by the number of connections.
pub fn connections(counts: &[(usize, &[Column<Speed>])]) -> String {
    let heads = counts.iter().map(|(count, _)| format!("{count}: CPU ms/MB in / out, peak MB"));
    let heads: Vec<_> = std::iter::once(String::new()).chain(heads).collect();
    let mut table = Table::new(&heads.iter().map(String::as_str).collect::<Vec<_>>());
    let parties = counts.first().map(|(_, columns)| *columns).unwrap_or_default();
    for party in parties.iter().map(|column| column.party).filter(|&party| party != Party::Direct) {
        let cells = counts.iter().map(|(_, columns)| {
            let column = column_of(columns, party);
            let [produce, consume] =
                SIDES.map(|side| number(column.and_then(|column| median(column, |round| cpu_per_mb(side(round)))), 2));
            let peak = number(column.and_then(|column| median(column, peak)), 1);
            format!("{produce} / {consume}, {peak}")
        });
        table.row(std::iter::once(party.name().to_owned()).chain(cells).collect());
    }
    table.text
}

/// CPU for each request and its answer.
pub fn requests(columns: &[Column<Speed>]) -> String {
    let mut table = Table::new(&[
        "",
        "produce CPU us/request",
        "x HAProxy",
        "produce requests/s",
        "x direct",
        "consume CPU us/request",
        "consume requests/s",
    ]);
    for column in columns {
        let (bar, direct) = (column_of(columns, column.party.bar()), column_of(columns, Party::Direct));
        let rate = |figures: &Figures| Some(figures.requests as f64 / figures.elapsed.as_secs_f64());
        table.row(vec![
            column.party.name().to_owned(),
            spread(column, |round| cpu_per_request(&round.produce), 1),
            times(column, bar, |round| cpu_per_request(&round.produce)),
            spread(column, |round| rate(&round.produce), 0),
            times(column, direct, |round| rate(&round.produce)),
            spread(column, |round| cpu_per_request(&round.consume), 1),
            spread(column, |round| rate(&round.consume), 0),
        ]);
    }
    table.text
}

/// Latencies, and what a party adds to those of the broker alone in the same seconds.
pub fn latency(columns: &[Column<Paired>]) -> String {
    let mut table = Table::new(&[
        "",
        "ack p50 / p99 / p99.9, us",
        "added",
        "delivered p50 / p99 / p99.9, us",
        "added",
        "CPU us/record, in and out",
    ]);
    for column in columns {
        let mut row = vec![column.party.name().to_owned()];
        for of in [acknowledged as fn(&Latencies) -> &Histogram, delivered] {
            let mine = QUANTILES.map(|quantile| median(column, |round| Some(micros(&round.through, of, quantile))));
            row.push(mine.map(|figure| number(figure, 0)).join(" / "));
            let added = QUANTILES.map(|quantile| added(column, of, quantile));
            row.push(added.map(|figure| number(figure, 0)).join(" / "));
        }
        row.push(spread(column, |round| round.through.cpu_per_record.map(|cpu| cpu.as_secs_f64() * 1e6), 1));
        table.row(row);
    }
    table.text
}

/// Rate of Kafka's own consumer.
pub fn stock(columns: &[Column<Stock>]) -> String {
    let mut table = Table::new(&["", "consume rec/s", "x direct", "CPU ms/MB"]);
    for column in columns {
        let rate = |round: &Stock| Some(round.records_per_second);
        table.row(vec![
            column.party.name().to_owned(),
            spread(column, rate, 0),
            times(column, column_of(columns, Party::Direct), rate),
            spread(column, |round| round.cpu_per_mb, 2),
        ]);
    }
    table.text
}

/// Memory and opening cost of idle connections.
pub fn idle(columns: &[Column<Idle>]) -> String {
    let mut table = Table::new(&["", "RSS KiB/connection", "PSS KiB/connection", "CPU us to open one", "suite"]);
    for column in columns {
        let suite = column.rounds.first().and_then(|idle| idle.suite.clone());
        table.row(vec![
            column.party.name().to_owned(),
            number(median(column, |idle| Some(idle.rss / 1024.0)), 1),
            number(median(column, |idle| Some(idle.pss / 1024.0)), 1),
            number(median(column, |idle| Some(idle.opening.as_secs_f64() * 1e6)), 0),
            suite.unwrap_or_else(|| "-".into()),
        ]);
    }
    table.text
}

/// Builds a table line by line.
struct Table {
    text: String,
}

impl Table {
    fn new(heads: &[&str]) -> Self {
        let mut table = Self { text: String::new() };
        table.row(heads.iter().map(|&head| head.to_owned()).collect());
        table.row(
            heads.iter().enumerate().map(|(index, _)| if index == 0 { "---" } else { "---:" }.to_owned()).collect(),
        );
        table
    }

    fn row(&mut self, cells: Vec<String>) {
        self.text.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
}

fn column_of<T>(columns: &[Column<T>], party: Party) -> Option<&Column<T>> {
    columns.iter().find(|column| column.party == party)
}

fn sorted<T>(column: &Column<T>, figure: impl Fn(&T) -> Option<f64>) -> Vec<f64> {
    let mut figures: Vec<_> = column.rounds.iter().filter_map(figure).filter(|figure| figure.is_finite()).collect();
    figures.sort_by(f64::total_cmp);
    figures
}

/// The middle figure; of an even number, the mean of the two in the middle.
fn median<T>(column: &Column<T>, figure: impl Fn(&T) -> Option<f64>) -> Option<f64> {
    let figures = sorted(column, figure);
    let upper = figures.get(figures.len() / 2)?;
    let lower = figures.get(figures.len().saturating_sub(1) / 2)?;
    Some((upper + lower) / 2.0)
}

fn spread<T>(column: &Column<T>, figure: impl Fn(&T) -> Option<f64>, digits: usize) -> String {
    let figures = sorted(column, &figure);
    let middle = number(median(column, figure), digits);
    match (figures.first(), figures.last()) {
        (Some(low), Some(high)) if figures.len() > 1 => {
            format!("{middle} ({low:.digits$}-{high:.digits$})")
        }
        _ => middle,
    }
}

fn times<T>(column: &Column<T>, bar: Option<&Column<T>>, figure: impl Fn(&T) -> Option<f64>) -> String {
    let ratio = bar.and_then(|bar| Some(median(column, &figure)? / median(bar, &figure)?));
    number(ratio, 2)
}

fn number(figure: Option<f64>, digits: usize) -> String {
    figure.map_or_else(|| "-".into(), |figure| format!("{figure:.digits$}"))
}

fn cpu_per_mb(figures: &Figures) -> Option<f64> {
    figures.cpu.map(|cpu| figures.per_mebibyte(cpu))
}

fn cpu_per_request(figures: &Figures) -> Option<f64> {
    figures.cpu.map(|cpu| figures.per_request(cpu))
}

fn peak(round: &Speed) -> Option<f64> {
    let highest = [round.produce.memory, round.consume.memory].into_iter().flatten().map(|memory| memory.peak).max();
    highest.map(|bytes| bytes as f64 / MEBIBYTE)
}

fn micros(latencies: &Latencies, of: fn(&Latencies) -> &Histogram, quantile: f64) -> f64 {
    of(latencies).quantile(quantile).as_secs_f64() * 1e6
}

/// The median of the rounds' differences, each between two streams of the same seconds.
fn added(column: &Column<Paired>, of: fn(&Latencies) -> &Histogram, quantile: f64) -> Option<f64> {
    median(column, |round| Some(micros(&round.through, of, quantile) - micros(round.beside.as_ref()?, of, quantile)))
}

fn acknowledged(latencies: &Latencies) -> &Histogram {
    &latencies.acknowledged
}

fn delivered(latencies: &Latencies) -> &Histogram {
    &latencies.delivered
}

const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];
const SIDES: [fn(&Speed) -> &Figures; 2] = [|round| &round.produce, |round| &round.consume];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_and_a_missing_figure_is_a_dash() {
        let column = |rounds: &[f64]| Column { party: Party::Direct, rounds: rounds.to_vec(), failure: None };
        assert_eq!(median(&column(&[3.0, 1.0, 2.0]), |&figure| Some(figure)), Some(2.0));
        assert_eq!(median(&column(&[1.0, 2.0]), |&figure| Some(figure)), Some(1.5));
        assert_eq!(spread(&column(&[]), |&figure| Some(figure), 1), "-");
        assert_eq!(spread(&column(&[1.0, 4.0, 2.0]), |&figure| Some(figure), 1), "2.0 (1.0-4.0)");
        assert_eq!(times(&column(&[1.0]), Some(&column(&[4.0])), |&figure| Some(figure)), "0.25");
    }
}
