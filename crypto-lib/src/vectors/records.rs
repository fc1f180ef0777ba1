//! Vectors of the sealed record: `vectors/records.json`.

use core::num::NonZeroU32;

use serde_json::{Value, json};

use super::check;
use crate::announcement::AnnouncementTerms;
use crate::fixture::{FixedRandom, NOW, STREAM, THEN, TOMORROW, seed};
use crate::memory::Secret;
use crate::parcel::{Codec, ParcelHeader, ParcelPlan};
use crate::session::{DrawnSession, SessionLimits, SessionTerms};
use crate::{AadBuffer, EpochNumber, Error, Flags, IdentityId, KeyId, Lane, Place, SessionReader, StreamId, Suite};

/// A session key with everything that a reader needs, and the lane that sealed the cases.
struct Key {
    json: Value,
    name: &'static str,
    reader: SessionReader,
    lane: Lane,
}

impl Key {
    fn new(
        name: &'static str,
        secret: u8,
        suite: Suite,
        stream: StreamId,
        binding: Flags,
        key_id: Option<KeyId>,
    ) -> Self {
        let (not_after, limits, epoch) = (TOMORROW, SessionLimits::of(suite), EpochNumber::FIRST);
        let terms = SessionTerms { stream, epoch, suite, binding, not_after, limits };
        let header = AnnouncementTerms {
            suite,
            stream,
            epoch,
            writer: IdentityId::from_bytes([0x77; 16]),
            on_behalf_of: Some("CN=orders".into()),
            not_before: THEN,
            not_after,
        };
        let drawn = DrawnSession::from_secret(seed(secret), terms).unwrap();
        let derived = KeyId::derive(&header.header(), drawn.commitment());
        let key_id = key_id.unwrap_or(derived);
        let json = json!({
            "name": name,
            "secret": hex::encode(seed(secret).expose()),
            "suite": suite.number(),
            "stream": stream.to_string(),
            "announcement_header": hex::encode(header.header()),
            "commitment": hex::encode(drawn.commitment().as_bytes()),
            "derived_key_id": derived.to_string(),
            "key_id": key_id.to_string(),
        });
        let reader = drawn.reader(key_id).unwrap();
        Self { json, name, reader, lane: drawn.into_session(key_id).lane().unwrap() }
    }

    fn seal(&mut self, place: &Place<'_>, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        self.lane.seal(place, value, &mut out).unwrap();
        out
    }

    fn prove(&mut self, place: &Place<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        self.lane.seal_tombstone(place, &mut out).unwrap();
        out
    }

    /// One case: what comes in, and the outcome of this code.
    fn case(&self, name: impl Into<String>, ask: &str, place: &Place<'_>, sealed: &[u8]) -> Value {
        let mut case = json!({
            "name": name.into(),
            "key": self.name,
            "ask": ask,
            "partition": place.partition,
            "record_key": place.record_key.map(hex::encode),
            "sealed": hex::encode(sealed),
            "limit": LIMIT,
        });
        let outcome = match ask {
            "tombstone" => self.reader.verify_tombstone(sealed, place, &mut AadBuffer::new()).map(|()| json!({})),
            _ => self.reader.open_parcel(sealed, place, LIMIT).map(|parcel| {
                let headers = parcel.headers.iter().map(|header| json!([hex::encode(&header.key), header.value.as_ref().map(hex::encode)]));
                json!({ "value": hex::encode(&parcel.value), "timestamp": parcel.timestamp, "headers": headers.collect::<Vec<_>>() })
            }),
        };
        let (class, plain) = match outcome {
            Ok(plain) => ("ok", plain),
            Err(error) => (error.reason(), Value::Null),
        };
        case["outcome"] = json!(class);
        case["plain"] = plain;
        case
    }
}

const PLACE: Place<'static> = Place { partition: 3, record_key: Some(b"customer-17") };
const VALUE: &[u8] = b"{\"amount\":12}";
const LIMIT: usize = 20_000;

