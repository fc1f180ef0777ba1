//! The token: the module loaded, the slot found by the token's label, the session opened, the user logged in, keys found.
//!
//! Arrives: the settings. Leaves: open sessions, and handles of keys that may be used: AES-256, on the token, unable to
//! leave it. A module is loaded and initialised once for a process and stays: that is how PKCS#11 counts. The login is the
//! process's too; it ends with its last session. A PIN that was refused is never shown to the token again.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11 as Module};
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::Slot;
use cryptoki::types::AuthPin;
use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};

use super::refusal::Refusal;
use super::sealing::Sealing;
use super::{Pkcs11Mechanism, Pkcs11Settings};
use crate::{Error, SecretSource, SecretText};

/// A token as the settings name it.
pub(super) struct Token {
    settings: Pkcs11Settings,
    /// A key for remembering a refused PIN without keeping it.
    memory: hmac::Key,
    refused: Mutex<Option<RefusedPin>>,
}

/// A session with a user logged in.
pub(super) struct Open {
    /// The session.
    pub(super) session: Session,
    /// How secrets are hidden here; opening goes by what the blob says.
    pub(super) sealing: Sealing,
}

/// A key on the token.
pub(super) struct FoundKey {
    /// The handle, good for this session.
    pub(super) handle: ObjectHandle,
    /// `CKA_ID`: its version.
    pub(super) id: Vec<u8>,
}

struct RefusedPin {
    tag: hmac::Tag,
    written: Option<SystemTime>,
}

impl Token {
    /// Asks nobody.
    pub(super) fn new(settings: Pkcs11Settings) -> Result<Arc<Self>, Error> {
        let memory = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new()).map_err(|_| Error::Entropy)?;
        Ok(Arc::new(Self { settings, memory, refused: Mutex::default() }))
    }

    /// Opens a session and logs in.
    pub(super) fn open(&self) -> Result<Open, Refusal> {
        let module = module(&self.settings.module)?;
        let slot = self.slot(&module)?;
        let mechanisms = module.get_mechanism_list(slot)?;
        let has = |mechanism: MechanismType| mechanisms.contains(&mechanism);
        let sealing = match self.settings.mechanism {
            Pkcs11Mechanism::Best if has(MechanismType::AES_GCM) => Sealing::AesGcm,
            Pkcs11Mechanism::Best if has(MechanismType::AES_KEY_WRAP) => Sealing::AesKeyWrap,
            Pkcs11Mechanism::Best => return Err(Refusal::Unable("the token has neither AES-GCM nor AES key wrap")),
            Pkcs11Mechanism::AesGcm => Sealing::AesGcm,
            Pkcs11Mechanism::AesKeyWrap => Sealing::AesKeyWrap,
        };
        let session =
            if self.settings.create_keys { module.open_rw_session(slot)? } else { module.open_ro_session(slot)? };
        self.log_in(&session)?;
        Ok(Open { session, sealing })
    }

    fn slot(&self, module: &Module) -> Result<Slot, Refusal> {
        for slot in module.get_slots_with_token()? {
            // A slot whose token goes while we look is not ours.
            if module.get_token_info(slot).is_ok_and(|info| info.label().trim_end() == self.settings.token) {
                return Ok(slot);
            }
        }
        Err(Refusal::TokenAbsent)
    }

    fn log_in(&self, session: &Session) -> Result<(), Refusal> {
        let pin = self.settings.pin.read().map_err(Refusal::Credential)?;
        // One login at a time: two sessions must not spend two tries on one wrong PIN.
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let written = self.written();
        if refused.as_ref().is_some_and(|before| before.written == written && self.is_same(before, &pin)) {
            return Err(Refusal::PinRefusedBefore);
        }
        match session.login(UserType::User, Some(&AuthPin::from(pin.expose().to_owned()))) {
            Ok(()) | Err(ModuleError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                *refused = None;
                Ok(())
            }
            Err(error) => {
                let refusal = Refusal::from(error);
                if let Refusal::Code(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange) = refusal {
                    *refused = Some(RefusedPin { tag: hmac::sign(&self.memory, pin.expose().as_bytes()), written });
                }
                Err(refusal)
            }
        }
    }

    fn is_same(&self, before: &RefusedPin, pin: &SecretText) -> bool {
        hmac::verify(&self.memory, pin.expose().as_bytes(), before.tag.as_ref()).is_ok()
    }

    /// When the PIN was put where it is: an operator who writes the same one anew means it.
    fn written(&self) -> Option<SystemTime> {
        match &self.settings.pin {
            SecretSource::File(path) => fs::metadata(path).and_then(|found| found.modified()).ok(),
            SecretSource::Environment(_) => None,
        }
    }
}

impl Open {
    /// The key of this name that new secrets are hidden under: the one with the greatest id, read as a number.
    pub(super) fn current(&self, key: &str) -> Result<FoundKey, Refusal> {
        let mut best: Option<FoundKey> = None;
        let mut is_ambiguous = false;
        for handle in self.find(&with_label(key))? {
            let id = self.id(handle)?;
            match best.as_ref().map(|best| number(&id).cmp(&number(&best.id))) {
                Some(std::cmp::Ordering::Less) => {}
                Some(std::cmp::Ordering::Equal) => is_ambiguous = true,
                Some(std::cmp::Ordering::Greater) | None => {
                    is_ambiguous = false;
                    best = Some(FoundKey { handle, id });
                }
            }
        }
        if is_ambiguous {
            return Err(Refusal::Ambiguous);
        }
        let found = best.ok_or_else(|| self.missing())?;
        self.check(&found)?;
        Ok(found)
    }

