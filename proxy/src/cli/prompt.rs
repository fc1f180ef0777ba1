//! Asks at the terminal: a question leaves, an answer arrives that was not shown while it was typed. The terminal itself is asked, so
//! that standard input and output may be anything; without one it is an error, never an empty answer.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::{Exit, Failure};

/// One line without echo; at most 1023 bytes.
pub(super) fn secret(question: &str) -> Result<Zeroizing<String>, Failure> {
    let absent = |error: std::io::Error| {
        Failure::new(
            Exit::Unavailable,
            format!("there is no terminal to ask at ({error}); use a file or standard input"),
        )
    };
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(absent)?;
    let quiet = Quiet::new(&terminal)?;
    terminal.write_all(question.as_bytes())?;
    let answer = read_line(&mut terminal)?;
    drop(quiet);
    terminal.write_all(b"\n")?;
    Ok(answer)
}

/// Echo is off as long as this lives.
struct Quiet {
    terminal: File,
    before: Termios,
}

impl Quiet {
    fn new(terminal: &File) -> Result<Self, Failure> {
        let before = tcgetattr(terminal).map_err(std::io::Error::from)?;
        let mut now = before.clone();
        now.local_modes.remove(LocalModes::ECHO);
        tcsetattr(terminal, OptionalActions::Flush, &now).map_err(std::io::Error::from)?;
        Ok(Self { terminal: terminal.try_clone()?, before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that has gone needs no echo.
        tcsetattr(&self.terminal, OptionalActions::Flush, &self.before).ok();
    }
}

/// Byte by byte into a buffer that does not move: no copy is left behind.
fn read_line(from: &mut impl Read) -> Result<Zeroizing<String>, Failure> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE));
    while line.len() < MAX_LINE {
        let mut byte = [0];
        let [read] = match from.read(&mut byte)? {
            0 => break,
            _ => byte,
        };
        if read == b'\n' {
            break;
        }
        line.push(read);
    }
    let text = std::str::from_utf8(&line).map_err(|_| Failure::new(Exit::Failed, "what was typed is not UTF-8"))?;
    Ok(Zeroizing::new(text.trim_end_matches('\r').to_owned()))
}

const MAX_LINE: usize = 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_ends_at_its_end_or_at_the_bound() {
        let read = |mut bytes: &[u8]| read_line(&mut bytes).map(|line| line.to_string());
        assert_eq!(read(b"open sesame\nmore").unwrap(), "open sesame");
        assert_eq!(read(b"open\r\n").unwrap(), "open");
        assert_eq!(read(b"").unwrap(), "");
        assert_eq!(read(&[b'x'; 5000]).unwrap().len(), MAX_LINE);
        assert!(read(b"\xff\n").is_err());
    }
}
