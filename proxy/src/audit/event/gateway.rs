//! Events of the gateway itself: it starts and stops, its configuration changes, its clock.

use super::connection::failed;
use super::content::{Change, Clock, GatewayRun, Status, Text};
use super::{Event, Kind, OnFailure};
use crate::config::{Changes, Config, Mistake, Policy};

/// This run of the gateway.
#[derive(Clone, Debug)]
pub struct Run {
    /// Whether the run before did not end by itself.
    pub unclean: bool,
    /// What happens when the log cannot be written.
    pub on_failure: OnFailure,
}

/// What the clock is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClockReference {
    /// The time in the newest head, at its arrival; signed elsewhere, it has travelled.
    Head,
    /// The clock that is never set.
    Monotonic,
}

impl Event {
    /// The gateway begins to serve.
    pub fn started(run: &Run, config: &Config) -> Self {
        let mut event = Self::new(Kind::Started, "gateway");
        event.content.gateway = Some(GatewayRun {
            unclean: Some(run.unclean),
            configuration: Some(configuration_digest(config)),
            policy: Some(policy_digest(&config.policy)),
            on_failure: Some(match run.on_failure {
                OnFailure::Alarm => "alarm",
                OnFailure::Block => "block",
            }),
            ..this_process()
        });
        event
    }

    /// The gateway has drained and ends.
    pub fn stopped(drained: bool) -> Self {
        let mut event = Self::new(Kind::Stopped, "gateway");
        event.content.gateway = Some(this_process());
        if !drained {
            event.content.result = failed(Status::Failure, "drain_cut_short", "connections were cut off");
        }
        event
    }

    /// A configuration was loaded. What waits for a restart is named.
    pub fn configuration_changed(before: &Config, after: &Config, changes: &Changes) -> Self {
        let mut event = Self::new(Kind::ConfigurationChanged, "gateway");
        event.content.change = Some(Change {
            what: "configuration",
            before: Some(configuration_digest(before)),
            after: Some(configuration_digest(after)),
            in_force: names(&changes.in_place),
            needs_restart: names(&changes.needs_restart),
        });
        event
    }

    /// A configuration has a mistake.
    pub fn configuration_refused(before: &Config, mistakes: &[Mistake]) -> Self {
        let mut event = Self::new(Kind::ConfigurationRefused, "gateway");
        let before = Some(configuration_digest(before));
        event.content.change = Some(Change { what: "configuration", before, ..Change::default() });
        let text = mistakes.first().map(ToString::to_string).unwrap_or_default();
        event.content.result = failed(Status::Failure, "mistake", &text);
        event
    }

    /// Other rules are in force; `None` when they are the same.
    pub fn policy_changed(before: &Policy, after: &Policy) -> Option<Self> {
        if before == after {
            return None;
        }
        let mut event = Self::new(Kind::PolicyChanged, "gateway");
        event.content.change = Some(Change {
            what: "policy",
            before: Some(policy_digest(before)),
            after: Some(policy_digest(after)),
            ..Change::default()
        });
        Some(event)
    }

    /// How far this clock is from another.
    pub fn clock_offset(reference: ClockReference, offset_millis: i64) -> Self {
        let mut event = Self::new(Kind::ClockOffset, "gateway");
        let reference = match reference {
            ClockReference::Head => "head",
            ClockReference::Monotonic => "monotonic",
        };
        event.content.clock = Some(Clock { reference, offset_millis });
        event
    }
}

fn this_process() -> GatewayRun {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    GatewayRun {
        version: env!("CARGO_PKG_VERSION"),
        host: host.map(|name| Text::from(name.trim())),
        process: std::process::id(),
        ..GatewayRun::default()
    }
}

/// Of the values in force, defaults and overrides included. Secrets are references in them, never values.
fn configuration_digest(config: &Config) -> String {
    digest(&format!("{config:?}"))
}

fn policy_digest(policy: &Policy) -> String {
    digest(&format!("{:?} {:?}", policy.streams(), policy.enrolment_rules()))
}

fn digest(text: &str) -> String {
    hex::encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()).as_ref())
}

fn names(keys: &[String]) -> Vec<Text> {
    keys.iter().take(MOST_KEYS).map(Text::from).collect()
}

/// A file that changes more of them has changed.
const MOST_KEYS: usize = 50;
