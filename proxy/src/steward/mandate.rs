//! What the policy lets the delegate do, and what it does not let stand any more.
//!
//! Arrives: the keyring, the policy in force, a need or the policies before. Leaves: the change that meets the need, or
//! the reason why not; the grants that have lost their rule. What must never happen here: a grant that was revoked by
//! name given again because a rule still names the principal, or a grant by command ended because none does.

use std::collections::BTreeMap;
use std::sync::Arc;

use barnabas_crypto::{Body, EpochNumber, Grant, IdentityId, Keyring, Right, Slot, StreamId, UnixMillis};

use super::Need;
use super::delegate::Change;
use super::plan::{BY_POLICY, CLOCK_SKEW_MILLIS, GrantRange};
use crate::chain::refusal::Reason;
use crate::config::{Custody, Policy, StreamRule};
use crate::identity::Principal;
use crate::keyring::now;

/// Checks a need against a policy: whoever asks may be mistaken, or not honest.
pub(super) fn change_for(keyring: &Keyring, policy: &Policy, need: &Need) -> Result<Change, Reason> {
    match need {
        Need::Identity { principal } => {
            if policy.enrolment(principal) != Some(Custody::Gateway) {
                return Err(Reason::NoIdentity);
            }
            Ok(Change::Enroll { principal: principal.as_str().to_owned(), by: "policy".to_owned() })
        }
        Need::Stream { topic } => {
            let known = keyring.stream_of_topic(topic).is_some_and(|stream| stream.sealed);
            match policy.stream(topic) {
                StreamRule::Seal(_) => Ok(Change::Seal { topic: topic.clone() }),
                _ if known => Ok(Change::Seal { topic: topic.clone() }),
                _ => Err(Reason::Unlisted),
            }
        }
        Need::Grant { identity, stream, right } => grant_for(keyring, policy, (*identity, *stream, *right)),
    }
}

fn grant_for(
    keyring: &Keyring,
    policy: &Policy,
    (identity, stream, right): (IdentityId, StreamId, Right),
) -> Result<Change, Reason> {
    let by_name = |grant: &Grant| grant.right == right && grant.revoked_at.is_some();
    if !is_named(keyring, policy, (identity, stream, right)) || keyring.grants(identity, stream).any(by_name) {
        return Err(if right == Right::Read { Reason::NoGrant } else { Reason::NotWriter });
    }
    // Whom the policy names may read what the stream holds, from its first epoch on.
    let range = GrantRange {
        first: Some(EpochNumber::FIRST),
        valid_from: UnixMillis::new(now().millis().saturating_sub(CLOCK_SKEW_MILLIS)),
        valid_to: BY_POLICY,
    };
    Ok(Change::Grant { identity, stream, right, range })
}

/// Whether the rule for a stream names an identity's principal.
pub(super) fn is_named(
    keyring: &Keyring,
    policy: &Policy,
    (identity, stream, right): (IdentityId, StreamId, Right),
) -> bool {
    let stream = keyring.stream(stream);
    stream.and_then(|stream| names(keyring, policy, &stream.topic, identity, right)) == Some(true)
}

/// The grants that a policy gave and `policy` does not give, by stream. Where it has no rule for a topic, only those that
/// one of the policies `before` gave: another gateway may be the one that knows the topic.
pub(super) fn withdrawn(
    keyring: &Keyring,
    policy: &Policy,
    before: &[Arc<Policy>],
    at: UnixMillis,
) -> BTreeMap<StreamId, Vec<Slot>> {
    let mut found: BTreeMap<StreamId, Vec<Slot>> = BTreeMap::new();
    for grant in keyring.all_grants().filter(|grant| grant.valid_to == BY_POLICY && grant.is_valid(at)) {
        let Some(stream) = keyring.stream(grant.stream) else { continue };
        let named = |policy: &Policy| names(keyring, policy, &stream.topic, grant.identity, grant.right);
        let lost = match named(policy) {
            Some(named) => !named,
            None => before.iter().any(|policy| named(policy) == Some(true)),
        };
        if lost {
            found.entry(grant.stream).or_default().push(Body::Grant(grant.clone()).slot());
        }
    }
    found
}

