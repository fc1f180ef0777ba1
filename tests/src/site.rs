//! What most tests stand on: the shared broker, an installation, one gateway with mutual TLS, and a sealed topic.
//!
//! The names of the clients say what they may do on the sealed topics: `alice` writes and reads, `writer...` writes only, `reader...` reads
//! only, anybody else (`mallory`) is known to the gateway and may do nothing there.

use std::sync::Arc;

use crate::broker::Broker;
use crate::certs::{Authority, ClientFiles, ServerFiles};
use crate::clients::Endpoint;
use crate::clients::rd;
use crate::clients::record::{Sent, shows};
use crate::evil::Evil;
use crate::gateway::{Gateway, Home, Rule, Settings, is_control_run};
use crate::scratch::{Scratch, unique};

/// A gateway before a broker, with certificates for all.
pub struct Site {
    /// The gateway; the first to end.
    pub gateway: Gateway,
    /// Its installation.
    pub home: Arc<Home>,
    /// Who signs the certificates.
    pub authority: Authority,
    /// The gateway's own certificate.
    pub server: ServerFiles,
    broker: &'static Broker,
    _folder: Scratch,
}

impl Site {
    /// Seals every topic whose name begins with `sealed`, before the shared broker.
    pub fn new() -> Self {
        Self::with(Broker::shared(), |settings| settings)
    }

    /// The same with other settings.
    pub fn with(broker: &'static Broker, change: impl FnOnce(Settings) -> Settings) -> Self {
        let folder = Scratch::new("site");
        let mut authority = Authority::new(folder.path());
        let server = authority.server("gateway", &["*.kafka.test"]);
        let home = Home::new();
        let settings = change(Settings::new(broker.address()).with_tls(&server).with_rule(sealed_rule()));
        let gateway = Gateway::start(&home, settings);
        Self { gateway, home, authority, server, broker, _folder: folder }
    }

    /// Before a broker that lies.
    pub fn behind(evil: &Evil<'_>) -> Self {
        let address = evil.address();
        Self::with(Broker::shared(), |settings| Settings { upstream: address, ..settings })
    }

    /// The broker, to look past the gateway.
    pub fn broker(&self) -> &'static Broker {
        self.broker
    }

    /// A second gateway of the same installation.
    pub fn second_gateway(&self) -> Gateway {
        self.second_gateway_with(|settings| settings)
    }

    /// The same with other settings.
    pub fn second_gateway_with(&self, change: impl FnOnce(Settings) -> Settings) -> Gateway {
        let settings = Settings::new(self.broker.address()).with_tls(&self.server).with_rule(sealed_rule());
        Gateway::start(&self.home, change(settings))
    }

    /// A fresh certificate for a client of this name, and the gateway's address.
    pub fn client(&mut self, name: &str) -> Endpoint {
        let files = self.authority.client(name);
        self.endpoint(&files)
    }

    /// The gateway's address for a client with these files.
    pub fn endpoint(&self, files: &ClientFiles) -> Endpoint {
        if is_control_run() {
            return Endpoint::plain(&self.gateway.bootstrap());
        }
        Endpoint::tls(&self.gateway.bootstrap(), files)
    }

    /// A topic that is sealed, made at the broker.
    pub fn sealed_topic(&self, partitions: i32) -> String {
        self.broker.topic("sealed", partitions)
    }

    /// A topic that passes as it is, made at the broker.
    pub fn open_topic(&self, partitions: i32) -> String {
        self.broker.topic("open", partitions)
    }

    /// The broker has `count` records in the topic, and nowhere on its disk, in no codec, these bytes.
    #[track_caller]
    pub fn assert_sealed(&self, topic: &str, count: usize, secret: &str) {
        assert_sealed(self.broker, topic, count, secret);
    }
}

/// Looks past the gateway: `count` records stand in the topic, none of them shows `secret`, each value that is not null is a sealed
/// one, and no file of the broker holds `secret`.
#[track_caller]
pub fn assert_sealed(broker: &Broker, topic: &str, count: usize, secret: &str) {
    let stored = rd::read_all(&Endpoint::direct(broker), topic);
    assert_eq!(stored.len(), count, "the broker has another number of records in {topic}");
    if is_control_run() {
        return;
    }
    for got in &stored {
        assert!(!shows(&got.record, secret), "plaintext at offset {} of {topic}: {:?}", got.offset, got.record);
        assert!(is_sealed(&got.record), "not a sealed value at offset {} of {topic}: {:?}", got.offset, got.record);
    }
    assert!(!broker.disk_holds(secret.as_bytes()), "plaintext of {topic} on the broker's disk");
}

/// True for a null value and for one that begins as a sealed record of version 1 and is long enough to be one.
pub fn is_sealed(record: &Sent) -> bool {
    record.value.as_ref().is_none_or(|value| value.0.len() >= OVERHEAD && value.0[0] == 0xfb && value.0[1] >> 4 == 1)
}

/// The key id of a sealed value: which session sealed it.
pub fn key_id(record: &Sent) -> Option<[u8; 16]> {
    let value = record.value.as_ref().filter(|_| is_sealed(record))?;
    value.0[4..20].try_into().ok()
}

/// A text that is in no other record of any test, for the search on the disk.
pub fn secret() -> String {
    unique("plaintext")
}

fn sealed_rule() -> Rule {
    Rule::sealed_pattern("sealed.*", "User:(alice|writer.*)", "User:(alice|reader.*)")
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// Bytes that sealing adds to a value: 28 of header, 16 of tag.
pub const OVERHEAD: usize = 44;
