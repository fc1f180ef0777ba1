//! `barnabas audit query`: who did what, out of one log or several. A filter arrives, the entries that fit leave, as a table, as
//! JSON or as CSV, one after another as they are found; those of several logs in the order of time.

use std::io::{self, BufWriter, Write};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::failed;
use super::logs::LogsArgs;
use crate::audit::finding::{Facts, Filter, Index};
use crate::audit::log::reader::Reader;
use crate::audit::timeline::Timeline;
use crate::cli::Failure;
use crate::cli::output::printable;

/// Find entries by who, what, when, with which key, how it ended; only what is under a checkpoint
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct QueryArgs {
    #[command(flatten)]
    logs: LogsArgs,
    /// Who did it, or whom it concerns: User:alice
    #[arg(long, value_name = "PRINCIPAL")]
    principal: Option<String>,
    /// Which topic
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// From this moment on (RFC 3339)
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,
    /// Before this moment (RFC 3339)
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
    /// Which session key, as it stands in records
    #[arg(long, value_name = "KEY_ID")]
    key_id: Option<String>,
    /// How it ended: SUCCESS, DENIED, UNAVAILABLE, FAILURE, UNAUTHENTICATED, or a reason such as no_grant
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
    /// Which kind, or what its name begins with: grant is grant.given and grant.revoked
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// At most so many
    #[arg(long, value_name = "COUNT", default_value_t = u64::MAX, hide_default_value = true)]
    limit: u64,
    /// The form of the answer
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: Form,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Columns for people
    #[default]
    Table,
    /// One JSON document with whole events
    Json,
    /// Comma-separated values (RFC 4180)
    Csv,
}

pub(super) fn run(args: QueryArgs) -> Result<(), Failure> {
    let logs = args.logs.open()?;
    let filter = Filter {
        principal: args.principal,
        topic: args.topic,
        since: args.since,
        until: args.until,
        key_id: args.key_id,
        outcome: args.outcome,
        kind: args.kind,
    };
    let readers: Vec<Reader> = logs.sources.iter().map(|source| source.reader()).collect::<Result<_, _>>()?;
    let names: Vec<&str> = readers.iter().map(|reader| reader.key().name()).collect();
    let places = logs.sources.iter().map(|source| &source.place);
    let mut indices: Vec<Index> = places.zip(&names).map(|(place, name)| Index::beside(place, name)).collect();
    let names = names.as_slice();
    let out = BufWriter::new(io::stdout().lock());
    let mut answer = Answer { out, form: args.output, told: 0, names: if names.len() > 1 { names } else { &[] } };
    answer.begin()?;
    let searches = indices.iter_mut().zip(&readers).map(|(index, reader)| index.search(reader, &filter));
    let limit = usize::try_from(args.limit).unwrap_or(usize::MAX);
    for found in Timeline::new(searches, |(_, _, facts)| facts.time).take(limit) {
        let (log, (index, event, facts)) = found.map_err(failed)?;
        answer.tell((log, index), event, &facts)?;
    }
    answer.end()?;
    // A folder that only its owner may write to is searched as well.
    indices.into_iter().zip(names).for_each(|(index, name)| drop(index.keep(name)));
    Ok(())
}

struct Answer<'a, W> {
    out: W,
    form: Form,
    told: u64,
    /// Of several logs.
    names: &'a [&'a str],
}

