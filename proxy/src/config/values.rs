//! Readers of single values: text from the file or the environment arrives, a typed value or a refusal leaves.
//! Values are quoted in refusals, so a secret must never be read here: secrets are references (see `secret.rs`).

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::mistake::Refusal;

/// A host name or address with a port, as `bootstrap.servers` has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// A DNS name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// The TCP port, never 0.
    pub port: u16,
}

impl std::fmt::Display for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Reads paths against the folder of the configuration file, and looks whether what they name is there.
pub(crate) struct Places<'e> {
    pub(crate) base: PathBuf,
    pub(crate) env: &'e [(String, String)],
}

impl Places<'_> {
    /// The path, made absolute against the folder of the configuration file.
    pub(crate) fn path(&self, text: &str) -> Result<PathBuf, Refusal> {
        if text.is_empty() {
            return Err(Refusal::new("the path is empty", "write the path of a file"));
        }
        Ok(self.base.join(text))
    }

    /// A file that must be there and be a file; whether it can be understood is for its reader to say.
    pub(crate) fn file(&self, text: &str) -> Result<PathBuf, Refusal> {
        let path = self.path(text)?;
        match std::fs::metadata(&path) {
            Ok(found) if found.is_file() => Ok(path),
            Ok(_) => Err(Refusal::new(format!("`{}` is not a file", path.display()), "name a file")),
            Err(error) => Err(absent(&path, &error)),
        }
    }

    /// A file or folder that must be there.
    pub(crate) fn existing(&self, text: &str) -> Result<PathBuf, Refusal> {
        let path = self.path(text)?;
        match std::fs::metadata(&path) {
            Ok(_) => Ok(path),
            Err(error) => Err(absent(&path, &error)),
        }
    }
}

fn absent(path: &Path, error: &std::io::Error) -> Refusal {
    let text = format!("`{}` cannot be opened: {error}", path.display());
    Refusal::new(text, "create it, correct the path (relative paths start at the configuration file) or its mode")
}

/// Any text but an empty one.
pub(crate) fn text(text: &str) -> Result<String, Refusal> {
    if text.is_empty() {
        return Err(Refusal::new("the value is empty", "write a value"));
    }
    Ok(text.to_owned())
}

/// A name that other places of the file refer to: letters, digits, `-`, `_`, `.`.
pub(crate) fn name(text: &str) -> Result<String, Refusal> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > MAX_NAME_BYTES || !text.chars().all(plain) {
        let remedy = format!("use 1 to {MAX_NAME_BYTES} letters, digits, `-`, `_` or `.`");
        return Err(Refusal::new(format!("`{text}` is not a name"), remedy));
    }
    Ok(text.to_owned())
}

/// A topic name as Kafka accepts it (`Topic.validate`: at most 249 of letters, digits, `.`, `_`, `-`; not `.` or `..`).
pub(crate) fn topic(text: &str) -> Result<String, Refusal> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 249 || text == "." || text == ".." || !text.chars().all(plain) {
        let text = format!("`{text}` is not a topic name");
        return Err(Refusal::new(
            text,
            "use 1 to 249 letters, digits, `.`, `_`, `-`; for several topics write `pattern`",
        ));
    }
    Ok(text.to_owned())
}

/// A DNS name or address without a port, in lower case.
pub(crate) fn host(text: &str) -> Result<String, Refusal> {
    let address = text.parse::<std::net::IpAddr>().is_ok();
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
    };
    if !address && (text.len() > 253 || !text.split('.').all(label)) {
        return Err(Refusal::new(
            format!("`{text}` is not a host name"),
            "write a DNS name or an IP address, without a port",
        ));
    }
    Ok(text.to_ascii_lowercase())
}

/// An IP address with a port to listen on; port 0 is refused because clients must be told the port beforehand.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, Refusal> {
    let remedy = "write an IP address and a port, such as 127.0.0.1:9192, 0.0.0.0:9192 or [::]:9192";
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(address),
        _ => Err(Refusal::new(format!("`{text}` is not an address to listen on"), remedy)),
    }
}

/// `host:port`, also `[v6]:port`.
pub(crate) fn host_port(text: &str) -> Result<HostPort, Refusal> {
    let refusal = || Refusal::new(format!("`{text}` is not a host and port"), "write host:port, such as kafka-1:9092");
    let (name, port) = text.rsplit_once(':').ok_or_else(refusal)?;
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let port = port.parse::<u16>().ok().filter(|port| *port != 0).ok_or_else(refusal)?;
    let name = host(name).map_err(|_| refusal())?;
    Ok(HostPort { host: name, port })
}

