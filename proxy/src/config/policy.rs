//! The policy as the data path asks for it: a topic arrives, a [`StreamRule`] leaves; a principal arrives, its enrolment
//! leaves. Compiled once from `streams` and `clients`; immutable, so a snapshot is shared without a lock. An answer for a
//! topic holds for the life of the snapshot: keep it instead of asking for each batch.

use std::collections::HashMap;

use super::clients::{Custody, EnrolmentRule};
use super::pattern::TopicPattern;
use super::rest::idempotency::IDEMPOTENCY_TOPIC;
use super::streams::{INTERNAL_TOPICS, StreamRule, Streams, TopicSelector};
use crate::identity::Principal;

/// The compiled rules.
#[derive(Clone, Debug)]
pub struct Policy {
    streams: Streams,
    enrolment: Vec<EnrolmentRule>,
    keyring_topic: String,
    audit_topics: Vec<String>,
    names: HashMap<String, usize>,
    patterns: Vec<(usize, TopicPattern)>,
}

impl Policy {
    pub(super) fn compile(
        streams: Streams,
        enrolment: Vec<EnrolmentRule>,
        keyring_topic: String,
        audit_topics: Vec<String>,
    ) -> Self {
        let mut names = HashMap::new();
        let mut patterns = Vec::new();
        for (index, (selector, _)) in streams.rules.iter().enumerate() {
            match selector {
                TopicSelector::Name(topic) => {
                    names.entry(topic.clone()).or_insert(index);
                }
                TopicSelector::Pattern(pattern) => patterns.push((index, pattern.clone())),
            }
        }
        Self { streams, enrolment, keyring_topic, audit_topics, names, patterns }
    }

    /// The same rules beside another keyring topic: a reload changes rules, but never which topic is the keyring.
    pub fn for_keyring(self, keyring_topic: String) -> Self {
        Self { keyring_topic, ..self }
    }

    /// What happens to records of a topic.
    ///
    /// The keyring always passes: its objects are signed, and readers with keys of their own follow it through us. So do the audit
    /// log's topics: their entries are bound by a tree, and nobody writes them through us; and the answers that the bridge keeps, which
    /// nobody else writes or reads.
    /// Topics of the brokers themselves are never sealed: without a rule that names them they pass only under
    /// `default: pass`, and are refused otherwise.
    pub fn stream(&self, topic: &str) -> &StreamRule {
        if topic == self.keyring_topic || topic == IDEMPOTENCY_TOPIC || self.is_audit_topic(topic) {
            return &StreamRule::Pass;
        }
        let by_name = self.names.get(topic).copied().unwrap_or(usize::MAX);
        let before = self.patterns.iter().take_while(|(index, _)| *index < by_name);
        let by_pattern = before.filter(|(_, pattern)| pattern.covers(topic)).map(|(index, _)| *index).next();
        let found = self.streams.rules.get(by_pattern.unwrap_or(by_name)).map(|(_, rule)| rule);
        let internal = INTERNAL_TOPICS.contains(&topic);
        match found.unwrap_or(&self.streams.default) {
            StreamRule::Seal(_) if internal => &StreamRule::Refuse,
            rule => rule,
        }
    }

    /// The keyring's topic.
    pub fn keyring_topic(&self) -> &str {
        &self.keyring_topic
    }

    /// Whether the audit log goes to a topic.
    pub fn is_audit_topic(&self, topic: &str) -> bool {
        self.audit_topics.iter().any(|one| one == topic)
    }

    /// The topics that the audit log goes to.
    pub fn audit_topics(&self) -> &[String] {
        &self.audit_topics
    }

    /// Where a principal's keys are to be made when it has none; `None` is: nowhere, an operator adds it.
    pub fn enrolment(&self, principal: &Principal) -> Option<Custody> {
        if principal.is_anonymous() {
            return None;
        }
        self.enrolment.iter().find(|rule| rule.principal.covers(principal)).map(|rule| rule.custody)
    }

    /// The rules as written.
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// The enrolment rules as written.
    pub fn enrolment_rules(&self) -> &[EnrolmentRule] {
        &self.enrolment
    }

    /// Whether any topic can be sealed, so that keyring and keystore are needed.
    pub fn may_seal(&self) -> bool {
        self.streams.may_seal()
    }
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.streams == other.streams && self.enrolment == other.enrolment && self.keyring_topic == other.keyring_topic
    }
}