    /// The key of this name with this id.
    pub(super) fn with_id(&self, key: &str, id: &[u8]) -> Result<FoundKey, Refusal> {
        let mut template = with_label(key);
        template.push(Attribute::Id(id.to_vec()));
        match self.find(&template)?.as_slice() {
            [] => Err(self.missing()),
            [handle] => {
                let found = FoundKey { handle: *handle, id: id.to_vec() };
                self.check(&found)?;
                Ok(found)
            }
            _ => Err(Refusal::Ambiguous),
        }
    }

    /// Makes a key. Its id is 1 and a random part: two gateways that make one at once make two, and both open for ever.
    pub(super) fn create(&self, key: &str) -> Result<(), Refusal> {
        let mut id = [0; 8];
        let (version, random) = id.split_at_mut(4);
        version.copy_from_slice(&1u32.to_be_bytes());
        SystemRandom::new().fill(random).map_err(|_| Refusal::Entropy)?;
        let is_wrapping = self.sealing == Sealing::AesKeyWrap;
        let mut template = with_label(key);
        template.extend([
            Attribute::Id(id.to_vec()),
            Attribute::ValueLen(KEY_LEN.into()),
            Attribute::Private(true),
            Attribute::Sensitive(true),
            Attribute::Extractable(false),
            Attribute::Encrypt(!is_wrapping),
            Attribute::Decrypt(!is_wrapping),
            Attribute::Wrap(is_wrapping),
            Attribute::Unwrap(is_wrapping),
        ]);
        self.session.generate_key(&Mechanism::AesKeyGen, &template)?;
        Ok(())
    }

    /// Who is not logged in finds no key either: that says nothing about the key.
    fn missing(&self) -> Refusal {
        match self.session.get_session_info().map(|info| info.session_state()) {
            Ok(SessionState::RoUser | SessionState::RwUser) => Refusal::NoSuchKey,
            Ok(_) => Refusal::Code(RvError::UserNotLoggedIn),
            Err(error) => error.into(),
        }
    }

    fn find(&self, template: &[Attribute]) -> Result<Vec<ObjectHandle>, Refusal> {
        let mut found = Vec::new();
        for handle in self.session.iter_objects(template)?.take(MOST_FOUND) {
            found.push(handle?);
        }
        Ok(found)
    }

    fn id(&self, handle: ObjectHandle) -> Result<Vec<u8>, Refusal> {
        for attribute in self.session.get_attributes(handle, &[AttributeType::Id])? {
            if let Attribute::Id(id) = attribute
                && id.len() <= MAX_ID
            {
                return Ok(id);
            }
        }
        Err(Refusal::Nonsense("a key id of such a length"))
    }

    /// A key that could leave the token protects nothing, whatever it is used for.
    fn check(&self, found: &FoundKey) -> Result<(), Refusal> {
        let asked = [AttributeType::Sensitive, AttributeType::Extractable, AttributeType::ValueLen];
        let (mut is_sensitive, mut is_extractable, mut has_length) = (false, true, true);
        for attribute in self.session.get_attributes(found.handle, &asked)? {
            match attribute {
                Attribute::Sensitive(value) => is_sensitive = value,
                Attribute::Extractable(value) => is_extractable = value,
                Attribute::ValueLen(length) => has_length = u64::from(length) == KEY_LEN,
                _ => {}
            }
        }
        match (is_sensitive && !is_extractable, has_length) {
            (false, _) => Err(Refusal::Extractable),
            (true, false) => Err(Refusal::Unable("the key is not an AES key of 256 bits")),
            (true, true) => Ok(()),
        }
    }
}

fn with_label(key: &str) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::SECRET_KEY),
        Attribute::KeyType(KeyType::AES),
        Attribute::Token(true),
        Attribute::Label(key.as_bytes().to_vec()),
    ]
}

/// An id as a number: its length without leading zeros first, then its bytes.
fn number(id: &[u8]) -> (usize, &[u8]) {
    let start = id.iter().position(|byte| *byte != 0).unwrap_or(id.len());
    let digits = id.get(start..).unwrap_or_default();
    (digits.len(), digits)
}

/// The module at this path, loaded and initialised once for the process.
fn module(path: &Path) -> Result<Module, Refusal> {
    static LOADED: Mutex<Option<HashMap<PathBuf, Module>>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    let loaded = loaded.get_or_insert_default();
    let module = match loaded.get(path) {
        Some(module) => module.clone(),
        None => Module::new(path).map_err(|e| Refusal::Module(format!("{}: {e}", path.display())))?,
    };
    // Asked each time: a module that another part of the process has ended would refuse everything for ever.
    match module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(ModuleError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(error) => return Err(error.into()),
    }
    loaded.insert(path.to_path_buf(), module.clone());
    Ok(module)
}

/// Bytes of an AES-256 key.
const KEY_LEN: u64 = 32;
/// Longest id that goes into a blob, in bytes.
pub(super) const MAX_ID: usize = 255;
/// Versions of one key that are looked at.
const MOST_FOUND: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_id_is_a_number_whatever_its_length() {
        let newer = |old: &[u8], new: &[u8]| assert!(number(old) < number(new), "{old:?} {new:?}");
        newer(&[1], &[2]);
        newer(&[9], &[1, 0]);
        newer(&[0, 0, 0, 1], &[2]);
        newer(&[], &[1]);
        newer(&[0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF], &[0, 0, 0, 2, 0, 0, 0, 0]);
        assert_eq!(number(&[0, 7]), number(&[7]));
    }
}
