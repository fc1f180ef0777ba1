//! A secret id that the server has refused is left alone for a while.
//!
//! Arrives: a refused secret id and what was said. Leaves: the same words, for whoever wants to log in with it soon after. Vault
//! and OpenBao lock a role for a quarter of an hour after five wrong secret ids within one, and then refuse the right one, too:
//! a gateway that goes on trying the old one would lock itself out when the new one comes. Another secret id is tried at once.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use barnabas_crypto::custody::CustodyCause;
use tokio::time::Instant;

use crate::{SecretText, VendorError};

/// The last refusal.
#[derive(Default)]
pub(super) struct Refused(Mutex<Option<Refusal>>);

struct Refusal {
    secret_id: SecretText,
    error: VendorError,
    until: Instant,
}

impl Refused {
    /// What was said of this secret id, while it is left alone.
    pub(super) fn lately(&self, secret_id: &SecretText) -> Option<VendorError> {
        let refusal = self.lock();
        let counts = |refusal: &&Refusal| Instant::now() < refusal.until && refusal.secret_id.matches(secret_id);
        refusal.as_ref().filter(counts).map(|refusal| refusal.error.clone())
    }

    /// Keeps what the server said of a secret id, when it is about that, and gives the words for the operator.
    pub(super) fn note(&self, secret_id: SecretText, error: VendorError) -> VendorError {
        if error.cause != CustodyCause::Unauthenticated {
            return error;
        }
        let mut last = self.lock();
        let again = last.as_ref().is_some_and(|refusal| refusal.secret_id.matches(&secret_id));
        let pause = if again { LATER_PAUSE } else { FIRST_PAUSE };
        let remedy = format!("{}; another secret id is tried at once, this one in {} s", error.remedy, pause.as_secs());
        let error = error.advising(remedy);
        *last = Some(Refusal { secret_id, error: error.clone(), until: Instant::now() + pause });
        error
    }

    fn lock(&self) -> MutexGuard<'_, Option<Refusal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A role that is mended on the server's side is found soon. Four tries come into a quarter of an hour with this one.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LATER_PAUSE: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::time::advance;

    use super::*;

    fn id(text: &str) -> SecretText {
        SecretText::new(text.into())
    }

    #[tokio::test(start_paused = true)]
    async fn fewer_than_five_tries_come_into_a_quarter_of_an_hour() {
        let refused = Refused::default();
        let mut tries = Vec::new();
        let begun = Instant::now();
        for _ in 0..7200 {
            if refused.lately(&id("old")).is_none() {
                tries.push(begun.elapsed());
                refused.note(id("old"), VendorError::new("vault", CustodyCause::Unauthenticated));
            }
            advance(Duration::from_secs(1)).await;
        }
        let most = tries
            .iter()
            .map(|from| tries.iter().filter(|at| *at >= from && **at < *from + Duration::from_secs(900)).count());
        assert!(most.max().unwrap() < 5, "{tries:?}");
        assert!(tries.len() > 20, "it is tried again: {tries:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn another_secret_id_is_tried_at_once_and_an_outage_is_no_refusal() {
        let refused = Refused::default();
        let said = refused.note(id("old"), VendorError::new("vault", CustodyCause::Unauthenticated));
        assert_eq!(refused.lately(&id("old")), Some(said));
        assert!(refused.lately(&id("new")).is_none());
        refused.note(id("new"), VendorError::new("vault", CustodyCause::Unreachable));
        assert!(refused.lately(&id("new")).is_none());
    }
}
