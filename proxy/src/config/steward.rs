//! `steward`: whose signature makes identities, epochs and grants true, and whether its online delegate runs in here.
//! A mapping arrives, a [`Steward`] leaves. The pinned root key is public; no secret of the steward is configured here.

use std::path::PathBuf;
use std::time::Duration;

use super::key::{Key, Kind, key};
use super::mistake::Refusal;
use super::reader::Reader;
use super::values::{self, Places};

/// The authority over clients, epochs and grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Steward {
    /// The root's Ed25519 public key (RFC 8032); `None` only when nothing is ever sealed.
    pub root_public_key: Option<[u8; 32]>,
    /// Whether the online delegate runs inside this gateway.
    pub run: StewardRun,
    /// The delegate's certificate, signed by the root; there whenever the delegate runs here.
    pub certificate: Option<PathBuf>,
    /// How long one epoch lasts before the delegate starts the next.
    pub epoch_lifetime: Duration,
}

/// Where the delegate runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StewardRun {
    /// Inside this gateway.
    Embedded,
    /// Elsewhere (`barnabas steward`).
    Off,
}

impl Steward {
    pub(super) fn parse(reader: Reader<'_>, places: &Places<'_>) -> Option<Self> {
        let root_public_key = reader.optional("root_public_key", public_key);
        let run = reader.or_default("run", values::choice(RUNS), StewardRun::Off);
        let lifetime = reader.or_default("epoch_lifetime", epoch_lifetime(), DEFAULT_EPOCH_LIFETIME);
        let certificate = reader.optional("certificate", |text| places.file(text));
        if let (Some(StewardRun::Embedded), Some(None)) = (run, &certificate) {
            let remedy = "name the delegate's certificate that `barnabas init` made, or write `run: off`";
            reader.refuse("certificate", Refusal::new("the delegate has no `certificate`", remedy));
        }
        reader.finish();
        Some(Self {
            root_public_key: root_public_key?,
            run: run?,
            certificate: certificate?,
            epoch_lifetime: lifetime?,
        })
    }
}

/// How a lifetime of epochs is read, here and in the rules of streams.
pub(super) fn epoch_lifetime() -> impl Fn(&str) -> Result<Duration, Refusal> {
    values::duration(SHORTEST_EPOCH, LONGEST_EPOCH)
}

fn public_key(text: &str) -> Result<[u8; 32], Refusal> {
    let bytes = hex::decode(text).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    bytes.ok_or_else(|| {
        let remedy = "write the 64 hexadecimal digits that `barnabas init` printed";
        Refusal::new("`root_public_key` is not an Ed25519 public key", remedy)
    })
}

const RUNS: &[(&str, StewardRun)] = &[("embedded", StewardRun::Embedded), ("off", StewardRun::Off)];

/// A year of daily epochs is one grant of about 13 KB; a stolen epoch key opens one day.
pub const DEFAULT_EPOCH_LIFETIME: Duration = Duration::from_secs(86_400);

/// Each epoch stays in the keyring, with a seed in the grants of each reader.
const SHORTEST_EPOCH: Duration = Duration::from_secs(60);

const LONGEST_EPOCH: Duration = Duration::from_secs(366 * 86_400);

pub(super) const KEYS: &[Key] = &[
    key("steward", Kind::Section, "its defaults", "The authority over clients, epochs and grants."),
    key(
        "steward.root_public_key",
        Kind::Text,
        "required when a stream may be sealed",
        "The root's Ed25519 public key, 64 hexadecimal digits; `barnabas init` prints it.",
    ),
    key(
        "steward.certificate",
        Kind::Path,
        "required by `run: embedded`",
        "The delegate's certificate, signed by the root; `barnabas init` makes it. Its key is in the keystore.",
    ),
    key(
        "steward.run",
        Kind::Choice,
        "`off`",
        "`embedded`: the online delegate runs inside this gateway. `off`: it runs elsewhere (`barnabas steward`).",
    ),
    key(
        "steward.epoch_lifetime",
        Kind::Duration,
        "`1d`",
        "The delegate starts a new epoch of a stream after this time, when a tenth of it is left: let that be longer than outages of the KMS.",
    ),
];