#[test]
fn records_are_as_published() {
    let _fixed = FixedRandom::start();
    let mut one = Key::new("aes-256-gcm", 0x31, Suite::Aes256Gcm, STREAM, Flags::BOUND, None);
    let mut keys = vec![
        Key::new("random-nonce", 0x32, Suite::Aes256GcmRandomNonce, STREAM, Flags::BOUND, None),
        Key::new("chacha20-poly1305", 0x34, Suite::ChaCha20Poly1305, STREAM, Flags::BOUND, None),
        Key::new("nothing-bound", 0x35, Suite::Aes256Gcm, STREAM, Flags::NONE, None),
    ];
    let mut cases = Vec::new();
    good(&mut one, &mut cases);
    keys.iter_mut().for_each(|key| good(key, &mut cases));
    let unbound = keys[2].seal(&PLACE, VALUE);
    cases.push(keys[2].case(
        "nothing bound: opens at another place",
        "record",
        &Place { partition: 9, record_key: None },
        &unbound,
    ));
    parcels(&mut one, &mut cases);
    let ok = cases.len();
    assert!(cases.iter().all(|case| case["outcome"] == "ok"));

    let sealed = one.seal(&PLACE, VALUE);
    flipped(&one, &sealed, &mut cases);
    truncated(&one, &sealed, &mut cases);
    elsewhere(&mut one, &sealed, &mut cases);
    bad_parcels(&mut one, &mut cases);
    let stranger = Some(one.reader.key_id());
    let colliding = [
        Key::new(
            "another stream, the same secret and key id",
            0x31,
            Suite::Aes256Gcm,
            StreamId::from_bytes([0x5B; 16]),
            Flags::BOUND,
            stranger,
        ),
        Key::new("another secret, the same key id", 0x36, Suite::Aes256Gcm, STREAM, Flags::BOUND, stranger),
    ];
    cases.extend(colliding.iter().map(|key| key.case(key.name, "record", &PLACE, &sealed)));
    cases.push(keys[1].case("another key id", "record", &PLACE, &sealed));
    assert!(cases[ok..].iter().all(|case| case["outcome"] != "ok"));

    let all_keys: Vec<_> = [&one].into_iter().chain(&keys).chain(&colliding).map(|key| key.json.clone()).collect();
    let made =
        json!({ "format": "ENVELOPE.md, sections 1 to 4 and 6", "aad": aad(), "keys": all_keys, "cases": cases });
    check("records.json", &made);
}

fn good(key: &mut Key, cases: &mut Vec<Value>) {
    let values: [&[u8]; 4] = [b"", b"v", VALUE, &[0xA5; 300]];
    for value in values {
        let sealed = key.seal(&PLACE, value);
        cases.push(key.case(format!("{} bytes", value.len()), "record", &PLACE, &sealed));
    }
    for (name, place) in [
        ("null key", Place { record_key: None, ..PLACE }),
        ("empty key", Place { record_key: Some(b""), ..PLACE }),
        ("highest partition", Place { partition: i32::MAX, ..PLACE }),
    ] {
        let sealed = key.seal(&place, VALUE);
        cases.push(key.case(name, "record", &place, &sealed));
    }
    let proof = key.prove(&PLACE);
    cases.push(key.case("tombstone", "tombstone", &PLACE, &proof));
}

fn parcels(key: &mut Key, cases: &mut Vec<Value>) {
    let header =
        |name: &[u8], value: Option<&[u8]>| ParcelHeader { key: name.to_vec(), value: value.map(<[u8]>::to_vec) };
    let headers = [header(b"trace", Some(b"1")), header(b"trace", Some(b"")), header(b"", None)];
    let value = VALUE.repeat(20);
    for codec in [None, Some(Codec::Lz4), Some(Codec::Zstd)] {
        for bucket in [None, NonZeroU32::new(256)] {
            for inside in [None, Some((1_800_000_000_123, &headers[..])), Some((-1, &[][..]))] {
                let plan = ParcelPlan { headers: inside, codec, bucket };
                let mut sealed = Vec::new();
                key.lane.seal_parcel(&PLACE, &plan, &value, &mut sealed).unwrap();
                let name = format!("parcel: codec {codec:?}, bucket {bucket:?}, headers {}", inside.is_some());
                cases.push(key.case(name, "record", &PLACE, &sealed));
            }
        }
    }
}

