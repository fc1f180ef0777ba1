//! Who could read and write what: grants, revocations and removals arrive in the order of the log, the access matrix of any
//! moment leaves. Times are those of the signed objects: what a steward signed counts from then on, whenever a gateway heard
//! of it. A grant that was replaced stays in the history, so that the past does not change.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Serialize;

use super::occurrence::{Occurrence, Place};

/// The history of all grants of a log.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    by_object: BTreeMap<String, Vec<Step>>,
    /// When identities were removed, by id.
    removed: BTreeMap<String, Timestamp>,
    principals: BTreeMap<String, String>,
}

/// What a grant said from some moment on.
#[derive(Clone, Debug)]
struct Step {
    since: Timestamp,
    right: Right,
    identity: String,
    valid_from: Timestamp,
    valid_to: Option<Timestamp>,
    /// From then on there is no right.
    ended: Option<Timestamp>,
}

/// A right as it stood at a moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Right {
    /// Who.
    pub principal: String,
    /// On which topic, or `stream=ID` where the topic is not known.
    pub topic: String,
    /// `read` or `write`.
    pub right: String,
    /// `policy` or `name`.
    pub by: String,
    /// The first epoch that it covers.
    pub first_epoch: u32,
    /// The last one; none is without an end.
    pub last_epoch: Option<u32>,
    /// Since when.
    pub since: Timestamp,
    /// Until when; none is without an end.
    pub until: Option<Timestamp>,
    /// Who signed it.
    pub signed_by: String,
    /// The entry that says so.
    pub entry: Place,
}

/// The rights of one moment, by principal and topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// The topics, in order.
    pub topics: Vec<String>,
    /// The principals, in order.
    pub principals: Vec<String>,
    /// The rights, in the order of principals, topics and rights.
    pub rights: Vec<Right>,
}

impl Grants {
    /// Takes the next event of the log.
    pub fn take(&mut self, event: &Occurrence) {
        match event.kind() {
            "grant.given" | "grant.revoked" => self.granted(event),
            "keyring.removed" => self.removed(event),
            "client.enrolled" => {
                let crypto = &event.data.crypto;
                if let (Some(identity), Some(client)) = (&crypto.identity, &crypto.client) {
                    self.principals.insert(identity.clone(), client.clone());
                }
            }
            _ => {}
        }
    }

    /// The rights as they stood at a moment.
    #[must_use]
    pub fn at(&self, moment: Timestamp) -> Matrix {
        let standing = self.by_object.values().filter_map(|steps| {
            // Objects are versioned, and signers' clocks are their own: the last step that was signed by then counts.
            steps.iter().rev().find(|step| step.since <= moment)
        });
        let mut rights: Vec<Right> =
            standing.filter(|step| self.stands(step, moment)).map(|step| step.right.clone()).collect();
        rights.sort_by(|a, b| (&a.principal, &a.topic, &a.right).cmp(&(&b.principal, &b.topic, &b.right)));
        Matrix::of(rights)
    }

    /// Everything that was allowed at any time between two moments: the matrix of a period.
    #[must_use]
    pub fn within(&self, from: Timestamp, to: Timestamp) -> Matrix {
        let mut rights = Vec::new();
        for steps in self.by_object.values() {
            for (index, step) in steps.iter().enumerate() {
                let next = steps.get(index + 1).map(|next| next.since);
                let begins = step.since.max(step.valid_from);
                let ends = [next, step.ended, step.valid_to, self.gone(step)].into_iter().flatten().min();
                if begins < to && ends.is_none_or(|ends| ends > from && ends > begins) {
                    rights.push(Right { since: begins, until: ends, ..step.right.clone() });
                }
            }
        }
        rights.sort_by(|a, b| {
            (&a.principal, &a.topic, &a.right, a.since).cmp(&(&b.principal, &b.topic, &b.right, b.since))
        });
        Matrix::of(rights)
    }

