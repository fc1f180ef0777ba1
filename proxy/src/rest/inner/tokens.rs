//! Passwords that are made in this process, each for one principal, and never leave it.
//!
//! Arrives: a principal. Leaves: an [`Admission`] with a user name and a password, valid until it is dropped. What must never happen
//! here: a password in a log; a comparison whose time depends on where two passwords differ.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use ring::error::Unspecified;
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::identity::Principal;

/// The passwords that are valid.
#[derive(Default)]
pub struct Tokens {
    valid: RwLock<HashMap<String, Token>>,
}

struct Token {
    password: Arc<Zeroizing<String>>,
    principal: Principal,
}

/// The right to connect as a principal, until it is dropped.
pub struct Admission {
    tokens: Arc<Tokens>,
    user: String,
    password: Arc<Zeroizing<String>>,
}

impl Tokens {
    /// A new password for a principal.
    pub fn admit(tokens: &Arc<Self>, principal: Principal) -> Result<Admission, Unspecified> {
        let user = random_hex::<USER_BYTES>()?.to_string();
        let password = Arc::new(random_hex::<PASSWORD_BYTES>()?);
        let token = Token { password: password.clone(), principal };
        tokens.valid.write().unwrap_or_else(PoisonError::into_inner).insert(user.clone(), token);
        Ok(Admission { tokens: tokens.clone(), user, password })
    }

    /// Whose password it is.
    pub fn principal(&self, user: &str, password: &[u8]) -> Option<Principal> {
        let valid = self.valid.read().unwrap_or_else(PoisonError::into_inner);
        let token = valid.get(user)?;
        bool::from(token.password.as_bytes().ct_eq(password)).then(|| token.principal.clone())
    }
}

impl Admission {
    /// The user name, which says nothing.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The password.
    pub fn password(&self) -> &str {
        self.password.as_str()
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.tokens.valid.write().unwrap_or_else(PoisonError::into_inner).remove(&self.user);
    }
}

fn random_hex<const N: usize>() -> Result<Zeroizing<String>, Unspecified> {
    let mut bytes = Zeroizing::new([0; N]);
    SystemRandom::new().fill(bytes.as_mut())?;
    Ok(Zeroizing::new(hex::encode(bytes.as_ref())))
}

/// Enough that no two are the same.
const USER_BYTES: usize = 16;

/// As long as the keys that it stands before.
const PASSWORD_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_password_is_valid_for_its_principal_until_it_is_dropped() {
        let tokens = Arc::new(Tokens::default());
        let alice = Tokens::admit(&tokens, Principal::user("alice")).unwrap();
        let bob = Tokens::admit(&tokens, Principal::user("bob")).unwrap();
        assert_eq!(alice.password().len(), 64);
        let known = |user: &str, password: &str| tokens.principal(user, password.as_bytes());
        assert_eq!(known(alice.user(), alice.password()), Some(Principal::user("alice")));
        assert_eq!(known(alice.user(), bob.password()), None);
        assert_eq!(known(alice.user(), ""), None);
        assert_eq!(known("", alice.password()), None);
        let (user, password) = (alice.user().to_owned(), alice.password().to_owned());
        drop(alice);
        assert_eq!(known(&user, &password), None);
        assert_eq!(known(bob.user(), bob.password()), Some(Principal::user("bob")));
    }
}