/// A whole number within bounds.
pub(crate) fn number(low: i64, high: i64) -> impl Fn(&str) -> Result<i64, Refusal> {
    move |text| {
        let refusal = || Refusal::new(format!("`{text}` is not a whole number"), format!("write {low} to {high}"));
        let value = text.replace('_', "").parse::<i64>().map_err(|_| refusal())?;
        if !(low..=high).contains(&value) {
            return Err(Refusal::new(format!("{value} is out of bounds"), format!("write {low} to {high}")));
        }
        Ok(value)
    }
}

/// A number of bytes: plain, or with KiB, MiB, GiB.
pub(crate) fn bytes(low: usize, high: usize) -> impl Fn(&str) -> Result<usize, Refusal> {
    move |text| {
        let remedy = format!("write {low} to {high} bytes, such as 65536, 64 KiB or 1 MiB");
        let refusal = || Refusal::new(format!("`{text}` is not a number of bytes"), remedy.clone());
        let (digits, unit) = split_unit(text);
        let factor: u64 = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(refusal()),
        };
        let value = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(factor)).ok_or_else(refusal)?;
        let value = usize::try_from(value).map_err(|_| refusal())?;
        if !(low..=high).contains(&value) {
            return Err(Refusal::new(format!("{value} bytes is out of bounds"), remedy.clone()));
        }
        Ok(value)
    }
}

/// A duration with its unit: ms, s, m, h or d.
pub(crate) fn duration(low: Duration, high: Duration) -> impl Fn(&str) -> Result<Duration, Refusal> {
    move |text| {
        let remedy = format!("write a number with ms, s, m, h or d, from {low:?} to {high:?}");
        let refusal = || Refusal::new(format!("`{text}` is not a duration"), remedy.clone());
        let (digits, unit) = split_unit(text);
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(refusal()),
        };
        let value = digits.parse::<u64>().ok().and_then(|n| n.checked_mul(millis)).ok_or_else(refusal)?;
        let value = Duration::from_millis(value);
        if value < low || value > high {
            return Err(Refusal::new(format!("`{text}` is out of bounds"), remedy.clone()));
        }
        Ok(value)
    }
}

/// One word of a closed list.
pub(crate) fn choice<T: Copy>(choices: &'static [(&'static str, T)]) -> impl Fn(&str) -> Result<T, Refusal> {
    move |text| match choices.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(*value),
        None => {
            let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
            Err(Refusal::new(format!("`{text}` is not a choice here"), format!("write one of {}", words.join(", "))))
        }
    }
}

/// `true` or `false`.
pub(crate) fn truth(text: &str) -> Result<bool, Refusal> {
    choice(&[("true", true), ("false", false)])(text)
}

fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    (digits, unit.trim())
}

/// Names go into logs and metric labels.
const MAX_NAME_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn numbers_have_units_and_bounds() {
        assert_eq!(bytes(1, 1 << 30)("64 KiB").unwrap(), 65536);
        assert_eq!(bytes(1, 1 << 30)("100MiB").unwrap(), 104_857_600);
        assert_eq!(bytes(1, 1 << 30)("12").unwrap(), 12);
        assert!(bytes(1, 1 << 30)("0").is_err());
        assert!(bytes(1, 1 << 30)("64 kB").is_err());
        assert!(bytes(1, 1 << 30)("99999999999999999999 GiB").is_err());
        let hour = Duration::from_secs(3600);
        assert_eq!(duration(Duration::ZERO, hour)("1h").unwrap(), hour);
        assert_eq!(duration(Duration::ZERO, hour)("250ms").unwrap(), Duration::from_millis(250));
        assert!(duration(Duration::ZERO, hour)("61m").is_err());
        assert!(duration(Duration::ZERO, hour)("10").is_err());
        assert_eq!(number(0, 10_000)("9_192").unwrap(), 9192);
        assert!(number(0, 10)("11").is_err());
    }

    #[test]
    fn addresses_and_names() {
        assert_eq!(host_port("kafka-1:9092").unwrap().to_string(), "kafka-1:9092");
        assert_eq!(host_port("[::1]:9092").unwrap().to_string(), "[::1]:9092");
        assert!(host_port("kafka").is_err());
        assert!(host_port("kafka:0").is_err());
        assert!(host_port("a b:1").is_err());
        assert!(listen_address("localhost:9192").is_err());
        assert!(listen_address("127.0.0.1:0").is_err());
        assert_eq!(host("Kafka.Example.COM").unwrap(), "kafka.example.com");
        assert!(host("kafka..example").is_err());
        assert!(topic("a/b").is_err());
        assert!(topic("..").is_err());
        assert_eq!(topic("a.b_c-1").unwrap(), "a.b_c-1");
        assert!(name("").is_err());
    }

    #[test]
    fn choices_are_named_in_the_refusal() {
        let refusal = choice(&[("pass", 1), ("seal", 2)])("open").unwrap_err();
        assert_eq!(refusal.remedy, "write one of pass, seal");
        assert!(truth("yes").is_err());
    }
}
