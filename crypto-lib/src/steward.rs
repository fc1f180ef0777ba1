//! The steward: the authority that registers clients, makes epochs and grants.
//!
//! The root key is pinned by every gateway and library and stays offline; it signs certificates for delegates, which work
//! online (object kind 1). A delegate's power is bounded by kind of object, by topic, and in time. To end a delegate, issue
//! its certificate again with an earlier end; to distrust all that it ever signed, remove it.

use crate::object::Kind;
use crate::signing::VerifyingKey;
use crate::wire::{Put, Take};
use crate::{Error, UnixMillis};

/// A delegate's certificate, signed by the root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Delegate {
    /// The delegate's signing key.
    pub key: VerifyingKey,
    /// What it may sign.
    pub powers: Powers,
    /// Objects issued from this time on count. Keep it when the certificate is renewed: older objects need it.
    pub not_before: UnixMillis,
    /// Objects issued before this time count.
    pub not_after: UnixMillis,
    /// A topic pattern (`*` any run of characters, `?` one): only streams whose topic matches. None is every topic.
    pub scope: Option<String>,
}

impl Delegate {
    /// Whether an object issued at this time counts.
    #[must_use]
    pub fn is_valid(&self, issued_at: UnixMillis) -> bool {
        self.not_before <= issued_at && issued_at < self.not_after
    }

    /// Whether the topic is in this delegate's scope.
    #[must_use]
    pub fn reaches(&self, topic: &str) -> bool {
        self.scope.as_ref().is_none_or(|pattern| matches_pattern(pattern, topic))
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_raw(self.key.as_bytes());
        out.put_u32(self.powers.0);
        out.put_time(self.not_before);
        out.put_time(self.not_after);
        out.put_option(self.scope.as_ref(), |out, scope| out.put_bytes(scope.as_bytes()));
    }

    pub(crate) fn decode(take: &mut Take<'_>) -> Result<Self, Error> {
        Ok(Self {
            key: VerifyingKey::from_bytes(take.array()?),
            powers: Powers(take.u32()?),
            not_before: take.time()?,
            not_after: take.time()?,
            scope: take.option(|take| take.text(MAX_SCOPE))?,
        })
    }
}

/// What a delegate may sign. Unknown bits give nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Powers(u32);

impl Powers {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Enrol clients (identities).
    pub const ENROLL: Self = Self(1);
    /// Put topics under sealing (streams).
    pub const STREAMS: Self = Self(1 << 1);
    /// Make epochs and raise the minimum epoch.
    pub const EPOCHS: Self = Self(1 << 2);
    /// Give and revoke grants.
    pub const GRANTS: Self = Self(1 << 3);
    /// Sign heads.
    pub const HEADS: Self = Self(1 << 4);
    /// Remove objects of the kinds that it may sign.
    pub const REMOVE: Self = Self(1 << 5);
    /// All of these.
    pub const ALL: Self = Self((1 << 6) - 1);

    /// These and those.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is included.
    #[must_use]
    pub const fn include(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// The bits on the wire.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether objects of this kind may be signed. Delegates, escrows and announcements never: the root and the writers sign
    /// those.
    #[must_use]
    pub const fn allow(self, kind: Kind) -> bool {
        match kind {
            Kind::Stream => self.include(Self::STREAMS),
            Kind::Epoch | Kind::Floor => self.include(Self::EPOCHS),
            Kind::Identity => self.include(Self::ENROLL),
            Kind::Grant => self.include(Self::GRANTS),
            Kind::Head => self.include(Self::HEADS),
            Kind::Removal => self.include(Self::REMOVE),
            Kind::Announcement | Kind::Delegate | Kind::Escrow => false,
        }
    }
}

/// Matches a topic against a pattern in linear space and without recursion: a pattern is configuration, a topic is not.
fn matches_pattern(pattern: &str, topic: &str) -> bool {
    let (pattern, topic) = (pattern.as_bytes(), topic.as_bytes());
    let (mut at_pattern, mut at_topic) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while at_topic < topic.len() {
        match pattern.get(at_pattern) {
            Some(b'*') => {
                star = Some((at_pattern + 1, at_topic));
                at_pattern += 1;
            }
            Some(wanted) if *wanted == b'?' || Some(wanted) == topic.get(at_topic) => {
                at_pattern += 1;
                at_topic += 1;
            }
            _ => match star {
                Some((after, from)) => {
                    star = Some((after, from + 1));
                    (at_pattern, at_topic) = (after, from + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(at_pattern..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}

const MAX_SCOPE: usize = 249;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_written() {
        for (pattern, topic, matches) in [
            ("orders", "orders", true),
            ("orders", "orders2", false),
            ("*", "", true),
            ("*", "anything", true),
            ("eu.*", "eu.orders", true),
            ("eu.*", "us.orders", false),
            ("*.pii", "eu.a.pii", true),
            ("*.pii", "eu.a.pii2", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches_pattern(pattern, topic), matches, "{pattern} {topic}");
        }
    }

    #[test]
    fn no_power_reaches_delegates_or_announcements() {
        assert!(!Powers::ALL.allow(Kind::Delegate) && !Powers::ALL.allow(Kind::Announcement));
        assert!(Powers::ALL.allow(Kind::Grant) && !Powers::HEADS.and(Powers::ENROLL).allow(Kind::Grant));
    }
}
