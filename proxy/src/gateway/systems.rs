//! Key management systems while the gateway runs: asked again about clients in use, and whether they answer at all.
//!
//! Arrives: the systems. Leaves: clients that a system says no about stop; readiness and metrics that are true also while
//! nobody needs a key. Nothing here waits on the data path.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::admin::Condition;
use crate::custody::{KeySystems, LOCAL, Standing};
use crate::keyring::Keys;
use crate::metrics::Metrics;

/// Has the systems asked again about clients whose secrets are in use, for ever.
pub async fn renew_custody(keys: Arc<Keys>) {
    let mut ticks = every(SECOND);
    loop {
        ticks.tick().await;
        keys.renew_custody();
    }
}

/// What is watched of the systems of `kms:`.
pub struct Watch {
    /// The systems.
    pub systems: Arc<KeySystems>,
    /// Where their standing is shown.
    pub metrics: Arc<Metrics>,
    /// How long an outage is survived.
    pub outage_grace: Duration,
}

impl Watch {
    /// Reports for ever. A gateway that has never had an answer of the system that hides new keys is not ready; one that
    /// had is, until the grace of an outage is over. Other systems, which are there until what they hide has been moved,
    /// are told by the metric alone: a gateway that can serve most clients must not be taken out of service for a few.
    pub async fn run(self, standing: Condition) {
        let systems: Vec<Asked> = self.systems.names().map(Asked::new).collect();
        // Each by itself: one that takes its time must not keep the standing of another in the dark.
        let mut probes = JoinSet::new();
        for system in &systems {
            probes.spawn(system.clone().probe(self.systems.clone()));
        }
        let mut answered = self.systems.chosen() == LOCAL;
        let mut ticks = every(SECOND);
        loop {
            ticks.tick().await;
            let known =
                |one: &Standing| one.outage.is_some() || systems.iter().any(|system| system.has_answered(&one.name));
            let standings: Vec<Standing> = self.systems.standings().into_iter().filter(known).collect();
            for Standing { name, outage } in &standings {
                self.metrics.key_system(name, outage.is_none());
            }
            answered |= standings.iter().any(|one| one.name == self.systems.chosen() && one.outage.is_none());
            match standings.iter().find_map(|one| self.trouble(one, answered)) {
                None if answered => standing.met(),
                // Not asked yet.
                None => {}
                Some(reason) => standing.failed(reason),
            }
        }
    }

    fn trouble(&self, Standing { name, outage }: &Standing, answered: bool) -> Option<String> {
        let (since, error) = outage.as_ref().filter(|_| name == self.systems.chosen())?;
        let reason = || format!("{name} has given no usable answer for {} s: {error}", since.as_secs());
        (!answered || *since >= self.outage_grace).then(reason)
    }
}

/// A system, and whether a question to it has come to its end once.
#[derive(Clone)]
struct Asked {
    name: String,
    once: Arc<AtomicBool>,
}

impl Asked {
    fn new(name: &str) -> Self {
        Self { name: name.to_owned(), once: Arc::default() }
    }

    fn has_answered(&self, name: &str) -> bool {
        self.name == name && self.once.load(Ordering::Relaxed)
    }

    async fn probe(self, systems: Arc<KeySystems>) {
        let mut ticks = every(PROBE_INTERVAL);
        loop {
            ticks.tick().await;
            systems.probe(&self.name).await;
            self.once.store(true, Ordering::Relaxed);
        }
    }
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// How often is looked for what is due, and how soon an outage is shown.
const SECOND: Duration = Duration::from_secs(1);

/// How often a system that nobody asks is asked for something small.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);