    fn granted(&mut self, event: &Occurrence) {
        let data = &event.data;
        let Some(object) = &data.keyring.object else { return };
        let identity = data.crypto.identity.clone().unwrap_or_default();
        let known = || self.principals.get(&identity).cloned();
        let principal = data.crypto.client.clone().or_else(known).unwrap_or_else(|| format!("identity={identity}"));
        let valid_from = data.grant.valid_from.unwrap_or(Timestamp::MIN);
        let since = data.keyring.issued_at.unwrap_or(event.time);
        let right = Right {
            principal,
            topic: event.topic().map_or_else(|| data.resource_name.clone(), str::to_owned),
            right: data.grant.right.clone().unwrap_or_default(),
            by: data.grant.by.clone().unwrap_or_default(),
            first_epoch: data.grant.first_epoch.unwrap_or_default(),
            last_epoch: data.grant.last_epoch,
            since: since.max(valid_from),
            until: data.grant.valid_to,
            signed_by: data.keyring.signed_by.clone().unwrap_or_default(),
            entry: event.place,
        };
        let is_revoked = event.kind() == "grant.revoked";
        let ended = data.grant.revoked_at.or(is_revoked.then_some(since));
        let steps = self.by_object.entry(object.clone()).or_default();
        if steps.iter().any(|step| step.since == since && step.ended == ended) {
            // Told again, by a gateway that was away, or by another one.
            return;
        }
        steps.push(Step { since, right, identity, valid_from, valid_to: data.grant.valid_to, ended });
    }

    fn removed(&mut self, event: &Occurrence) {
        let Some(object) = &event.data.keyring.object else { return };
        let since = event.data.keyring.issued_at.unwrap_or(event.time);
        if let Some(last) = self.by_object.get_mut(object).and_then(|steps| steps.last_mut()) {
            last.ended = Some(last.ended.map_or(since, |ended| ended.min(since)));
        }
        if let Some(identity) = object.strip_prefix("identity/") {
            self.removed.insert(identity.to_owned(), since);
        }
    }

    fn gone(&self, step: &Step) -> Option<Timestamp> {
        self.removed.get(&step.identity).copied()
    }

    fn stands(&self, step: &Step, moment: Timestamp) -> bool {
        let before = |end: Option<Timestamp>| end.is_none_or(|end| moment < end);
        step.valid_from <= moment && before(step.valid_to) && before(step.ended) && before(self.gone(step))
    }
}

impl Matrix {
    fn of(rights: Vec<Right>) -> Self {
        let collect = |of: fn(&Right) -> &String| {
            let mut names: Vec<String> = rights.iter().map(|right| of(right).clone()).collect();
            names.sort();
            names.dedup();
            names
        };
        Self { topics: collect(|right| &right.topic), principals: collect(|right| &right.principal), rights }
    }

    /// The rights of a principal on a topic.
    pub fn cell(&self, principal: &str, topic: &str) -> impl Iterator<Item = &Right> {
        self.rights.iter().filter(move |right| right.principal == principal && right.topic == topic)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::tests::{grant, removed};
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-03-{text}:00Z").parse().unwrap()
    }

    #[test]
    fn the_matrix_of_a_moment_is_what_was_signed_by_then() {
        let mut grants = Grants::default();
        for event in [
            grant(1, "alice", "orders", "write", "01T10:00", None),
            grant(2, "bob", "orders", "read", "01T11:00", None),
            grant(3, "bob", "orders", "read", "02T09:00", Some("02T09:00")),
        ] {
            grants.take(&event);
        }
        assert!(grants.at(at("01T09:59")).rights.is_empty());
        let both = grants.at(at("01T12:00"));
        assert_eq!(both.principals, ["User:alice", "User:bob"]);
        assert_eq!((both.topics.as_slice(), both.cell("User:bob", "orders").count()), (&["orders".to_owned()][..], 1));
        assert_eq!(grants.at(at("02T08:59")).rights.len(), 2);
        assert_eq!(grants.at(at("02T09:00")).principals, ["User:alice"]);
    }

    #[test]
    fn the_matrix_of_a_period_has_what_ended_in_it() {
        let mut grants = Grants::default();
        grants.take(&grant(2, "bob", "orders", "read", "01T11:00", None));
        grants.take(&grant(3, "bob", "orders", "read", "02T09:00", Some("02T09:00")));
        let period = grants.within(at("02T00:00"), at("03T00:00"));
        assert_eq!(period.rights.len(), 1);
        assert_eq!(period.rights.first().unwrap().until, Some(at("02T09:00")));
        assert!(grants.within(at("02T10:00"), at("03T00:00")).rights.is_empty());
    }

    #[test]
    fn a_client_that_was_removed_has_no_right_left() {
        let mut grants = Grants::default();
        grants.take(&grant(1, "alice", "orders", "write", "01T10:00", None));
        grants.take(&removed("identity/alice-id", "03T10:00"));
        assert_eq!(grants.at(at("03T09:59")).rights.len(), 1);
        assert!(grants.at(at("03T10:00")).rights.is_empty());
        assert_eq!(grants.within(at("02T00:00"), at("04T00:00")).rights.first().unwrap().until, Some(at("03T10:00")));
    }
}
