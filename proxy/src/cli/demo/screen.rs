//! What the demo prints: lines arrive, a screenful leaves. Colours only on a terminal that wants them; everything that
//! was decided by somebody else (errors, log lines) goes through the same filter as every other line.

use std::io::{self, IsTerminal, Write};

/// The screen.
pub(super) struct Screen<W = io::Stdout> {
    out: W,
    colour: bool,
}

/// A meaning that has a colour.
#[derive(Clone, Copy)]
pub(super) enum Ink {
    /// What is explained.
    Plain,
    /// Titles.
    Bold,
    /// Beside the matter.
    Dim,
    /// Checked and right.
    Good,
    /// Refused.
    Bad,
    /// Readable by whoever has it.
    Open,
    /// Unreadable without the key.
    Sealed,
}

impl Screen {
    /// Standard output.
    pub(super) fn to_terminal() -> Self {
        let out = io::stdout();
        let colour = out.is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { out, colour }
    }
}

impl<W: Write> Screen<W> {
    /// A screen on anything, for tests.
    #[cfg(test)]
    pub(super) fn new(out: W, colour: bool) -> Self {
        Self { out, colour }
    }

    /// The first line.
    pub(super) fn title(&mut self, text: &str) -> io::Result<()> {
        self.spans(&[(Ink::Bold, text)])
    }

    /// A step begins: what will be done, before it is done.
    pub(super) fn step(&mut self, number: usize, name: &str, text: &str) -> io::Result<()> {
        self.blank()?;
        self.spans(&[(Ink::Bold, &format!("{number}  {name}")), (Ink::Plain, &format!(": {text}"))])
    }

    /// A line of a step.
    pub(super) fn line(&mut self, label: &str, ink: Ink, text: &str) -> io::Result<()> {
        self.spans(&[(Ink::Dim, &format!("     {label:<9}")), (ink, text)])
    }

    /// What was checked.
    pub(super) fn good(&mut self, text: &str) -> io::Result<()> {
        self.spans(&[(Ink::Good, "     ok       "), (Ink::Plain, text)])
    }

    /// Something beside the show.
    pub(super) fn note(&mut self, text: &str) -> io::Result<()> {
        self.spans(&[(Ink::Dim, text)])
    }

    /// Says that something is awaited.
    pub(super) fn waiting(&mut self, text: &str) -> io::Result<()> {
        self.spans(&[(Ink::Dim, text)])
    }

    /// An empty line.
    pub(super) fn blank(&mut self) -> io::Result<()> {
        writeln!(self.out)
    }

    /// One line out of parts.
    pub(super) fn spans(&mut self, spans: &[(Ink, &str)]) -> io::Result<()> {
        for (ink, text) in spans {
            let text: String = text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
            match ink.code().filter(|_| self.colour) {
                Some(code) => write!(self.out, "\u{1b}[{code}m{text}\u{1b}[0m")?,
                None => write!(self.out, "{text}")?,
            }
        }
        writeln!(self.out)?;
        self.out.flush()
    }
}

impl Ink {
    fn code(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Bold => Some("1"),
            Self::Dim => Some("2"),
            Self::Good => Some("1;32"),
            Self::Bad => Some("31"),
            Self::Open => Some("36"),
            Self::Sealed => Some("35"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn shown(colour: bool) -> String {
        let mut out = Vec::new();
        Screen::new(&mut out, colour).line("error", Ink::Bad, "no\u{1b}[2J").unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn colours_are_for_terminals_and_nobody_else_can_make_them() {
        assert_eq!(shown(false), "     error    no?[2J\n");
        assert_eq!(shown(true), "\u{1b}[2m     error    \u{1b}[0m\u{1b}[31mno?[2J\u{1b}[0m\n");
    }
}
