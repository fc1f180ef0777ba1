//! The steward's online delegate: turns policy and commands into identities, streams, epochs and grants.
//!
//! Arrives: needs of the data path, commands of an operator, the passing of time. Leaves: signed objects in the
//! keyring, each set of them in one Kafka transaction, so that two delegates at once do no harm: the one that has
//! not read what the other wrote cannot commit. What must never happen here: a grant that neither policy nor an
//! operator's command asked for.

mod mandate;
mod plan;
mod schedule;
mod destroy;
mod rewrap;
mod publish;
mod reminder;
mod delegate;
mod request;

use std::pin::Pin;
use std::sync::Arc;

use barnabas_crypto::{IdentityId, Right, StreamId};

use crate::chain::refusal::Reason;
use crate::identity::Principal;

pub use delegate::{Change, ChangeError, Delegate, DelegateSettings, Seed};
pub use destroy::Destruction;
pub use plan::{BY_POLICY, CLOCK_SKEW_MILLIS, GrantRange, PlanError, StreamTerms};
pub use publish::{ExclusivePublisher, PublishError};
pub use reminder::Reminder;
pub use request::{Asker, answer_requests};
pub use rewrap::Rewrapped;

/// Something that the data path cannot go on without.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Need {
    /// An identity for a principal that an enrolment rule names.
    Identity {
        /// Whose.
        principal: Principal,
    },
    /// A stream for a topic that a rule seals, with an open epoch.
    Stream {
        /// The topic.
        topic: String,
    },
    /// A right that a rule gives.
    Grant {
        /// To whom.
        identity: IdentityId,
        /// On what.
        stream: StreamId,
        /// To do what.
        right: Right,
    },
}

/// An answer that takes a while.
pub type Answer = Pin<Box<dyn Future<Output = Result<(), Reason>> + Send>>;

/// Whoever fulfils needs: the delegate inside this gateway, or one elsewhere that is asked through the keyring topic.
pub trait Steward: Send + Sync {
    /// Asks for something. `Ok` means that it was asked for; the caller waits for the keyring to have it. Whoever stops
    /// waiting for the answer does not stop the work.
    fn ask(self: Arc<Self>, need: Need) -> Answer;
}