fn flipped(key: &Key, sealed: &[u8], cases: &mut Vec<Value>) {
    for bit in 0..sealed.len() * 8 {
        // Every bit of the header; one bit of each byte after it.
        if bit < 28 * 8 || bit % 8 == 0 {
            let mut bad = sealed.to_vec();
            bad[bit / 8] ^= 0x80 >> (bit % 8);
            cases.push(key.case(format!("byte {} bit {} flipped", bit / 8, 7 - bit % 8), "record", &PLACE, &bad));
        }
    }
}

fn truncated(key: &Key, sealed: &[u8], cases: &mut Vec<Value>) {
    for len in [0, 1, 2, 3, 4, 20, 22, 27, 28, 29, 43, 44, sealed.len() - 1] {
        cases.push(key.case(format!("cut to {len} bytes"), "record", &PLACE, &sealed[..len]));
        cases.push(key.case(format!("cut to {len} bytes, as a tombstone"), "tombstone", &PLACE, &sealed[..len]));
    }
    let longer = [sealed, b"\0"].concat();
    cases.push(key.case("a byte appended", "record", &PLACE, &longer));
    let mut with_subject = sealed.to_vec();
    with_subject[3] |= 1 << 3;
    with_subject.extend([0; 16]);
    cases.push(key.case("subject key flag, long enough for it", "record", &PLACE, &with_subject));
    with_subject.truncate(43);
    cases.push(key.case("subject key flag, too short for it", "record", &PLACE, &with_subject));
}

fn elsewhere(key: &mut Key, sealed: &[u8], cases: &mut Vec<Value>) {
    let places = [
        ("another partition", Place { partition: 4, ..PLACE }),
        ("null key instead", Place { record_key: None, ..PLACE }),
        ("empty key instead", Place { record_key: Some(b""), ..PLACE }),
        ("another key", Place { record_key: Some(b"customer-18"), ..PLACE }),
        ("a longer key", Place { record_key: Some(b"customer-17\0"), ..PLACE }),
    ];
    let proof = key.prove(&PLACE);
    for (name, place) in places {
        cases.push(key.case(name, "record", &place, sealed));
        cases.push(key.case(format!("tombstone, {name}"), "tombstone", &place, &proof));
    }
    cases.push(key.case("a tombstone proof as a record", "record", &PLACE, &proof));
    cases.push(key.case("a record as a tombstone proof", "tombstone", &PLACE, sealed));
    let mut turned = key.seal(&PLACE, b"");
    turned[1] = 0x16;
    cases.push(key.case("an empty record turned into a tombstone proof", "tombstone", &PLACE, &turned));
    let mut turned = proof.clone();
    turned[1] = 0x11;
    cases.push(key.case("a tombstone proof turned into an empty record", "record", &PLACE, &turned));
    let longer = [&proof[..], b"\0"].concat();
    cases.push(key.case("a tombstone proof with a byte appended", "tombstone", &PLACE, &longer));
    for plain in [&b"{\"plain\":true}"[..], b"\x00\x00\x00\x00\x01avro", b"\xC3\x01"] {
        cases.push(key.case("plaintext slipped in", "record", &PLACE, plain));
    }
}

