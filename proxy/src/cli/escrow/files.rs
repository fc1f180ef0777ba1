//! The files of an escrow: a custodian's public key and a sealed share, as JSON with bytes in base64; neither is secret.
//!
//! Arrives: files that came by mail. Leaves: keys and shares of the right form. The secret keys are in keystores of their own,
//! one in each custodian's folder.

use std::fs;
use std::path::Path;

use barnabas_crypto::{EscrowId, HolderId, HolderSecret, KemPublicKey, KemSuite, SealedShare, ShareTerms};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::cli::init::{self, secrets};
use crate::cli::{Exit, Failure};

/// A custodian's public key.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicFile {
    custodian: String,
    kem: String,
    kem_key: String,
}

/// A sealed share.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ShareFile {
    escrow: String,
    threshold: u8,
    shares: u8,
    index: u8,
    holder: String,
    wrapped: String,
}

/// A custodian's name and public key.
pub(super) struct Custodian {
    /// The name, for people and for file names.
    pub(super) name: String,
    /// Shares are sealed to it.
    pub(super) key: KemPublicKey,
}

/// Writes a custodian's public key.
pub(super) fn write_public(path: &Path, name: &str, key: &KemPublicKey) -> Result<(), Failure> {
    let file = PublicFile {
        custodian: name.to_owned(),
        kem: kem_name(key.suite()).to_owned(),
        kem_key: BASE64_STANDARD.encode(key.as_bytes()),
    };
    write(path, &file)
}

/// Reads a custodian's public key.
pub(super) fn read_public(path: &Path) -> Result<Custodian, Failure> {
    let unfit = |reason: &str| Failure::new(Exit::Data, format!("{}: {reason}", path.display()));
    let file: PublicFile = read(path, "the public key of a custodian")?;
    let suite = KEMS.iter().find(|(_, name)| *name == file.kem).map(|(suite, _)| *suite);
    let suite = suite.ok_or_else(|| unfit("kem is unknown; x-wing and x25519 are known"))?;
    let bytes = BASE64_STANDARD.decode(&file.kem_key).map_err(|_| unfit("kem_key is not base64"))?;
    let key = KemPublicKey::from_bytes(suite, &bytes).map_err(|error| unfit(&error.to_string()))?;
    check_name(&file.custodian)?;
    Ok(Custodian { name: file.custodian, key })
}

/// Writes a sealed share.
pub(super) fn write_share(path: &Path, share: &SealedShare) -> Result<(), Failure> {
    let ShareTerms { escrow, threshold, shares, index } = share.terms;
    let (escrow, holder) = (escrow.to_string(), share.holder.to_string());
    let wrapped = BASE64_STANDARD.encode(&share.wrapped);
    write(path, &ShareFile { escrow, threshold, shares, index, holder, wrapped })
}

/// Reads a sealed share.
pub(super) fn read_share(path: &Path) -> Result<SealedShare, Failure> {
    let unfit = |reason: &str| Failure::new(Exit::Data, format!("{}: {reason}", path.display()));
    let file: ShareFile = read(path, "a share of an escrow")?;
    let escrow: EscrowId = file.escrow.parse().map_err(|_| unfit("escrow is not an id"))?;
    let holder: HolderId = file.holder.parse().map_err(|_| unfit("holder is not an id"))?;
    let wrapped = BASE64_STANDARD.decode(&file.wrapped).map_err(|_| unfit("wrapped is not base64"))?;
    let terms = ShareTerms { escrow, threshold: file.threshold, shares: file.shares, index: file.index };
    Ok(SealedShare { terms, holder, wrapped })
}

/// Makes a custodian's secret key in a folder's keystore.
pub(super) fn make_holder(dir: &Path, passphrase_file: Option<&Path>) -> Result<HolderSecret, Failure> {
    let refused = |error: String| Failure::new(Exit::CannotCreate, error);
    init::private_folder(dir)?;
    let holder = HolderSecret::draw(KEM).map_err(|error| refused(error.to_string()))?;
    let keystore = secrets::create_keystore(dir, passphrase_file)?;
    keystore.put_secret(HOLDER_SECRET, holder.seed()).map_err(|error| refused(error.to_string()))?;
    Ok(holder)
}

