//! Promise: the same cryptography inside an application. A program with keys of its own and a stock client on the gateway
//! read each other's records, and the gateway has no key of that program.

use std::sync::Arc;

use barnabas_crypto::{
    Header, IdentitySecret, KemSuite, Keyring, Place, Reader, SessionPlan, UnixMillis, VerifyingKey, Writer,
};
use rdkafka::error::RDKafkaErrorCode;
use serde_json::json;

use barnabas_tests::clients::record::{Received, Sent, assert_same, blob, numbered};
use barnabas_tests::clients::{Endpoint, rd};
use barnabas_tests::site::{Site, secret};

/// A program that uses the library: it holds its identity, and follows the keyring topic like any consumer.
struct Program {
    identity: Arc<IdentitySecret>,
    endpoint: Endpoint,
    root: VerifyingKey,
    keyring_topic: String,
}

impl Program {
    /// Draws its keys and is registered, by its public half alone, under the name of its certificate.
    fn enrolled(site: &mut Site, name: &str) -> Self {
        let identity = IdentitySecret::draw(KemSuite::XWing).expect("an identity");
        let public = json!({
            "kem": "x-wing",
            "kem_key": base64(identity.public().kem.as_bytes()),
            "signing_key": base64(identity.public().signing.as_bytes()),
        });
        let file = site.home.write("program.json", &public.to_string());
        let file = file.to_str().expect("a path in UTF-8");
        let principal = format!("User:{name}");
        let add = ["client", "add", "--principal", &principal, "--custody", "client", "--public-identity", file];
        site.gateway.command(&add).ok();
        let root = std::path::Path::new(file).with_file_name("root.pub");
        let root = std::fs::read_to_string(root).expect("the root's public key");
        let root: [u8; 32] = hex::decode(root.trim()).expect("hexadecimal").try_into().expect("32 bytes");
        Self {
            identity: Arc::new(identity),
            endpoint: site.client(name),
            root: VerifyingKey::from_bytes(root),
            keyring_topic: site.home.keyring_topic().to_owned(),
        }
    }

    /// The keyring as it stands, read through the gateway and verified under the pinned root.
    fn keyring(&self) -> Keyring {
        let mut keyring = Keyring::new(self.root);
        for got in rd::read_all(&self.endpoint, &self.keyring_topic) {
            let key = got.record.key.as_ref().map(|key| key.0.as_slice()).unwrap_or_default();
            let value = got.record.value.as_ref().map(|value| value.0.as_slice());
            // What it refuses it would alarm about; here nothing is to be refused.
            keyring.apply(key, value, now()).expect("every object of the keyring is accepted");
        }
        keyring
    }

    /// Seals values for partition 0 of a topic and produces them, sealed, through the gateway.
    fn write(&self, topic: &str, records: &[Sent]) {
        let keyring = self.keyring();
        let stream = keyring.stream_of_topic(topic).expect("the stream").id;
        let pending = Writer::new(self.identity.clone())
            .prepare(&keyring, &SessionPlan::new(stream), now())
            .expect("a session for whoever may write");
        let object = pending.announcement();
        let announcement =
            Sent { key: Some(blob(object.record_key())), value: Some(blob(object.wire())), ..numbered("", 0, 0) };
        rd::produce(&self.endpoint, &self.keyring_topic, &[announcement], &[]);
        let mut lane = pending.acknowledged().lane().expect("a lane");
        let mut seal = |record: &Sent| {
            let record_key = record.key.as_ref().map(|key| key.0.as_slice());
            let mut sealed = Vec::new();
            let value = record.value.as_ref().map(|value| value.0.as_slice()).unwrap_or_default();
            lane.seal(&Place { partition: 0, record_key }, value, &mut sealed).expect("a sealed value");
            Sent { value: Some(blob(sealed)), ..record.clone() }
        };
        let sealed: Vec<Sent> = records.iter().map(&mut seal).collect();
        rd::produce(&self.endpoint, topic, &sealed, &[]);
    }

    /// Reads a topic through the gateway and opens it itself.
    fn read(&self, topic: &str) -> Vec<Sent> {
        let keyring = self.keyring();
        let reader = Reader::new(self.identity.clone());
        let open = |got: Received| {
            let sealed = got.record.value.as_ref().expect("a value").0.clone();
            let header = Header::parse(&sealed).expect("the gateway gives a program sealed bytes");
            let session = reader.open(&keyring, header.key_id(), now()).expect("a session that it may read");
            let record_key = got.record.key.as_ref().map(|key| key.0.as_slice());
            let value = session.open(&sealed, &Place { partition: 0, record_key }).expect("an authentic value");
            Sent { value: Some(blob(value)), ..got.record.clone() }
        };
        rd::read_all(&self.endpoint, topic).into_iter().map(open).collect()
    }
}

#[test]
fn a_program_with_its_own_keys_and_a_stock_client_read_each_other() {
    let mut site = Site::new();
    let (topic, secret) = (site.sealed_topic(1), secret());
    // The first record makes the stream; it is the stock client's.
    let from_stock: Vec<_> = (0..5).map(|n| numbered(&format!("{secret} stock"), n, 0)).collect();
    rd::produce(&site.client("alice"), &topic, &from_stock, &[]);

    let program = Program::enrolled(&mut site, "writer-program");
    site.gateway
        .command(&["grant", "add", "--topic", &topic, "--principal", "User:writer-program", "--right", "write"])
        .ok();
    site.gateway.command(&["grant", "add", "--topic", &topic, "--principal", "User:writer-program"]).ok();

    assert_eq!(program.read(&topic), from_stock, "the program opens what the gateway has sealed");

    let from_program: Vec<_> = (5..10).map(|n| numbered(&format!("{secret} program"), n, 0)).collect();
    program.write(&topic, &from_program);
    let all: Vec<_> = from_stock.into_iter().chain(from_program).collect();
    assert_same(&all, &rd::read_all(&site.client("reader"), &topic));
    site.assert_sealed(&topic, all.len(), &secret);
}

#[test]
fn a_program_that_sends_plaintext_or_anothers_session_is_refused() {
    let mut site = Site::new();
    site.gateway.expect_in_log("produce_refused");
    let (topic, secret) = (site.sealed_topic(1), secret());
    rd::produce(&site.client("alice"), &topic, &[numbered(&secret, 0, 0)], &[]);
    let program = Program::enrolled(&mut site, "writer-blind");
    site.gateway
        .command(&["grant", "add", "--topic", &topic, "--principal", "User:writer-blind", "--right", "write"])
        .ok();

    let plain = rd::try_produce(&program.endpoint, &topic, &numbered(&secret, 1, 0));
    assert_eq!(plain.map(|_| ()), Err(RDKafkaErrorCode::InvalidRecord));
    // Sealed bytes that alice's session made are authentic, and still not this program's to write.
    let stolen = rd::read_all(&Endpoint::direct(site.broker()), &topic).remove(0).record;
    let replayed = rd::try_produce(&program.endpoint, &topic, &stolen);
    assert_eq!(replayed.map(|_| ()), Err(RDKafkaErrorCode::PolicyViolation));
    site.assert_sealed(&topic, 1, &secret);
}

fn now() -> UnixMillis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock after 1970");
    UnixMillis::new(since.as_millis() as u64)
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}