/// What a hostile writer could seal: authentic, and not a parcel.
fn bad_parcels(key: &mut Key, cases: &mut Vec<Value>) {
    let bomb = [&[4u8][..], &u32::MAX.to_be_bytes(), b"x"].concat();
    let all: [(&str, u8, &[u8]); 9] = [
        ("padded: nothing in it", 4, b""),
        ("padded: length beyond the end", 4, b"\0\0\0\x09abcd"),
        ("padded: padding is not zero", 4, b"\0\0\0\x01a\0\x01"),
        ("compressed: no codec", 2, b""),
        ("compressed: unknown codec", 2, b"\x09\0\0\0\x01a"),
        ("compressed: a bomb", 2, &bomb),
        ("compressed: not zstd", 2, b"\x04\0\0\0\x01a"),
        ("headers: ends early", 1, b"\0\0\0\0\0\0\0\0\0\0"),
        ("headers: more than there are bytes", 1, b"\0\0\0\0\0\0\0\0\xFF\xFF\xFF\xFFabc"),
    ];
    for (name, bits, parcel) in all {
        let mut sealed = Vec::new();
        key.lane.seal_bits(&PLACE, bits, parcel, &mut sealed).unwrap();
        cases.push(key.case(name, "record", &PLACE, &sealed));
    }
}

/// The associated data of a few places.
fn aad() -> Vec<Value> {
    let header = [0xFB; 28];
    let mut all = Vec::new();
    for flags in [Flags::NONE, Flags::from_byte(1 << 4), Flags::from_byte(1 << 5), Flags::BOUND] {
        for place in [PLACE, Place { record_key: None, ..PLACE }, Place { partition: -1, record_key: Some(b"") }] {
            let mut buffer = AadBuffer::new();
            let bytes = buffer.build(&header, flags, &place).unwrap();
            all.push(json!({
                "header": hex::encode(header),
                "flags": flags.byte(),
                "partition": place.partition,
                "record_key": place.record_key.map(hex::encode),
                "aad": hex::encode(bytes),
            }));
        }
    }
    all
}

#[test]
fn ring_and_aes_gcm_agree() {
    use aes_gcm::aead::{Aead, KeyInit, Payload};
    use ring::hkdf::{HKDF_SHA256, Salt};

    struct ThirtyTwo;
    impl ring::hkdf::KeyType for ThirtyTwo {
        fn len(&self) -> usize {
            32
        }
    }
    let mut key = Key::new("oracle", 0x41, Suite::Aes256Gcm, STREAM, Flags::BOUND, None);
    let mut record_key = [0u8; 32];
    let prk = Salt::new(HKDF_SHA256, b"barnabas v1 session").extract(seed(0x41).expose());
    let info: [&[u8]; 3] = [b"barnabas v1 record key", &[1], STREAM.as_bytes()];
    prk.expand(&info, ThirtyTwo).unwrap().fill(&mut record_key).unwrap();
    let oracle = aes_gcm::Aes256Gcm::new_from_slice(&record_key).unwrap();
    for len in (0..70).chain([255, 256, 1_000, 16_385]) {
        let value: Vec<u8> = (0..len).map(|at| (at * 7) as u8).collect();
        let sealed = key.seal(&PLACE, &value);
        let header = crate::Header::parse(&sealed).unwrap();
        let mut aad = AadBuffer::new();
        let aad = aad.build(header.as_bytes(), header.flags(), &PLACE).unwrap();
        let nonce: [u8; 12] = header.nonce();
        let theirs = oracle.encrypt(&nonce.into(), Payload { msg: &value, aad }).unwrap();
        assert_eq!(theirs, &sealed[header.len()..], "length {len}");
        let opened = oracle.decrypt(&nonce.into(), Payload { msg: &sealed[header.len()..], aad }).unwrap();
        assert_eq!(opened, value);
    }
}

#[test]
fn fixed_random_ends_with_its_guard() {
    drop(FixedRandom::start());
    assert!(!Secret::<32>::draw().unwrap().matches(&Secret::draw().unwrap()));
    assert!(NOW > THEN && Error::Authentication.reason() == "authentication");
}
