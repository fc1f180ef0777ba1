//! What is kept of a password: RFC 5802's stored form for SCRAM-SHA-256 (RFC 7677). A password arrives, salt, costs, StoredKey and
//! ServerKey leave; from those nobody gets the password back but by guessing.
//!
//! Two ways to stretch. `SCRAM-SHA-256` is RFC 5802's own, PBKDF2: a SCRAM exchange can use it. `ARGON2ID` puts RFC 9106 in the
//! place of the function `Hi` and leaves the rest as it is: guesses at a stolen file then cost memory and not only time, which
//! graphics processors have a thousand times of; no SCRAM exchange can use it. A generated password has 192 bits, which nobody
//! guesses at any speed: PBKDF2 with the least iterations is enough for it.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use argon2::{Algorithm, Argon2, Params, Version};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{digest, hmac, pbkdf2};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// A password in its stored form. Its `Display` is what stands in the file (the form of RFC 5803).
#[derive(Clone, PartialEq, Eq)]
pub struct Stored {
    stretching: Stretching,
    salt: Vec<u8>,
    stored_key: [u8; KEY_BYTES],
    server_key: [u8; KEY_BYTES],
}

/// How a password is stretched, and at which cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretching {
    /// PBKDF2 with HMAC-SHA-256: RFC 7677 wants 4096 iterations at least.
    Pbkdf2 {
        /// How often.
        iterations: NonZeroU32,
    },
    /// Argon2id, version 19, one lane (RFC 9106).
    Argon2id {
        /// KiB of memory.
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
    },
}

impl Stored {
    /// The stored form under a new random salt.
    pub fn new(password: &str, stretching: Stretching) -> Result<Self, ScramError> {
        let mut salt = vec![0; SALT_BYTES];
        SystemRandom::new().fill(&mut salt).map_err(|_| ScramError::Entropy)?;
        Self::with_salt(password, stretching, salt)
    }

    fn with_salt(password: &str, stretching: Stretching, salt: Vec<u8>) -> Result<Self, ScramError> {
        let (stored_key, server_key) = keys(password, stretching, &salt)?;
        Ok(Self { stretching, salt, stored_key, server_key })
    }

    /// Whether this is the password. The time depends on the costs, not on what is compared. Blocks for as long as stretching
    /// takes: milliseconds to a second.
    pub fn is_made_of(&self, password: &str) -> bool {
        let Ok((stored_key, server_key)) = keys(password, self.stretching, &self.salt) else { return false };
        let is_same = stored_key.ct_eq(&self.stored_key) & server_key.ct_eq(&self.server_key);
        is_same.into()
    }

    /// How it is stretched.
    pub fn stretching(&self) -> Stretching {
        self.stretching
    }
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored_key, server_key] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|bytes| BASE64_STANDARD.encode(bytes));
        write!(f, "{}:{salt}${stored_key}:{server_key}", self.stretching)
    }
}

impl FromStr for Stored {
    type Err = ScramError;

    fn from_str(text: &str) -> Result<Self, ScramError> {
        let mut parts = text.split('$');
        let (Some(scheme), Some(costs), Some(keys), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ScramError::Shape);
        };
        let (costs, salt) = costs.rsplit_once(':').ok_or(ScramError::Shape)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(ScramError::Shape)?;
        let salt = BASE64_STANDARD.decode(salt).map_err(|_| ScramError::Shape)?;
        if !(SALT_BYTES..=MAX_SALT_BYTES).contains(&salt.len()) {
            return Err(ScramError::Salt);
        }
        let key = |text: &str| {
            let bytes = BASE64_STANDARD.decode(text).map_err(|_| ScramError::Shape)?;
            <[u8; KEY_BYTES]>::try_from(bytes).map_err(|_| ScramError::Shape)
        };
        Ok(Self {
            stretching: Stretching::parse(scheme, costs)?,
            salt,
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }
}

impl Stretching {
    /// For a password that we drew: the least that RFC 7677 allows.
    pub const FOR_GENERATED: Self = Self::Pbkdf2 { iterations: MIN_ITERATIONS };
    /// For a password that a person chose and a SCRAM exchange must be able to use.
    pub const FOR_CHOSEN_SCRAM: Self = Self::Pbkdf2 { iterations: CHOSEN_ITERATIONS };
    /// For a password that a person chose: about 20 ms here, and 19 MiB for each guess (the OWASP cheat sheet's first choice).
    pub const FOR_CHOSEN: Self = Self::Argon2id { memory_kib: CHOSEN_MEMORY_KIB, passes: CHOSEN_PASSES };

