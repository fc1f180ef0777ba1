//! A keyring object. What parses must be its only encoding, and must not count without a signature.
#![no_main]

use barnabas_crypto::{Keyring, SignedObject, UnixMillis, VerifyingKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(object) = SignedObject::parse(bytes) else { return };
    assert_eq!(object.wire(), bytes);
    let key = object.record_key();
    let mut keyring = Keyring::new(VerifyingKey::from_bytes([9; 32]));
    let _ = keyring.apply(key.as_bytes(), Some(bytes), UnixMillis::NEVER);
    assert!(keyring.is_empty());
});
