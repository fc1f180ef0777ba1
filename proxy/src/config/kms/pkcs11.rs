//! `type: pkcs11`: a token behind a C module, which is loaded into this process.
//! A mapping arrives, the adapter's settings leave, in a binary that was built with the feature `pkcs11`. Another one refuses and
//! says how to build it. Neither loads the module here.

use std::path::PathBuf;
use std::time::Duration;

#[cfg(feature = "pkcs11")]
use barnabas_kms::{Pkcs11Mechanism, Pkcs11Settings};

use super::{KmsBackend, parts};
use crate::config::key::{Key, Kind, key};
use crate::config::mistake::Refusal;
use crate::config::reader::Reader;
use crate::config::values::{self, Places};

pub(super) fn parse(reader: &Reader<'_>, places: &Places<'_>) -> Option<KmsBackend> {
    let module = reader.required("module", |text| module(places, text), "name the module's shared library");
    let token = reader.required("token", token_label, "write the token's label: `pkcs11-tool --list-token-slots`");
    let pin = parts::secret(reader, "pin", places);
    let mechanism = reader.or_default("mechanism", values::choice(MECHANISMS), Mechanism::Best);
    let create_keys = reader.or_default("create_keys", values::truth, false);
    let sessions = reader.or_default("sessions", values::number(1, 64), 2);
    let bounds = values::duration(Duration::from_millis(10), Duration::from_secs(300));
    let call_timeout = reader.or_default("call_timeout", bounds, Duration::from_secs(10));
    #[cfg(feature = "pkcs11")]
    {
        let mut settings = Pkcs11Settings::new(module?, token?, pin?);
        settings.mechanism = mechanism?.of_adapter();
        settings.create_keys = create_keys?;
        settings.sessions = usize::try_from(sessions?).ok()?;
        settings.call_timeout = call_timeout?;
        Some(KmsBackend::Pkcs11(settings))
    }
    #[cfg(not(feature = "pkcs11"))]
    {
        // The rest has been read all the same: its mistakes are told in the same run.
        let _ = (module, token, pin, mechanism, create_keys, sessions, call_timeout);
        let remedy = "build one with `cargo build --release -p barnabas --features pkcs11`";
        reader.refuse("type", Refusal::new("this binary was built without PKCS#11", remedy));
        None
    }
}

/// The whole path: a library that is searched for may be anybody's.
fn module(places: &Places<'_>, text: &str) -> Result<PathBuf, Refusal> {
    let path = places.file(text)?;
    std::path::absolute(&path).map_err(|error| Refusal::new(format!("`{text}`: {error}"), "write the whole path"))
}

fn token_label(text: &str) -> Result<String, Refusal> {
    if text.is_empty() || text.len() > MAX_LABEL_BYTES {
        let remedy = format!("write 1 to {MAX_LABEL_BYTES} bytes");
        return Err(Refusal::new(format!("`{text}` is not a token's label"), remedy));
    }
    Ok(text.to_owned())
}

/// The adapter's, which is not there in every build.
#[derive(Clone, Copy)]
enum Mechanism {
    AesGcm,
    AesKeyWrap,
    Best,
}

#[cfg(feature = "pkcs11")]
impl Mechanism {
    fn of_adapter(self) -> Pkcs11Mechanism {
        match self {
            Self::AesGcm => Pkcs11Mechanism::AesGcm,
            Self::AesKeyWrap => Pkcs11Mechanism::AesKeyWrap,
            Self::Best => Pkcs11Mechanism::Best,
        }
    }
}

const MECHANISMS: &[(&str, Mechanism)] =
    &[("best", Mechanism::Best), ("aes-gcm", Mechanism::AesGcm), ("aes-key-wrap", Mechanism::AesKeyWrap)];

/// PKCS#11 2.40, `CK_TOKEN_INFO`.
const MAX_LABEL_BYTES: usize = 32;

pub(in crate::config) const KEYS: &[Key] = &[
    key(
        "kms.NAME.module",
        Kind::Path,
        "required by pkcs11",
        "pkcs11: the vendor's shared library. It is loaded into the gateway: trust it as you trust the gateway.",
    ),
    key("kms.NAME.token", Kind::Text, "required by pkcs11", "pkcs11: the token's label."),
    key(
        "kms.NAME.pin",
        Kind::Secret,
        "required by pkcs11",
        "pkcs11: the user's PIN. One that was refused is never tried again.",
    ),
    key(
        "kms.NAME.mechanism",
        Kind::Choice,
        "`best`",
        "pkcs11: `aes-gcm`, `aes-key-wrap`, or `best`: the first of them that the token has.",
    ),
    key(
        "kms.NAME.sessions",
        Kind::Number,
        "`2`",
        "pkcs11: sessions at the same time, each with a thread of its own; 1 to 64.",
    ),
    key("kms.NAME.call_timeout", Kind::Duration, "`10s`", "pkcs11: one call, waiting for a session included."),
];