    fn parse(scheme: &str, costs: &str) -> Result<Self, ScramError> {
        match scheme {
            PBKDF2 => {
                let iterations = costs.parse().map_err(|_| ScramError::Shape)?;
                if !(MIN_ITERATIONS..=MAX_ITERATIONS).contains(&iterations) {
                    return Err(ScramError::Cost);
                }
                Ok(Self::Pbkdf2 { iterations })
            }
            ARGON2ID => {
                let (memory, passes) = costs.split_once(',').ok_or(ScramError::Shape)?;
                let number = |text: &str, name: &str| -> Option<u32> { text.strip_prefix(name)?.parse().ok() };
                let memory_kib = number(memory, "m=").ok_or(ScramError::Shape)?;
                let passes = number(passes, "t=").ok_or(ScramError::Shape)?;
                if !(MIN_MEMORY_KIB..=MAX_MEMORY_KIB).contains(&memory_kib) || !(1..=MAX_PASSES).contains(&passes) {
                    return Err(ScramError::Cost);
                }
                Ok(Self::Argon2id { memory_kib, passes })
            }
            _ => Err(ScramError::Scheme),
        }
    }

    /// RFC 5802's SaltedPassword.
    fn stretch(self, password: &str, salt: &[u8]) -> Result<Zeroizing<[u8; KEY_BYTES]>, ScramError> {
        let mut salted = Zeroizing::new([0; KEY_BYTES]);
        match self {
            Self::Pbkdf2 { iterations } => {
                pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut salted[..]);
            }
            Self::Argon2id { memory_kib, passes } => {
                let params = Params::new(memory_kib, passes, 1, Some(KEY_BYTES)).map_err(|_| ScramError::Cost)?;
                let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
                argon2.hash_password_into(password.as_bytes(), salt, &mut salted[..]).map_err(|_| ScramError::Cost)?;
            }
        }
        Ok(salted)
    }
}

/// As it stands before the salt: scheme, `$`, costs.
impl fmt::Display for Stretching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pbkdf2 { iterations } => write!(f, "{PBKDF2}${iterations}"),
            Self::Argon2id { memory_kib, passes } => write!(f, "{ARGON2ID}$m={memory_kib},t={passes}"),
        }
    }
}

/// Why a stored form cannot be made or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScramError {
    /// Costs that are too low to protect, or too high to pay for each new client.
    #[error(
        "its costs are out of bounds: SCRAM-SHA-256 takes {MIN_ITERATIONS} to {MAX_ITERATIONS} iterations, ARGON2ID \
         m={MIN_MEMORY_KIB} to {MAX_MEMORY_KIB} and t=1 to {MAX_PASSES}"
    )]
    Cost,
    /// No random bytes.
    #[error("the operating system's random source failed")]
    Entropy,
    /// A salt that is too short or too long.
    #[error("its salt must have {SALT_BYTES} to {MAX_SALT_BYTES} bytes")]
    Salt,
    /// Another scheme.
    #[error("its scheme is neither SCRAM-SHA-256 nor ARGON2ID")]
    Scheme,
    /// Not the form of RFC 5803.
    #[error("it does not have the form SCHEME$COSTS:SALT$STOREDKEY:SERVERKEY")]
    Shape,
}

/// StoredKey and ServerKey (RFC 5802, section 3).
fn keys(password: &str, by: Stretching, salt: &[u8]) -> Result<([u8; KEY_BYTES], [u8; KEY_BYTES]), ScramError> {
    let salted = by.stretch(password, salt)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &salted[..]);
    let client_key = hmac::sign(&key, b"Client Key");
    let server_key = hmac::sign(&key, b"Server Key");
    let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
    let fixed = |bytes: &[u8]| <[u8; KEY_BYTES]>::try_from(bytes).map_err(|_| ScramError::Shape);
    Ok((fixed(stored_key.as_ref())?, fixed(server_key.as_ref())?))
}