impl<W: Write> Answer<'_, W> {
    fn begin(&mut self) -> io::Result<()> {
        match self.form {
            Form::Table => {
                let log = self.widest().map_or_else(String::new, |width| format!("{:width$}  ", "LOG"));
                writeln!(self.out, "{log}{}", line(&COLUMNS.map(|(title, ..)| title.to_uppercase())))
            }
            Form::Json => write!(self.out, "["),
            Form::Csv => {
                let log = if self.names.is_empty() { "" } else { "log," };
                write!(self.out, "{log}{}\r\n", COLUMNS.map(|(title, ..)| title).join(","))
            }
        }
    }

    fn tell(&mut self, (log, index): (usize, u64), event: Value, facts: &Facts) -> io::Result<()> {
        let separator = if self.told == 0 { "\n" } else { ",\n" };
        self.told += 1;
        let log = self.names.get(log).copied();
        match self.form {
            Form::Table => {
                let log = self.widest().zip(log).map_or_else(String::new, |(width, log)| format!("{log:width$}  "));
                let cells = cells(index, &event, facts).map(|cell| printable(&cell));
                writeln!(self.out, "{}{}", printable(&log), line(&cells))
            }
            Form::Json => {
                let mut numbered = Map::from_iter([("index".to_owned(), Value::from(index))]);
                if let Some(log) = log {
                    numbered.insert("log".to_owned(), Value::from(log));
                }
                numbered.insert("event".to_owned(), event);
                write!(self.out, "{separator}{}", Value::Object(numbered))
            }
            Form::Csv => {
                let log = log.map_or_else(String::new, |log| format!("{},", quoted(log)));
                write!(self.out, "{log}{}\r\n", cells(index, &event, facts).map(|cell| quoted(&cell)).join(","))
            }
        }
    }

    /// The width of the column of logs, where there is one.
    fn widest(&self) -> Option<usize> {
        self.names.iter().map(|name| name.len()).max()
    }

    fn end(&mut self) -> io::Result<()> {
        if self.form == Form::Json {
            write!(self.out, "\n]\n")?;
        }
        self.out.flush()
    }
}

/// Of an event, in the order of [`COLUMNS`].
fn cells(index: u64, event: &Value, facts: &Facts) -> [String; COLUMNS.len()] {
    COLUMNS.map(|(title, _, path)| match title {
        "index" => index.to_string(),
        "kind" => facts.kind.clone(),
        "topic" => facts.topic.clone().unwrap_or_default(),
        _ => match event.pointer(path) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        },
    })
}

fn line(cells: &[String; COLUMNS.len()]) -> String {
    let padded = cells.iter().zip(COLUMNS).map(|(cell, (_, width, _))| format!("{cell:width$}"));
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

/// RFC 4180, and nothing that a spreadsheet takes for a formula.
fn quoted(cell: &str) -> String {
    let formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<i64>().is_err();
    let cell = if formula { format!("'{cell}") } else { cell.to_owned() };
    if cell.contains([',', '"', '\n', '\r']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
}

/// Title, width in a table, and where it stands in the event.
const COLUMNS: [(&str, usize, &str); 15] = [
    ("index", 7, ""),
    ("time", 24, "/time"),
    ("kind", 20, ""),
    ("principal", 20, "/data/authenticationInfo/principal"),
    ("client", 20, "/data/crypto/client"),
    ("method", 18, "/data/methodName"),
    ("topic", 20, ""),
    ("partition", 9, "/data/crypto/partition"),
    ("status", 15, "/data/result/status"),
    ("reason", 14, "/data/result/reason"),
    ("records", 8, "/data/crypto/records"),
    ("first_offset", 12, "/data/crypto/firstOffset"),
    ("last_offset", 12, "/data/crypto/lastOffset"),
    ("key_id", 32, "/data/crypto/keyId"),
    ("address", 15, "/data/requestMetadata/clientAddress"),
];

const HELP: &str = "\
Examples:
  barnabas audit query /var/lib/barnabas/audit --topic orders --kind records
  barnabas audit query audit --principal User:bob --since 2026-03-01T00:00:00Z --until 2026-04-01T00:00:00Z
  barnabas audit query audit --outcome no_grant --output csv
  barnabas audit query gateway-1/audit gateway-2/audit march.bundle --principal User:bob      (one timeline)

The first question about a log reads all of it and writes an index beside its folder; later ones read what may fit.
It checks the signature of the checkpoint, not every entry: `barnabas audit verify` does.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_of_csv_are_quoted_and_are_no_formulas() {
        let cells = ["plain", "a,b", "say \"x\"", "=1+1", "-5", "-x"];
        assert_eq!(cells.map(quoted), ["plain", "\"a,b\"", "\"say \"\"x\"\"\"", "'=1+1", "-5", "'-x"]);
    }
}
