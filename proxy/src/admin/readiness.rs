//! Whether clients should be sent to this gateway: named conditions, each met or not with a reason.
//! Parts of the gateway register a condition when they start and report on it; the probe reads all. A condition is not met
//! until its part has said so: a part that never reports keeps the gateway out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// The conditions of one gateway. Ready is: at least one condition, all met, not draining.
#[derive(Default)]
pub struct Readiness {
    conditions: Mutex<Vec<State>>,
}

impl Readiness {
    /// Registers a condition, not met for now. Names are unique; a second registration takes the first one over.
    pub fn condition(self: &Arc<Self>, name: &'static str) -> Condition {
        self.set(name, Some(STARTING.to_owned()));
        Condition { readiness: self.clone(), name }
    }

    /// What the probe answers.
    pub fn report(&self) -> Report {
        let conditions = self.lock().clone();
        let ready = !conditions.is_empty() && conditions.iter().all(|condition| condition.ok);
        Report { ready, conditions }
    }

    fn set(&self, name: &'static str, reason: Option<String>) {
        self.put(State { name, ok: reason.is_none(), reason });
    }

    fn put(&self, next: State) {
        let mut conditions = self.lock();
        match conditions.iter_mut().find(|condition| condition.name == next.name) {
            Some(condition) => *condition = next,
            None => conditions.push(next),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<State>> {
        self.conditions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handle of one condition.
#[derive(Clone)]
pub struct Condition {
    readiness: Arc<Readiness>,
    name: &'static str,
}

impl Condition {
    /// The condition is met.
    pub fn met(&self) {
        self.readiness.set(self.name, None);
    }

    /// The condition is met, but an operator should know something; shown without authentication.
    pub fn met_with(&self, remark: impl Into<String>) {
        self.readiness.put(State { name: self.name, ok: true, reason: Some(remark.into()) });
    }

    /// The condition is not met, and why; the reason is shown without authentication.
    pub fn failed(&self, reason: impl Into<String>) {
        self.readiness.set(self.name, Some(reason.into()));
    }
}

/// What the probe answers, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Whether clients should be sent here.
    pub ready: bool,
    /// In the order of registration.
    pub conditions: Vec<State>,
}

/// One condition as the probe shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct State {
    name: &'static str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The reason until a part reports for the first time.
const STARTING: &str = "starting";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_conditions_must_be_met_and_there_must_be_one() {
        let readiness = Arc::new(Readiness::default());
        assert!(!readiness.report().ready);
        let keyring = readiness.condition("keyring");
        let listeners = readiness.condition("listeners");
        keyring.met();
        assert!(!readiness.report().ready);
        listeners.met();
        assert!(readiness.report().ready);
        keyring.failed("head is older than 1h");
        let report = readiness.report();
        assert!(!report.ready);
        assert_eq!(report.conditions.len(), 2);
        assert_eq!(
            report.conditions.first(),
            Some(&State { name: "keyring", ok: false, reason: Some("head is older than 1h".to_owned()) })
        );
        keyring.met_with("head is old");
        let report = readiness.report();
        assert!(report.ready);
        let remark = State { name: "keyring", ok: true, reason: Some("head is old".to_owned()) };
        assert_eq!(report.conditions.first(), Some(&remark));
        keyring.met();
        assert_eq!(readiness.report().conditions.first().and_then(|first| first.reason.clone()), None);
    }
}
