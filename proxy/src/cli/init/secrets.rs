//! The steward's keys and the keystores. A folder arrives, two keystores and a signed delegate certificate leave.
//! The root key goes into a keystore of its own, in a folder that can be taken away whole; the gateway's keystore gets the
//! delegate's key and that of the audit log. Seeds are drawn here, live in memory that is wiped, and leave only into a keystore.

use std::path::Path;

use barnabas_crypto::{Body, Delegate, Object, Powers, Secret, SigningKey, UnixMillis};
use barnabas_kms::{LocalKeystore, Passphrase, Unlock, create_key_file};

use super::{private_folder, write_new};
use crate::audit::log::AUDIT_SECRET;
use crate::cli::{Exit, Failure};
use crate::config::SecretRef;
use crate::gateway::DELEGATE_SECRET;

/// Makes everything below `dir` and gives the root's public key.
pub(super) fn make(dir: &Path, passphrase_file: Option<&Path>) -> Result<[u8; 32], Failure> {
    let root_folder = dir.join(ROOT_FOLDER);
    private_folder(&root_folder)?;
    let root = draw()?;
    let delegate = draw()?;
    create_keystore(&root_folder, passphrase_file)?.put_secret(ROOT_SECRET, &root).map_err(refused)?;
    let keystore = create_keystore(dir, passphrase_file)?;
    keystore.put_secret(DELEGATE_SECRET, &delegate).map_err(refused)?;
    keystore.put_secret(AUDIT_SECRET, &draw()?).map_err(refused)?;

    let root = SigningKey::from_seed(&root).map_err(refused)?;
    let delegate = SigningKey::from_seed(&delegate).map_err(refused)?;
    let now = UnixMillis::new(u64::try_from(jiff::Timestamp::now().as_millisecond()).map_err(refused)?);
    let certificate = Delegate {
        key: *delegate.public(),
        powers: Powers::ALL,
        not_before: UnixMillis::new(now.millis().saturating_sub(CLOCK_SKEW_MILLIS)),
        not_after: now.plus_millis(DELEGATE_LIFETIME_MILLIS),
        scope: None,
    };
    let signed = Object::new(Body::Delegate(certificate), 1, now).sign(&root).map_err(refused)?;
    write_new(&dir.join(DELEGATE_CERTIFICATE_FILE), signed.wire(), 0o644)?;
    write_new(&dir.join(ROOT_PUBLIC_FILE), format!("{}\n", hex::encode(root.public().as_bytes())).as_bytes(), 0o644)?;
    Ok(*root.public().as_bytes())
}

/// A keystore of a folder's own, opened by a passphrase or by a key file beside it.
pub(in crate::cli) fn create_keystore(dir: &Path, passphrase_file: Option<&Path>) -> Result<LocalKeystore, Failure> {
    let unlock = match passphrase_file {
        Some(path) => passphrase(path)?,
        None => {
            let path = dir.join(KEY_FILE);
            create_key_file(&path).map_err(refused)?;
            Unlock::KeyFile(path)
        }
    };
    LocalKeystore::create(dir.join(KEYSTORE_FILE), &unlock).map_err(refused)
}

/// Opens what [`create_keystore`] made.
pub(in crate::cli) fn open_keystore(dir: &Path, passphrase_file: Option<&Path>) -> Result<LocalKeystore, Failure> {
    let unlock = match passphrase_file {
        Some(path) => passphrase(path)?,
        None => Unlock::KeyFile(dir.join(KEY_FILE)),
    };
    LocalKeystore::open(dir.join(KEYSTORE_FILE), &unlock)
        .map_err(|error| Failure::new(Exit::Denied, format!("{}: {error}", dir.display())))
}

/// The key that signs delegates and escrows, out of its folder.
pub(in crate::cli) fn root_key(dir: &Path, passphrase_file: Option<&Path>) -> Result<SigningKey, Failure> {
    let denied = |error: String| Failure::new(Exit::Denied, format!("{}: {error}", dir.display()));
    let seed = open_keystore(dir, passphrase_file)?.secret(ROOT_SECRET).map_err(|error| denied(error.to_string()))?;
    SigningKey::from_seed(&seed).map_err(|error| denied(error.to_string()))
}

fn passphrase(path: &Path) -> Result<Unlock, Failure> {
    let passphrase = SecretRef::File(path.to_owned()).read()?;
    if passphrase.is_empty() {
        return Err(Failure::new(Exit::Failed, format!("`{}` is empty; write a passphrase", path.display())));
    }
    Ok(Unlock::Passphrase(Passphrase::new(passphrase.as_bytes().to_vec())))
}

fn draw() -> Result<Secret<32>, Failure> {
    Secret::draw().map_err(refused)
}

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::CannotCreate, error.to_string())
}

/// The gateway's keystore, and the name of the root's in its own folder.
pub(super) const KEYSTORE_FILE: &str = "keystore";

/// What opens a keystore, beside it.
pub(in crate::cli) const KEY_FILE: &str = "keystore.key";

/// The folder that is to be taken offline.
pub(super) const ROOT_FOLDER: &str = "root";

/// The root's seed in its keystore.
const ROOT_SECRET: &str = "steward-root";

/// The delegate's certificate: a signed keyring object, public, which the delegate publishes when it starts.
pub(super) const DELEGATE_CERTIFICATE_FILE: &str = "delegate.certificate";

/// The root's public key, 64 hexadecimal digits, for scripts that write configurations.
pub(super) const ROOT_PUBLIC_FILE: &str = "root.pub";

/// A clock that is behind by less does not make the first objects of a delegate too old.
const CLOCK_SKEW_MILLIS: u64 = 3_600_000;

/// A year and a month: a yearly renewal that comes late is survived.
const DELEGATE_LIFETIME_MILLIS: u64 = 396 * 86_400_000;