/// Whether the rule for a topic names a principal; `None` without a rule that seals it.
fn names(keyring: &Keyring, policy: &Policy, topic: &str, identity: IdentityId, right: Right) -> Option<bool> {
    let StreamRule::Seal(rule) = policy.stream(topic) else { return None };
    let principal = keyring.identity(identity).and_then(|identity| Principal::parse(&identity.principal));
    Some(principal.is_some_and(|principal| match right {
        Right::Read => rule.may_read(&principal),
        Right::Write => rule.may_write(&principal),
    }))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use barnabas_crypto::{
        Custodian, Identity, IdentitySecret, KemSuite, Object, OnUnreadable, Secret, SigningKey, Stream, Suite,
    };

    use super::*;
    use crate::config::Config;

    const STREAM: StreamId = StreamId::from_bytes([1; 16]);

    /// A policy under which `writers` may write the topic `orders`; without any, no rule seals it.
    fn policy(writers: &str) -> Policy {
        let folder = tempfile::tempdir().unwrap();
        let root = "00".repeat(32);
        let rules = match writers {
            "" => "default: pass".to_owned(),
            _ => format!("default: pass\n  rules:\n    - {{ topic: orders, seal: true, writers: ['{writers}'] }}"),
        };
        let text = format!(
            "listeners:\n  - {{ name: a, bind: '127.0.0.1:9192', cluster: p, tls: off, advertised_host: localhost, \
             brokers: {{ by: port, first_port: 9193, first_node_id: 0, count: 2 }} }}\nclusters:\n  - {{ name: p, \
             bootstrap_servers: ['127.0.0.1:9092'], tls: off }}\nkeystore: {{ type: local, path: k, unlock: {{ key_file: f }} }}\n\
             steward: {{ root_public_key: '{root}', run: 'off' }}\nstreams:\n  {rules}\n"
        );
        ["k", "f"].iter().for_each(|file| std::fs::write(folder.path().join(file), b"").unwrap());
        let path = folder.path().join("a.yaml");
        std::fs::write(&path, text).unwrap();
        Config::load(&path, &[]).unwrap_or_else(|mistakes| panic!("{mistakes:#?}")).policy
    }

    fn keyring(grants: &[Grant], writer: &IdentitySecret) -> Keyring {
        let root = SigningKey::from_seed(&Secret::draw().unwrap()).unwrap();
        let identity = Identity {
            principal: "User:alice".to_owned(),
            public: writer.public().clone(),
            custody: Custodian::Client,
            created: UnixMillis::new(1),
            enrolled_by: String::new(),
        };
        let stream = Stream {
            id: STREAM,
            topic: "orders".to_owned(),
            sealed: true,
            suite: Suite::Aes256Gcm,
            on_unreadable: OnUnreadable::Fail,
            created: UnixMillis::new(1),
        };
        let mut keyring = Keyring::new(*root.public());
        let grants = grants.iter().cloned().map(Body::Grant);
        for body in [Body::Identity(identity), Body::Stream(stream)].into_iter().chain(grants) {
            let object = Object::new(body, 1, UnixMillis::new(1)).sign(&root).unwrap();
            keyring.apply(object.record_key().as_bytes(), Some(object.wire()), now()).unwrap();
        }
        keyring
    }

    fn grant(writer: &IdentitySecret, valid_to: UnixMillis) -> Grant {
        let range = (EpochNumber::FIRST, EpochNumber::new(u32::MAX));
        Grant::to_write(writer.id(), STREAM, range, (UnixMillis::new(1), valid_to))
    }

    #[test]
    fn only_grants_that_a_policy_gave_end_with_it() {
        let writer = IdentitySecret::draw(KemSuite::X25519).unwrap();
        let lost = |valid_to, policy: &Policy, before: &[Arc<Policy>]| {
            let keyring = keyring(&[grant(&writer, valid_to)], &writer);
            !withdrawn(&keyring, policy, before, now()).is_empty()
        };
        let (named, other, nothing) = (policy("User:alice"), policy("User:bob"), policy(""));
        assert!(!lost(BY_POLICY, &named, &[]));
        assert!(lost(BY_POLICY, &other, &[]));
        assert!(!lost(UnixMillis::NEVER, &other, &[Arc::new(named.clone())]), "a grant by command stays");
        assert!(!lost(BY_POLICY, &nothing, &[]), "another gateway may be the one with the rule");
        assert!(lost(BY_POLICY, &nothing, &[Arc::new(named)]), "the rule was here, and is gone");
    }

    #[test]
    fn what_was_revoked_by_name_is_not_given_by_rule_and_what_a_policy_ended_is() {
        let writer = IdentitySecret::draw(KemSuite::X25519).unwrap();
        let need = Need::Grant { identity: writer.id(), stream: STREAM, right: Right::Write };
        let ended = grant(&writer, UnixMillis::new(5));
        let revoked = Grant { revoked_at: Some(UnixMillis::new(5)), ..grant(&writer, BY_POLICY) };
        let policy = policy("User:alice");
        assert!(change_for(&keyring(&[ended], &writer), &policy, &need).is_ok());
        assert_eq!(change_for(&keyring(&[revoked], &writer), &policy, &need).err(), Some(Reason::NotWriter));
        let read = Need::Grant { identity: writer.id(), stream: STREAM, right: Right::Read };
        assert_eq!(change_for(&keyring(&[], &writer), &policy, &read).err(), Some(Reason::NoGrant));
    }
}
