//! The keystore's promises: secrets come back, every kind of damage has its own message, a crash leaves the old file.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use barnabas_crypto::custody::CustodyCause;
use barnabas_crypto::{EpochNumber, IdentityId, StreamId};
use tempfile::TempDir;

use super::*;

/// A keystore in a directory of its own, unlocked by a key file: no test needs to pay for Argon2id but one.
struct Place {
    directory: TempDir,
    path: PathBuf,
    unlock: Unlock,
}

fn place() -> Place {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), Permissions::from_mode(0o700)).unwrap();
    let (path, key) = (directory.path().join("keystore.json"), directory.path().join("key"));
    crate::create_key_file(&key).unwrap();
    Place { directory, path, unlock: Unlock::KeyFile(key) }
}

/// The local keystore never waits: its futures are ready at the first poll.
fn ready<T>(future: CustodyFuture<'_, T>) -> Result<T, barnabas_crypto::CustodyError> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(outcome) => outcome,
        Poll::Pending => unreachable!("the local keystore does not wait"),
    }
}

fn mode_of(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_kept_secret_comes_back_after_reopening() {
    let place = place();
    let secret = Secret::draw().unwrap();
    let keystore = LocalKeystore::create(&place.path, &place.unlock).unwrap();
    keystore.put_secret("steward/root", &secret).unwrap();
    drop(keystore);
    let keystore = LocalKeystore::open(&place.path, &place.unlock).unwrap();
    assert!(keystore.secret("steward/root").unwrap().matches(&secret));
    assert_eq!(keystore.entries(), [("steward/root".to_owned(), EntryKind::Secret, true)]);
    assert!(matches!(keystore.secret("steward/other"), Err(Error::NotFound(_))));
    assert_eq!(mode_of(&place.path), 0o600);
    let on_disk = fs::read(&place.path).unwrap();
    assert!(!on_disk.windows(32).any(|window| window == secret.expose()));
}

#[test]
fn a_passphrase_unlocks_and_a_wrong_one_is_named() {
    let place = place();
    let phrase = |text: &str| Unlock::Passphrase(Passphrase::new(text.into()));
    LocalKeystore::create(&place.path, &phrase("right")).unwrap().put_secret("a", &Secret::draw().unwrap()).unwrap();
    assert!(LocalKeystore::open(&place.path, &phrase("right")).unwrap().secret("a").is_ok());
    assert!(matches!(LocalKeystore::open(&place.path, &phrase("wrong")), Err(Error::WrongPassphrase(_))));
    let other_way = LocalKeystore::open(&place.path, &place.unlock);
    assert!(matches!(other_way, Err(Error::UnlockMethod { wanted: "passphrase", .. })));
}

#[test]
fn custody_wraps_are_bound_to_key_and_context() {
    let place = place();
    let keystore = LocalKeystore::create(&place.path, &place.unlock).unwrap();
    let secret = Secret::draw().unwrap();
    let context = CustodyContext::IdentitySeed(IdentityId::from_bytes([1; 16]));
    let missing = ready(keystore.wrap("client/a", &secret, &context)).err().unwrap();
    assert_eq!(missing.cause, CustodyCause::NotFound);
    ready(keystore.ensure_key("client/a")).unwrap();
    ready(keystore.ensure_key("client/b")).unwrap();
    let wrapped = ready(keystore.wrap("client/a", &secret, &context)).unwrap();
    ready(keystore.ensure_key("client/a")).unwrap();
    assert!(ready(keystore.unwrap("client/a", &wrapped, &context)).unwrap().matches(&secret));
    let elsewhere = CustodyContext::EpochSeed(StreamId::from_bytes([1; 16]), EpochNumber::FIRST);
    for outcome in [
        ready(keystore.unwrap("client/b", &wrapped, &context)),
        ready(keystore.unwrap("client/a", &wrapped, &elsewhere)),
        ready(keystore.unwrap("client/a", &wrapped[..20], &context)),
        ready(keystore.unwrap("client/a", &[], &context)),
    ] {
        assert_eq!(outcome.err().unwrap().cause, CustodyCause::Corrupt);
    }
    keystore.set_enabled("client/a", false).unwrap();
    assert_eq!(ready(keystore.unwrap("client/a", &wrapped, &context)).err().unwrap().cause, CustodyCause::Disabled);
    // A key that wraps is not given out, whatever its name.
    assert!(matches!(keystore.secret("client/b"), Err(Error::NotFound(_))));
}

#[test]
fn many_keys_are_made_in_one_change_of_the_file_and_none_twice() {
    let place = place();
    let keystore = LocalKeystore::create(&place.path, &place.unlock).unwrap();
    let context = CustodyContext::IdentitySeed(IdentityId::from_bytes([1; 16]));
    let secret = Secret::draw().unwrap();
    ready(keystore.ensure_key("client/7")).unwrap();
    let wrapped = ready(keystore.wrap("client/7", &secret, &context)).unwrap();
    let names: Vec<String> = (0..100).map(|n| format!("client/{n}")).collect();
    ready(keystore.ensure_keys(&names)).unwrap();
    let written = std::fs::read(&place.path).unwrap();
    // Every change draws a new nonce or key: a file that is the same was not written again.
    ready(keystore.ensure_keys(&names)).unwrap();
    assert_eq!(std::fs::read(&place.path).unwrap(), written);
    assert!(
        ready(keystore.unwrap("client/7", &wrapped, &context)).unwrap().matches(&secret),
        "an old key was replaced"
    );
    for name in &names {
        ready(keystore.wrap(name, &secret, &context)).unwrap();
    }
    let bad = ["client/new".to_owned(), "\n".to_owned()];
    assert!(ready(keystore.ensure_keys(&bad)).is_err());
    assert_eq!(std::fs::read(&place.path).unwrap(), written, "all or none");
}

#[test]
fn files_open_to_others_are_refused_with_the_remedy() {
    let place = place();
    LocalKeystore::create(&place.path, &place.unlock).unwrap();
    let open = || LocalKeystore::open(&place.path, &place.unlock);
    fs::set_permissions(&place.path, Permissions::from_mode(0o640)).unwrap();
    let refused = open().err().unwrap().to_string();
    assert!(refused.contains("has mode 0640") && refused.contains("chmod 0600"), "{refused}");
    fs::set_permissions(&place.path, Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(place.directory.path(), Permissions::from_mode(0o755)).unwrap();
    let refused = open().err().unwrap().to_string();
    assert!(refused.contains("has mode 0755") && refused.contains("chmod 0700"), "{refused}");
    fs::set_permissions(place.directory.path(), Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(place.directory.path().join("key"), Permissions::from_mode(0o604)).unwrap();
    assert!(matches!(open(), Err(Error::OpenToOthers { found: 0o604, .. })));
}

#[test]
fn each_kind_of_damage_has_its_own_message() {
    let place = place();
    let keystore = LocalKeystore::create(&place.path, &place.unlock).unwrap();
    for name in ["a", "b"] {
        keystore.put_secret(name, &Secret::draw().unwrap()).unwrap();
    }
    let good = fs::read_to_string(&place.path).unwrap();
    let open_as = |text: &str| {
        fs::write(&place.path, text).unwrap();
        LocalKeystore::open(&place.path, &place.unlock).err().unwrap()
    };
    for len in [1, good.len() / 2, good.len() - 3] {
        assert!(matches!(open_as(&good[..len]), Error::Truncated(_)), "{len}");
    }
    assert!(matches!(open_as(""), Error::Truncated(_)));
    assert!(matches!(open_as("hello"), Error::NotAKeystore(_)));
    assert!(matches!(open_as("{}"), Error::NotAKeystore(_)));
    assert!(matches!(open_as(&good.replace("\"version\": 1", "\"version\": 2")), Error::Version { found: 2, .. }));
    assert!(matches!(open_as(&good.replace("\"enabled\": true", "\"enabled\": false")), Error::Damaged(_)));
    // An entry under another entry's name.
    let swapped = good.replace("\"a\":", "\"x\":").replace("\"b\":", "\"a\":").replace("\"x\":", "\"b\":");
    assert!(matches!(open_as(&swapped), Error::Damaged(_)));
    fs::write(&place.path, &good).unwrap();
    let other = place.directory.path().join("other");
    crate::create_key_file(&other).unwrap();
    assert!(matches!(LocalKeystore::open(&place.path, &Unlock::KeyFile(other)), Err(Error::WrongKeyFile(_))));
    assert!(LocalKeystore::open(&place.path, &place.unlock).is_ok());
}

#[test]
fn what_a_crash_left_behind_disturbs_nothing() {
    let place = place();
    let keystore = LocalKeystore::create(&place.path, &place.unlock).unwrap();
    keystore.put_secret("a", &Secret::draw().unwrap()).unwrap();
    let half_written = place.directory.path().join("keystore.json.new");
    fs::write(&half_written, "{ \"format\": \"barn").unwrap();
    let again = LocalKeystore::open(&place.path, &place.unlock).unwrap();
    assert!(again.secret("a").is_ok());
    again.put_secret("b", &Secret::draw().unwrap()).unwrap();
    assert!(!half_written.exists());
    assert!(matches!(LocalKeystore::create(&place.path, &place.unlock), Err(Error::AlreadyExists(_))));
}

#[test]
fn two_processes_see_each_others_keys_and_lose_none() {
    let place = place();
    let one = LocalKeystore::create(&place.path, &place.unlock).unwrap();
    let two = LocalKeystore::open(&place.path, &place.unlock).unwrap();
    one.put_secret("a", &Secret::draw().unwrap()).unwrap();
    two.put_secret("b", &Secret::draw().unwrap()).unwrap();
    assert!(two.secret("a").is_ok() && one.secret("b").is_ok());
    one.remove("a").unwrap();
    two.reload().unwrap();
    assert!(two.secret("a").is_err());
}

#[test]
fn a_cost_that_would_take_the_machine_is_refused() {
    let method = Method::Passphrase { memory_kib: u32::MAX, passes: 3, lanes: 1 };
    assert!(matches!(method.stretch(b"x", &[0; 16], Path::new("k")), Err(Error::Cost(_))));
}

#[test]
fn names_that_could_forge_a_log_line_are_refused() {
    let place = place();
    let keystore = LocalKeystore::create(&place.path, &place.unlock).unwrap();
    for name in ["", "a\nb", &"x".repeat(1025)] {
        assert!(matches!(keystore.put_secret(name, &Secret::draw().unwrap()), Err(Error::Name)));
    }
}

#[test]
fn what_is_remembered_is_there_after_a_restart() {
    let place = place();
    let keystore = LocalKeystore::create(&place.path, &place.unlock).unwrap();
    let texts = ["sealed-topic-a".to_owned(), "sealed-topic-b".to_owned()];
    ready(keystore.remember(&texts[..1])).unwrap();
    ready(keystore.remember(&texts)).unwrap();
    drop(keystore);
    let keystore = LocalKeystore::open(&place.path, &place.unlock).unwrap();
    assert!(texts.iter().all(|text| keystore.remembered().contains(text)));
    assert_eq!(keystore.remembered().len(), 2);
    assert!(ready(keystore.remember(&["line\nfeed".to_owned()])).is_err());
}
