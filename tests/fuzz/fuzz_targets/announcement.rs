//! The body of a keyring object of kind 6 (announcement), inside an envelope that is right as far as it can be.
#![no_main]

use barnabas_crypto::SignedObject;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let mut wire = b"BNBO\x01\x06".to_vec();
    // Id, version, times and signer: the body is read before any of them is judged.
    wire.extend([0; 16 + 8 + 8 + 8 + 16]);
    wire.extend((body.len() as u32).to_be_bytes());
    wire.extend(body);
    wire.extend([0; 64]);
    if let Ok(object) = SignedObject::parse(&wire) {
        assert_eq!(object.wire(), wire);
    }
});