const PBKDF2: &str = "SCRAM-SHA-256";
const ARGON2ID: &str = "ARGON2ID";
/// SHA-256's.
const KEY_BYTES: usize = 32;
const SALT_BYTES: usize = 16;
const MAX_SALT_BYTES: usize = 64;
/// RFC 7677, section 4.
const MIN_ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();
/// Some seconds.
const MAX_ITERATIONS: NonZeroU32 = NonZeroU32::new(10_000_000).unwrap();
/// OWASP's number for PBKDF2 with SHA-256.
const CHOSEN_ITERATIONS: NonZeroU32 = NonZeroU32::new(600_000).unwrap();
const CHOSEN_MEMORY_KIB: u32 = 19 * 1024;
const CHOSEN_PASSES: u32 = 2;
const MIN_MEMORY_KIB: u32 = 7 * 1024;
/// A few of them at once must not be what fills the memory.
const MAX_MEMORY_KIB: u32 = 128 * 1024;
const MAX_PASSES: u32 = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The exchange in RFC 7677, section 3, checked from the server's side.
    #[test]
    fn the_exchange_of_rfc_7677_succeeds() {
        let salt = BASE64_STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let stored = Stored::with_salt("pencil", Stretching::FOR_GENERATED, salt).unwrap();
        let message = b"n=user,r=rOprNGfwEbeRWgbNEkqO,\
            r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
            c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        let sign = |key: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
        assert_eq!(BASE64_STANDARD.encode(sign(&stored.server_key)), "6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let proof = BASE64_STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=").unwrap();
        let signature = sign(&stored.stored_key);
        let client_key: Vec<u8> = proof.iter().zip(signature.as_ref()).map(|(proof, sign)| proof ^ sign).collect();
        assert_eq!(digest::digest(&digest::SHA256, &client_key).as_ref(), stored.stored_key);
        assert!(stored.is_made_of("pencil"));
        assert!(!stored.is_made_of("Pencil"));
    }

    #[test]
    fn a_stored_form_comes_back_from_its_text_and_knows_its_password() {
        let argon2id = Stretching::Argon2id { memory_kib: MIN_MEMORY_KIB, passes: 1 };
        for stretching in [Stretching::FOR_GENERATED, argon2id] {
            let stored = Stored::new("correct horse", stretching).unwrap();
            let read: Stored = stored.to_string().parse().unwrap();
            assert!(read == stored);
            assert!(read.is_made_of("correct horse"));
            assert!(!read.is_made_of("correct horse "));
            assert_ne!(Stored::new("correct horse", stretching).unwrap().to_string(), stored.to_string());
        }
    }

    #[test]
    fn weak_costly_and_broken_forms_are_refused() {
        let good = Stored::new("x", Stretching::FOR_GENERATED).unwrap().to_string();
        let with = |from: &str, to: &str| good.replace(from, to).parse::<Stored>().err();
        assert_eq!(with("$4096:", "$4095:"), Some(ScramError::Cost));
        assert_eq!(with("$4096:", "$4294967295:"), Some(ScramError::Cost));
        assert_eq!(with("$4096:", "$many:"), Some(ScramError::Shape));
        assert_eq!(with("SCRAM-SHA-256$4096", "ARGON2ID$m=4096,t=1"), Some(ScramError::Cost));
        assert_eq!(with("SCRAM-SHA-256$4096", "ARGON2ID$m=99999999,t=1"), Some(ScramError::Cost));
        assert_eq!(with("SCRAM-SHA-256$4096", "ARGON2ID$m=19456"), Some(ScramError::Shape));
        assert_eq!(with("SHA-256", "SHA-1"), Some(ScramError::Scheme));
        for length in 0..good.len() {
            assert!(good.get(..length).unwrap().parse::<Stored>().is_err(), "{length}");
        }
        let salted = good.replacen(&good[19..43], "AAAA", 1);
        assert_eq!(salted.parse::<Stored>().err(), Some(ScramError::Salt), "{salted}");
    }
}
