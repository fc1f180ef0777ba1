//! Kafka's own consumer, unmodified, as the client: Java's ConsumerPerformance. It decodes every record, as an application
//! does, and takes a core for that; so its rate says what an application would notice, where the native generator, which only
//! counts, says what the path can carry.

use std::fs;
use std::path::Path;

use super::{MEBIBYTE, Shape};
use crate::error::{Attempt, Error};
use crate::process::CpuClock;
use crate::stage::{Child, Member, Stage};

/// What one run of the consumer showed.
pub struct Stock {
    /// Records a second, without the time to join the group.
    pub records_per_second: f64,
    /// CPU milliseconds of the measured process for each mebibyte of record values.
    pub cpu_per_mb: Option<f64>,
}

/// Reads `records` records of the topic through `member`.
pub fn run(stage: &Stage, member: &Member, shape: &Shape, records: u64) -> Result<Stock, Error> {
    let file = stage.directory().join("consumer.properties");
    let properties = if member.party.tls() { tls_properties(stage)? } else { String::new() };
    fs::write(&file, properties).attempt(|| format!("write {}", file.display()))?;
    let arguments = [
        "-Xmx512m",
        "-cp",
        stage.broker.classes(),
        "org.apache.kafka.tools.ConsumerPerformance",
        "--bootstrap-server",
        &format!("localhost:{}", member.target.address.port()),
        "--topic",
        &shape.topic,
        "--num-records",
        &records.to_string(),
        "--command-config",
        &file.display().to_string(),
        "--hide-header",
    ]
    .map(str::to_owned);
    let clock = || member.child.as_ref().map(|child| CpuClock::read(child.pid())).transpose();
    let before = clock()?;
    let said = Child::output(Path::new("java"), &arguments)?;
    let used = before.zip(clock()?).map(|(before, after)| after.since(&before));
    let (received, rate) = figures(&said)?;
    if received < records {
        return Err(Error::Mismatch(format!("kafka's consumer received {received} records of {records}")));
    }
    let mebibytes = received as f64 * shape.value_bytes as f64 / MEBIBYTE;
    let cpu_per_mb = used.map(|used| used.total.as_secs_f64() * 1e3 / mebibytes);
    Ok(Stock { records_per_second: rate, cpu_per_mb })
}

/// Records received and records a second of fetching: the fifth and the tenth field of the tool's last line.
fn figures(said: &str) -> Result<(u64, f64), Error> {
    let line = said.lines().rfind(|line| line.matches(',').count() >= 9).unwrap_or_default();
    let mut fields = line.split(',').map(str::trim);
    let received = fields.nth(4).and_then(|field| field.parse().ok());
    let rate = fields.nth(4).and_then(|field| field.parse().ok());
    received.zip(rate).ok_or_else(|| Error::Mismatch(format!("kafka's consumer printed no figures: {said}")))
}

fn tls_properties(stage: &Stage) -> Result<String, Error> {
    let files = &stage.certificates;
    let read = |path: &Path| fs::read_to_string(path).attempt(|| format!("read {}", path.display()));
    let both = stage.directory().join("client-both.pem");
    let text = format!("{}{}", read(&files.client_key)?, read(&files.client)?);
    fs::write(&both, text).attempt(|| format!("write {}", both.display()))?;
    Ok(format!(
        "security.protocol=SSL\nssl.truststore.type=PEM\nssl.truststore.location={}\nssl.keystore.type=PEM\n\
         ssl.keystore.location={}\n",
        files.ca.display(),
        both.display()
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_tools_line_is_read() {
        let said = "WARN, something\n2026-11-21 10:00:00:000, 2026-11-21 10:00:05:000, 976.5, 195.3, 1000000, 200000.0, 3100, 1900, 513.9, 526315.7\n";
        assert_eq!(figures(said).unwrap(), (1_000_000, 526_315.7));
        assert!(figures("nothing").is_err());
    }
}
