//! An export file. Its magic and digest are made right, so that the parser behind them is reached.
#![no_main]

use barnabas_crypto::{Keyring, UnixMillis, VerifyingKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let root = VerifyingKey::from_bytes([9; 32]);
    let now = UnixMillis::new(1_800_000_000_000);
    let _ = Keyring::import(root, bytes, now);
    let file = Keyring::seal_export([b"BNBK\x01", bytes].concat());
    if let Ok((keyring, _)) = Keyring::import(root, &file, now) {
        // Nobody holds this root's secret half.
        assert!(keyring.is_empty());
    }
});