/// Opens custodians' folders. Those without a key file are opened by the passphrases, in their order.
pub(super) fn open_holders(
    folders: &[std::path::PathBuf],
    passphrase_files: &[std::path::PathBuf],
) -> Result<Vec<HolderSecret>, Failure> {
    let mut passphrases = passphrase_files.iter();
    let mut holders = Vec::new();
    for folder in folders {
        let denied = |error: String| Failure::new(Exit::Denied, format!("{}: {error}", folder.display()));
        let passphrase = if folder.join(secrets::KEY_FILE).is_file() { None } else { passphrases.next() };
        let keystore = secrets::open_keystore(folder, passphrase.map(std::path::PathBuf::as_path))?;
        let seed = keystore.secret(HOLDER_SECRET).map_err(|error| denied(error.to_string()))?;
        holders.push(HolderSecret::from_seed(seed, KEM).map_err(|error| denied(error.to_string()))?);
    }
    Ok(holders)
}

/// A name that is safe as part of a file's name.
pub(super) fn check_name(name: &str) -> Result<(), Failure> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.len() > 60 || name.starts_with('.') || !name.chars().all(plain) {
        let line = format!("`{}` is no name for a custodian: letters, digits, `-`, `_`, `.`", name.escape_debug());
        return Err(Failure::new(Exit::Usage, line));
    }
    Ok(())
}

/// A KEM suite's name.
pub(super) fn kem_name(suite: KemSuite) -> &'static str {
    KEMS.iter().find(|(known, _)| *known == suite).map_or("unknown", |(_, name)| name)
}

fn write<T: Serialize>(path: &Path, content: &T) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(content).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    init::write_new(path, (text + "\n").as_bytes(), 0o644)
}

fn read<T: for<'d> Deserialize<'d>>(path: &Path, what: &str) -> Result<T, Failure> {
    let unfit = |reason: String| Failure::new(Exit::Data, format!("{}: {reason}", path.display()));
    let length = fs::metadata(path).map_err(|error| unfit(error.to_string()))?.len();
    if length > MOST_BYTES {
        return Err(unfit(format!("{length} bytes are more than {what} has")));
    }
    let text = fs::read_to_string(path).map_err(|error| unfit(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| unfit(format!("not {what}: {error}")))
}

/// Post-quantum, since what is wrapped to an escrow has to stay closed for as long as the records are kept.
pub(super) const KEM: KemSuite = KemSuite::XWing;

const KEMS: &[(KemSuite, &str)] = &[(KemSuite::XWing, "x-wing"), (KemSuite::X25519, "x25519")];

/// The seed in a custodian's keystore.
const HOLDER_SECRET: &str = "escrow-holder";

/// Both kinds of file have a few kilobytes.
const MOST_BYTES: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
    use barnabas_crypto::EscrowSecret;

    use super::*;

    #[test]
    fn keys_and_shares_read_back_and_nothing_else_does() {
        let folder = tempfile::tempdir().unwrap();
        let anna = folder.path().join("anna");
        let made = make_holder(&anna, None).unwrap_or_else(|f| panic!("{:?}", f.lines));
        let public = anna.join("custodian.pub");
        write_public(&public, "anna", made.public()).unwrap_or_else(|f| panic!("{:?}", f.lines));
        let read = read_public(&public).unwrap_or_else(|f| panic!("{:?}", f.lines));
        assert!(read.name == "anna" && read.key == *made.public());
        let sealed = EscrowSecret::draw(KEM).unwrap().split(1, &[read.key]).unwrap();
        let file = folder.path().join("1-anna.share");
        write_share(&file, &sealed[0]).unwrap_or_else(|f| panic!("{:?}", f.lines));
        assert_eq!(read_share(&file).unwrap_or_else(|f| panic!("{:?}", f.lines)), sealed[0]);
        let opened = open_holders(&[anna], &[]).unwrap_or_else(|f| panic!("{:?}", f.lines));
        assert!(sealed[0].open(&opened[0]).is_ok());
        assert!(read_share(&public).is_err() && read_public(&file).is_err());
        assert!(write_share(&file, &sealed[0]).is_err(), "nothing is overwritten");
        for name in ["", "../anna", ".anna", "a b", "anna\n"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
