//! The log's key: a seed out of the gateway's keystore arrives, signatures over notes leave.
//! The seed also roots the MAC ratchet. Once a log runs, neither the seed nor that root is in memory any more: only the
//! expanded signing key, from which the seed cannot be computed.

use barnabas_crypto::{Secret, Wiped};
use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::Error;

/// Signs for one log. No `Debug`, no `Clone`; wiped when dropped.
pub struct Signer {
    pair: Wiped<Ed25519KeyPair>,
    public: [u8; 32],
    ratchet_root: Secret<32>,
}

impl Signer {
    /// The signer of a seed, which the gateway keeps in its keystore under [`AUDIT_SECRET`].
    ///
    /// # Errors
    /// `Key` if the provider refuses the seed.
    pub fn from_seed(seed: &Secret<32>) -> Result<Self, Error> {
        let refused = |_| Error::Key("the provider refuses the log's signing seed");
        let pair = Wiped::new(Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(refused)?);
        let public = pair.lend().public_key().as_ref().try_into();
        let public = public.map_err(|_| Error::Key("the log's public key has not 32 bytes"))?;
        let key = Wiped::new(hmac::Key::new(hmac::HMAC_SHA256, seed.expose()));
        let ratchet_root = Secret::from_slice(hmac::sign(key.lend(), RATCHET_ROOT).as_ref());
        let ratchet_root = ratchet_root.ok_or(Error::Key("the ratchet's root has not 32 bytes"))?;
        Ok(Self { pair, public, ratchet_root })
    }

    /// The public key.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }
}

/// The name of the log's seed in the gateway's keystore.
pub const AUDIT_SECRET: &str = "audit";

/// Separates the ratchet from all other uses of the seed.
const RATCHET_ROOT: &[u8] = b"barnabas audit v1 ratchet root";
