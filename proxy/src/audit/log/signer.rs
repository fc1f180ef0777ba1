//! The log's keys: a seed out of the gateway's keystore arrives, signatures over notes leave.
//! The seed also roots the MAC ratchet. Once a log runs, neither the seed nor that root is in memory any more: only the
//! expanded signing keys, from which the seed cannot be computed.

use barnabas_crypto::{Secret, Wiped};
use ring::signature::{Ed25519KeyPair, KeyPair};

use super::Error;
use super::note::{KeyKind, Note, NoteKey, NoteSignature, cosigned};
use super::ratchet::expand;

/// What a log signs with. No `Debug`, no `Clone`; wiped when dropped.
pub struct Signer {
    seed: Secret<32>,
}

impl Signer {
    /// The signer of a seed, which the gateway keeps in its keystore under [`AUDIT_SECRET`].
    ///
    /// # Errors
    /// `Key`, which no seed of 32 bytes leads to.
    pub fn from_seed(seed: &Secret<32>) -> Result<Self, Error> {
        let seed = Secret::from_slice(seed.expose()).ok_or(Error::Key("the log's signing seed has not 32 bytes"))?;
        Ok(Self { seed })
    }

    /// The pen that signs a log's checkpoints.
    ///
    /// # Errors
    /// `Name`, or `Key` if the provider refuses the seed.
    pub fn log_pen(&self, origin: &str) -> Result<Pen, Error> {
        Pen::new(origin, KeyKind::Log, &self.seed)
    }

    /// The pen that cosigns the checkpoints of others: a key of its own, as C2SP signed-note asks for.
    ///
    /// # Errors
    /// `Name`, or `Key` if the provider refuses the seed.
    pub fn witness_pen(&self, name: &str) -> Result<Pen, Error> {
        Pen::new(name, KeyKind::Witness, &expand(&self.seed, &[WITNESS])?)
    }

    /// The root of the MAC ratchet. An auditor who has it can check the entries that are not under a checkpoint yet.
    ///
    /// # Errors
    /// `Key`, which no seed of 32 bytes leads to.
    pub fn ratchet_root(&self) -> Result<Secret<32>, Error> {
        expand(&self.seed, &[RATCHET_ROOT])
    }
}

/// Signs with one key under one name. No `Debug`, no `Clone`; wiped when dropped.
pub struct Pen {
    pair: Wiped<Ed25519KeyPair>,
    key: NoteKey,
}

impl Pen {
    fn new(name: &str, kind: KeyKind, seed: &Secret<32>) -> Result<Self, Error> {
        let refused = |_| Error::Key("the provider refuses the log's signing seed");
        let pair = Wiped::new(Ed25519KeyPair::from_seed_unchecked(seed.expose()).map_err(refused)?);
        let public = pair.lend().public_key().as_ref().try_into();
        let public = public.map_err(|_| Error::Key("the log's public key has not 32 bytes"))?;
        Ok(Self { pair, key: NoteKey::new(name, kind, public)? })
    }

    /// The public key with its name.
    #[must_use]
    pub const fn key(&self) -> &NoteKey {
        &self.key
    }

    /// Signs the text of a note.
    #[must_use]
    pub fn sign(&self, text: String) -> Note {
        let signature = self.line(self.pair.lend().sign(text.as_bytes()).as_ref().to_vec());
        Note { text, signatures: vec![signature] }
    }

    /// Cosigns the text of a checkpoint at a time, in seconds since 1970.
    #[must_use]
    pub fn cosign(&self, text: &str, time: u64) -> NoteSignature {
        let signature = self.pair.lend().sign(cosigned(text, time).as_bytes());
        self.line([&time.to_be_bytes(), signature.as_ref()].concat())
    }

    fn line(&self, signature: Vec<u8>) -> NoteSignature {
        NoteSignature { name: self.key.name().to_owned(), key_id: self.key.id(), signature }
    }
}

/// The name of the log's seed in the gateway's keystore.
pub const AUDIT_SECRET: &str = "audit";

const RATCHET_ROOT: &[u8] = b"barnabas audit v1 ratchet root";
const WITNESS: &[u8] = b"barnabas audit v1 witness";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn notes_and_cosignatures_verify_under_their_own_key_only() {
        let signer = Signer::from_seed(&Secret::from_slice(&[3; 32]).unwrap()).unwrap();
        let (log, witness) = (signer.log_pen("log.example").unwrap(), signer.witness_pen("w.example").unwrap());
        let mut note = log.sign("log.example\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n".to_owned());
        assert!(note.is_signed_by(log.key()) && !note.is_signed_by(witness.key()));
        note.signatures.push(witness.cosign(&note.text, 1_679_315_147));
        assert!(note.is_signed_by(log.key()) && note.is_signed_by(witness.key()));
        let again = Note::parse(note.to_string().as_bytes()).unwrap();
        assert!(again.is_signed_by(log.key()) && again.is_signed_by(witness.key()));
        assert_ne!(log.key().to_string().split('+').nth(2), witness.key().to_string().split('+').nth(2));
    }
}
