//! Witnesses of the audit log while the gateway runs, and the witness that it is for others.
//!
//! Arrives: the configuration, the open log. Leaves: cosignatures in the log's folder; an alarm when a witness says that the log was
//! rolled back or has two histories: an event, a metric and a line. What must never happen here: an alarm that nobody hears, or
//! one for a witness that is merely away.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::Error;
use crate::audit::event::{Audit, Event, WitnessAlarm};
use crate::audit::log::witness::{Notice, Noticed, Witness, WitnessClient, WitnessError, gather};
use crate::audit::log::{Log, Signer};
use crate::config::{self, UpstreamTls};
use crate::metrics::AuditMetrics;
use crate::tls::UpstreamTlsSource;

/// Shows the log to its witnesses, again and again.
pub struct Rounds {
    log: Log,
    origin: String,
    audit: Audit,
    metrics: AuditMetrics,
    every: Duration,
    clients: Vec<WitnessClient>,
    standings: Vec<Standing>,
}

/// How it stands with a witness.
struct Standing {
    tls: Option<UpstreamTls>,
    failures: u32,
    is_alarmed: bool,
}

impl Rounds {
    /// None without witnesses.
    pub fn new(settings: &config::Audit, log: Log, audit: Audit, metrics: AuditMetrics) -> Result<Option<Self>, Error> {
        let witnessing = &settings.witnessing;
        if witnessing.witnesses.is_empty() {
            return Ok(None);
        }
        let (mut clients, mut standings) = (Vec::new(), Vec::new());
        for witness in &witnessing.witnesses {
            let tls = witness.tls.clone().map(UpstreamTlsSource::new).transpose()?.map(|source| source.current());
            clients.push(WitnessClient::new(&witness.url, witness.key.clone(), tls)?);
            standings.push(Standing { tls: witness.tls.clone(), failures: 0, is_alarmed: false });
            // They are there from the start, so that what never happens can be seen.
            metrics.witnessed(witness.key.name()).set(0);
            metrics.witness_alarm(witness.key.name()).set(0);
        }
        let (origin, every) = (settings.origin.clone(), witnessing.interval);
        Ok(Some(Self { log, origin, audit, metrics, every, clients, standings }))
    }

    /// Runs for ever.
    pub async fn run(mut self) {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.round().await;
        }
    }

    /// The last one, when the log is closed: what came since the round before is witnessed, too. Nothing can be told any more.
    pub async fn last(mut self) {
        self.audit = Audit::off();
        self.round().await;
    }

    async fn round(&mut self) {
        for (client, standing) in self.clients.iter_mut().zip(&self.standings) {
            // Read anew each time: certificates are renewed. Broken files leave those in use.
            let renewed = standing.tls.clone().map(UpstreamTlsSource::new);
            if let Some(Ok(source)) = renewed {
                client.renew(source.current());
            }
        }
        let size = self.log.state().checkpoint;
        let mut outcomes = gather(&self.log, &mut self.clients).await.into_iter();
        for (client, standing) in self.clients.iter().zip(&mut self.standings) {
            let Some(outcome) = outcomes.next() else { return };
            let told = Told { origin: &self.origin, size, audit: &self.audit, metrics: &self.metrics };
            told.take(client, standing, outcome);
        }
        for error in outcomes.filter_map(Result::err) {
            tracing::error!(event = "audit_witnessed_unwritable", %error);
        }
    }
}

/// Where outcomes are told.
struct Told<'a> {
    origin: &'a str,
    size: u64,
    audit: &'a Audit,
    metrics: &'a AuditMetrics,
}

impl Told<'_> {
    fn take(&self, client: &WitnessClient, standing: &mut Standing, outcome: Result<(), WitnessError>) {
        let witness = client.key().name();
        let alarm = match &outcome {
            Ok(()) => {
                if standing.failures >= PATIENCE || standing.is_alarmed {
                    tracing::info!(event = "audit_witness_cosigns_again", witness);
                }
                (standing.failures, standing.is_alarmed) = (0, false);
                self.metrics.witnessed(witness).set(i64::try_from(client.cosigned()).unwrap_or(i64::MAX));
                self.metrics.witness_alarm(witness).set(0);
                return;
            }
            Err(WitnessError::Longer(_, seen, size)) => WitnessAlarm::Shorter { size: *size, seen: *seen },
            Err(WitnessError::Forked(_)) => WitnessAlarm::Forked { size: self.size },
            Err(error) => {
                standing.failures = standing.failures.saturating_add(1);
                // One that is being started or renewed is no trouble yet.
                if standing.failures == PATIENCE {
                    tracing::warn!(event = "audit_witness_does_not_cosign", witness, %error);
                }
                return;
            }
        };
        self.metrics.witness_alarm(witness).set(1);
        if !std::mem::replace(&mut standing.is_alarmed, true) {
            let error = outcome.err().map(|error| error.to_string()).unwrap_or_default();
            tracing::error!(event = "audit_witness_alarm", witness, origin = self.origin, error);
            self.audit.record(Event::witness_alarm(self.origin, alarm, witness));
        }
    }
}

/// The witness that this gateway is, for the logs that the configuration names; none when it names none. Blocks.
pub fn open_witness(
    settings: &config::Audit,
    signer: &Signer,
    audit: Audit,
    metrics: AuditMetrics,
) -> Result<Option<Arc<Witness>>, Error> {
    let logs = settings.witnessing.logs.clone();
    if logs.is_empty() {
        return Ok(None);
    }
    let pen = signer.witness_pen(&witness_name(&settings.origin))?;
    let name = pen.key().name().to_owned();
    let notice: Notice = Box::new(move |origin, noticed| {
        let alarm = match noticed {
            Noticed::Shorter { size, seen } => WitnessAlarm::Shorter { size, seen },
            Noticed::Forked { size } => WitnessAlarm::Forked { size },
        };
        metrics.other_log_alarms(origin).inc();
        audit.record(Event::witness_alarm(origin, alarm, &name));
    });
    Ok(Some(Arc::new(Witness::open(beside(&settings.directory), pen, logs, notice)?)))
}

/// The name of a gateway's witness key.
#[must_use]
pub fn witness_name(origin: &str) -> String {
    format!("{origin}/witness")
}

/// `audit` has `audit.witness` beside it: nothing but the log writes into its folder.
fn beside(directory: &Path) -> PathBuf {
    let mut name = directory.file_name().unwrap_or_default().to_owned();
    name.push(".witness");
    directory.with_file_name(name)
}

/// Rounds without an answer before it is worth a warning.
const PATIENCE: u32 = 3;
