//! What commands print: rows arrive, a table for people or JSON for scripts leaves.
//! JSON has the same fields whatever the terminal; colour is only for terminals that want it. Text from the network is
//! printed with its control characters made visible: a topic name must not be able to drive a terminal.

use std::io::{self, IsTerminal, Write};

use clap::{Args, ValueEnum};
use serde::Serialize;

/// One entry of a list.
pub trait Row: Serialize {
    /// The table's column titles.
    const COLUMNS: &'static [&'static str];

    /// The table's cells, as many as there are columns.
    fn cells(&self) -> Vec<String>;
}

/// The form of what is listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Aligned columns for people
    #[default]
    Table,
    /// One JSON document for scripts
    Json,
}

/// `--output table|json`.
#[derive(Clone, Copy, Debug, Args)]
pub struct OutputArg {
    /// The form of the answer
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    pub output: Format,
}

impl OutputArg {
    /// A printer to standard output.
    pub fn printer(self) -> Printer<io::Stdout> {
        let out = io::stdout();
        let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Printer { out, format: self.output, colour }
    }
}

/// Prints lists and single entries.
pub struct Printer<W> {
    out: W,
    format: Format,
    colour: bool,
}

impl<W: Write> Printer<W> {
    /// A printer to anything.
    pub fn new(out: W, format: Format, colour: bool) -> Self {
        Self { out, format, colour }
    }

    /// Prints a list: a table, or a JSON array, also when it is empty.
    pub fn list<T: Row>(&mut self, rows: &[T]) -> io::Result<()> {
        match self.format {
            Format::Json => self.json(&rows),
            Format::Table => self.table(T::COLUMNS, &rows.iter().map(Row::cells).collect::<Vec<_>>()),
        }
    }

    /// Prints one entry: its columns one a line, or a JSON object.
    pub fn one<T: Row>(&mut self, row: &T) -> io::Result<()> {
        if self.format == Format::Json {
            return self.json(row);
        }
        let width = T::COLUMNS.iter().map(|title| title.chars().count()).max().unwrap_or_default();
        for (title, cell) in T::COLUMNS.iter().zip(row.cells()) {
            let title = self.bold(&format!("{title:width$}"));
            writeln!(self.out, "{title}  {}", printable(&cell))?;
        }
        Ok(())
    }

    /// Prints a line for people; in JSON nothing, so that the answer stays one document.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        match self.format {
            Format::Json => Ok(()),
            Format::Table => writeln!(self.out, "{}", printable(text)),
        }
    }

    fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.out, value)?;
        writeln!(self.out)
    }

    fn table(&mut self, titles: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
        let width_of = |(column, title): (usize, &&str)| {
            let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
            cells.max().unwrap_or_default().max(title.chars().count())
        };
        let widths: Vec<usize> = titles.iter().enumerate().map(width_of).collect();
        let titles: Vec<String> = titles.iter().map(|title| title.to_uppercase()).collect();
        let head = padded(&titles, &widths);
        let head = self.bold(&head);
        writeln!(self.out, "{head}")?;
        for row in &rows {
            writeln!(self.out, "{}", padded(row, &widths))?;
        }
        Ok(())
    }

    fn bold(&self, text: &str) -> String {
        if self.colour { format!("\u{1b}[1m{text}\u{1b}[0m") } else { text.to_owned() }
    }
}

fn padded(cells: &[String], widths: &[usize]) -> String {
    let cells: Vec<String> = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
    cells.join("  ").trim_end().to_owned()
}

/// Text of the network with its control characters made visible.
pub(super) fn printable(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] }).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[derive(Serialize)]
    struct Pair {
        name: &'static str,
        count: u32,
    }

    impl Row for Pair {
        const COLUMNS: &'static [&'static str] = &["name", "count"];

        fn cells(&self) -> Vec<String> {
            vec![self.name.to_owned(), self.count.to_string()]
        }
    }

    fn printed(format: Format, colour: bool, print: impl FnOnce(&mut Printer<&mut Vec<u8>>)) -> String {
        let mut out = Vec::new();
        print(&mut Printer::new(&mut out, format, colour));
        String::from_utf8(out).unwrap()
    }

    const PAIRS: &[Pair] = &[Pair { name: "orders", count: 7 }, Pair { name: "x\u{1b}[2J", count: 1000 }];

    #[test]
    fn tables_are_aligned_and_cannot_drive_a_terminal() {
        let table = printed(Format::Table, false, |printer| printer.list(PAIRS).unwrap());
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines, ["NAME        COUNT", "orders      7", r"x\u{1b}[2J  1000"]);
        let empty = printed(Format::Table, true, |printer| printer.list::<Pair>(&[]).unwrap());
        assert_eq!(empty, "\u{1b}[1mNAME  COUNT\u{1b}[0m\n");
    }

    #[test]
    fn json_is_one_document_without_colour() {
        let json = printed(Format::Json, true, |printer| {
            printer.line("for people").unwrap();
            printer.list(PAIRS).unwrap();
        });
        let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(parsed, serde_json::json!([{"name": "orders", "count": 7}, {"name": "x\u{1b}[2J", "count": 1000}]));
        assert_eq!(printed(Format::Json, false, |printer| printer.list::<Pair>(&[]).unwrap()), "[]\n");
        let one = printed(Format::Table, false, |printer| printer.one(PAIRS.first().unwrap()).unwrap());
        assert_eq!(one, "name   orders\ncount  7\n");
    }
}
