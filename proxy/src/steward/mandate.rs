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
