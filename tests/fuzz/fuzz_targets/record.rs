//! A whole record value under the key id of a live session. Nothing that was not sealed by the session may open.
#![no_main]

use std::sync::LazyLock;

use barnabas_crypto::parcel;
use barnabas_crypto::{
    AadBuffer, EpochNumber, Flags, KeyId, Place, Session, SessionLimits, SessionReader, SessionTerms, StreamId, Suite,
    UnixMillis,
};
use libfuzzer_sys::fuzz_target;

const KEY_ID: KeyId = KeyId::from_bytes([7; 16]);

static READER: LazyLock<SessionReader> = LazyLock::new(|| {
    let terms = SessionTerms {
        stream: StreamId::from_bytes([1; 16]),
        epoch: EpochNumber::FIRST,
        suite: Suite::Aes256Gcm,
        binding: Flags::BOUND,
        not_after: UnixMillis::NEVER,
        limits: SessionLimits::of(Suite::Aes256Gcm),
    };
    Session::draw(terms).and_then(|drawn| drawn.reader(KEY_ID)).expect("a session can be drawn")
});

fuzz_target!(|bytes: &[u8]| {
    let mut sealed = bytes.to_vec();
    if let Some(key_id) = sealed.get_mut(4..20) {
        key_id.copy_from_slice(KEY_ID.as_bytes());
    }
    let place = Place { partition: 0, record_key: None };
    assert!(READER.open(&sealed, &place).is_err());
    assert!(READER.verify_tombstone(&sealed, &place, &mut AadBuffer::new()).is_err());
    // The parcel behind the seal: what a hostile writer could have sealed.
    if let Some((flags, parcel)) = bytes.split_first() {
        if let Ok(parcel) = parcel::read(Flags::from_byte(*flags), parcel, 1 << 16) {
            assert!(parcel.value.len() <= bytes.len().max(1 << 16));
        }
    }
});
