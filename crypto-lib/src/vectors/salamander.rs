//! A record with two plaintexts, and why it harms no one.
//!
//! AES-GCM does not commit to its key: whoever knows two keys can make one ciphertext that authenticates under both and opens
//! to different values (Dodis, Grubbs, Ristenpart, Woodage 2018, "invisible salamanders"). A hostile writer could wrap one key to
//! one reader and the other to the next. Here such a record is made, and the commitment is shown to stop it.

use aes_gcm::aes::Aes256;
use aes_gcm::aes::cipher::{BlockCipherEncrypt, KeyInit};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};

use crate::envelope::{HeaderFields, NONCE_LEN};
use crate::fixture::{STREAM, TOMORROW, seed};
use crate::session::{DrawnSession, SessionLimits, SessionTerms};
use crate::{AadBuffer, EpochNumber, Error, Flags, Header, KeyId, Place, RecordType, SessionReader, Suite};

#[test]
fn one_record_opens_under_two_keys_and_the_commitment_refuses_the_second() {
    let key_id = KeyId::from_bytes([0x2E; 16]);
    let fields = HeaderFields {
        record_type: RecordType::Record,
        suite: Suite::Aes256Gcm,
        flags: Flags::BOUND,
        key_id,
        lane: 0,
        sequence: 0,
    };
    let header = Header::build(&fields, &[0; NONCE_LEN]);
    let place = Place { partition: 0, record_key: Some(b"k") };
    let mut aad = AadBuffer::new();
    let aad = aad.build(header.as_bytes(), header.flags(), &place).unwrap();
    let (one, two) = (Gcm::new(0x51), Gcm::new(0x52));
    let body = colliding(&one, &two, &header.nonce(), aad);
    let sealed = [header.as_bytes(), &body].concat();

    let terms = SessionTerms {
        stream: STREAM,
        epoch: EpochNumber::FIRST,
        suite: Suite::Aes256Gcm,
        binding: Flags::BOUND,
        not_after: TOMORROW,
        limits: SessionLimits::of(Suite::Aes256Gcm),
    };
    let announced = DrawnSession::from_secret(seed(0x51), terms).unwrap();
    let first = announced.reader(key_id).unwrap().open(&sealed, &place).unwrap();
    let second =
        DrawnSession::from_secret(seed(0x52), terms).unwrap().reader(key_id).unwrap().open(&sealed, &place).unwrap();
    assert_ne!(first, second, "the record has two plaintexts");

    // What a reader does with an announcement: the second secret is not the announced one.
    let session = (STREAM, EpochNumber::FIRST, Suite::Aes256Gcm);
    assert!(SessionReader::from_unwrapped(&seed(0x51), announced.commitment(), session, key_id).is_ok());
    let refused = SessionReader::from_unwrapped(&seed(0x52), announced.commitment(), session, key_id);
    assert_eq!(refused.err(), Some(Error::CommitmentMismatch));
}

/// Two blocks of ciphertext and a tag that verifies under both keys. The first block is free; the second solves
/// GHASH1 + E1(J0) = GHASH2 + E2(J0), which is linear in it.
fn colliding(one: &Gcm, two: &Gcm, nonce: &[u8; NONCE_LEN], aad: &[u8]) -> Vec<u8> {
    let free = [0x77u8; 16];
    let with_zero = [&free[..], &[0; 16]].concat();
    let difference = one.tag(nonce, aad, &with_zero) ^ two.tag(nonce, aad, &with_zero);
    // The second block is multiplied by H squared: itself, then the length block come after it.
    let factor = multiply(one.h, one.h) ^ multiply(two.h, two.h);
    let solved = multiply(difference, inverse(factor));
    let ciphertext = [&free[..], &solved.to_be_bytes()].concat();
    let tag = one.tag(nonce, aad, &ciphertext);
    assert_eq!(tag, two.tag(nonce, aad, &ciphertext));
    [&ciphertext[..], &tag.to_be_bytes()].concat()
}

/// GCM's parts (SP 800-38D 6 and 7) under the record key of a session secret.
struct Gcm {
    cipher: Aes256,
    h: u128,
}

impl Gcm {
    fn new(secret: u8) -> Self {
        struct ThirtyTwo;
        impl KeyType for ThirtyTwo {
            fn len(&self) -> usize {
                32
            }
        }
        let mut key = [0u8; 32];
        let prk = Salt::new(HKDF_SHA256, b"barnabas v1 session").extract(seed(secret).expose());
        let info: [&[u8]; 3] = [b"barnabas v1 record key", &[1], STREAM.as_bytes()];
        prk.expand(&info, ThirtyTwo).unwrap().fill(&mut key).unwrap();
        let cipher = Aes256::new(&key.into());
        let h = encrypt(&cipher, [0; 16]);
        Self { cipher, h }
    }

    fn tag(&self, nonce: &[u8; NONCE_LEN], aad: &[u8], ciphertext: &[u8]) -> u128 {
        let mut first_counter = [0u8; 16];
        first_counter[..NONCE_LEN].copy_from_slice(nonce);
        first_counter[15] = 1;
        let lengths = ((aad.len() as u128 * 8) << 64) | (ciphertext.len() as u128 * 8);
        let blocks = aad.chunks(16).chain(ciphertext.chunks(16)).map(padded).chain([lengths]);
        let ghash = blocks.fold(0, |sum, block| multiply(sum ^ block, self.h));
        ghash ^ encrypt(&self.cipher, first_counter)
    }
}

fn encrypt(cipher: &Aes256, block: [u8; 16]) -> u128 {
    let mut block = block.into();
    cipher.encrypt_block(&mut block);
    u128::from_be_bytes(block.into())
}

fn padded(chunk: &[u8]) -> u128 {
    let mut block = [0u8; 16];
    block[..chunk.len()].copy_from_slice(chunk);
    u128::from_be_bytes(block)
}

/// Multiplication in GF(2^128) with GCM's bit order (SP 800-38D 6.3).
fn multiply(x: u128, y: u128) -> u128 {
    let (mut product, mut shifted) = (0, y);
    for bit in (0..128).rev() {
        if x >> bit & 1 == 1 {
            product ^= shifted;
        }
        shifted = if shifted & 1 == 1 { shifted >> 1 ^ 0xE1 << 120 } else { shifted >> 1 };
    }
    product
}

/// The inverse by Fermat: x to the power of 2^128 - 2.
fn inverse(x: u128) -> u128 {
    let (mut result, mut power) = (1 << 127, x);
    for _ in 1..128 {
        power = multiply(power, power);
        result = multiply(result, power);
    }
    result
}
