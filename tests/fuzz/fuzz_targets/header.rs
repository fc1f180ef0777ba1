//! The header of a sealed record. What parses must come out byte for byte; nothing may panic.
#![no_main]

use barnabas_crypto::Header;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(header) = Header::parse(bytes) {
        assert!(Header::is_sealed(bytes));
        assert_eq!(header.as_bytes(), &bytes[..header.len()]);
        assert!(header.sequence() < 1 << 48);
    }
});
