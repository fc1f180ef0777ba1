//! `barnabas keyring`: the topic that holds every identity, epoch and grant. Losing it loses data: this is its back-up.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use barnabas_crypto::{Body, HeadState, Keyring, SignedObject, VerifyingKey};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::desk::{self, Desk, Progress};
use super::history::{self, History, Refused};
use super::{ConfigArg, Exit, Failure, OutputArg, Row, moment, serve};
use crate::config::Config;
use crate::gateway::Error;
use crate::keyring::now;

/// Verify, back up and restore the keyring
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = HELP, subcommand_required = true)]
pub enum KeyringCommand {
    Verify(VerifyArgs),
    Export(ExportArgs),
    Import(ImportArgs),
}

/// Read the whole keyring and verify every object against the pinned root key
#[derive(Clone, Debug, Args)]
#[command(after_help = VERIFY_HELP)]
pub struct VerifyArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// Verify an export instead of the topic
    #[arg(long, value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    #[command(flatten)]
    pub(super) output: OutputArg,
}

/// Write all verified objects into a file; it holds no secret in the clear
#[derive(Clone, Debug, Args)]
#[command(after_help = EXPORT_HELP)]
pub struct ExportArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The file; an existing one is not overwritten
    pub(super) file: PathBuf,
}

/// Publish the objects of an export that the keyring does not have
#[derive(Clone, Debug, Args)]
#[command(after_help = IMPORT_HELP)]
pub struct ImportArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The file that `export` made
    pub(super) file: PathBuf,
}

pub(super) fn run(command: KeyringCommand) -> Result<(), Failure> {
    match command {
        KeyringCommand::Verify(args) => verify(args),
        KeyringCommand::Export(args) => export(args),
        KeyringCommand::Import(args) => import(args),
    }
}

fn verify(args: VerifyArgs) -> Result<(), Failure> {
    let config = args.config.load()?;
    let report = match &args.file {
        Some(path) => {
            let (keyring, refused) = read_export(&config, path)?;
            Report::new(path.display().to_string(), None, &keyring, refused)
        }
        None => {
            let history = History::read(&config)?;
            Report::new(config.keyring.topic.clone(), Some(history.records), &history.keyring, history.refused)
        }
    };
    let mut printer = args.output.printer();
    printer.one(&report)?;
    for refused in &report.refused {
        let at = refused.offset.map(|offset| format!("offset {offset}, ")).unwrap_or_default();
        printer.line(&format!("refused: {at}{}: {}", refused.key, refused.text))?;
    }
    for unresolved in &report.unresolved {
        printer.line(&format!("nobody vouches for {}: {} is not there", unresolved.key, unresolved.needs))?;
    }
    if report.head.age_seconds.is_some_and(|age| age > config.keyring.max_head_age.as_secs()) && args.file.is_none() {
        desk::warn("the head is older than keyring.max_head_age: writers stop; does a steward run?");
    }
    report.verdict()
}

fn export(args: ExportArgs) -> Result<(), Failure> {
    let config = args.config.load()?;
    let history = History::read(&config)?;
    let bytes = history.keyring.export();
    let written =
        fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&args.file).and_then(|mut file| {
            file.write_all(&bytes)?;
            file.sync_all()
        });
    let cannot = |error| Failure::new(Exit::CannotCreate, format!("`{}` cannot be made: {error}", args.file.display()));
    written.map_err(cannot)?;
    println!("{} objects, {} bytes in {}", history.keyring.len(), bytes.len(), args.file.display());
    let left_out = history.refused.len() + history::unresolved(&history.keyring).len();
    if left_out > 0 {
        let line = format!(
            "{left_out} records of the topic count for nothing and were left out; see `barnabas keyring verify`"
        );
        return Err(Failure::new(Exit::Data, line));
    }
    Ok(())
}

fn import(args: ImportArgs) -> Result<(), Failure> {
    let config = args.config.load()?;
    let (keyring, refused) = read_export(&config, &args.file)?;
    let unresolved = history::unresolved(&keyring);
    let desk = Desk::to_fill(config.clone())?;
    let choice = desk.read(|known| choose(&keyring, known))?;
    publish(&desk, &choice.missing)?;
    drop(desk);
    // Read anew from the start: what counts in the end is what a gateway finds there.
    let found = History::read(&config)?.keyring;
    let lost: Vec<&SignedObject> = choice.missing.iter().filter(|object| !has(&found, object)).collect();
    println!(
        "{} objects published, {} were there already, {} are older than what is there",
        choice.missing.len() - lost.len(),
        choice.present,
        choice.older.len()
    );
    for key in &choice.older {
        desk::warn(&format!("left out, older than what is there: {key}"));
    }
    let mut lines = Vec::new();
    lines
        .extend(choice.conflicts.iter().map(|key| format!("left out, another object of this version is there: {key}")));
    lines.extend(refused.iter().map(|refused| format!("left out: {}: {}", refused.key, refused.text)));
    lines.extend(unresolved.iter().map(|(slot, need)| format!("left out, nobody vouches for it: {slot} needs {need}")));
    lines.extend(lost.iter().map(|object| format!("published, but it does not count: {}", object.record_key())));
    if lines.is_empty() { Ok(()) } else { Err(Failure { exit: Exit::Data, lines }) }
}

/// What of an export is to be published.
#[derive(Default)]
struct Choice {
    missing: Vec<SignedObject>,
    present: usize,
    older: Vec<String>,
    conflicts: Vec<String>,
}

/// Never over newer versions. The head is taken along only into an empty topic, and only when it vouches for exactly
/// what the file holds: anywhere else it would be a head that differs, which stops every writer.
fn choose(file: &Keyring, known: &Keyring) -> Choice {
    let stands: BTreeMap<String, &SignedObject> = known.objects().map(|object| (object.record_key(), object)).collect();
    let with_head = known.is_empty() && file.head_state() == HeadState::Verified;
    let mut choice = Choice::default();
    for object in file.objects() {
        if matches!(object.body(), Body::Head(_)) && !with_head {
            continue;
        }
        let key = object.record_key();
        let version = object.object().version;
        match stands.get(&key) {
            None => choice.missing.push(object.clone()),
            Some(there) if there.wire() == object.wire() => choice.present += 1,
            Some(there) if there.object().version < version => choice.missing.push(object.clone()),
            Some(there) if there.object().version > version => choice.older.push(key),
            Some(_) => choice.conflicts.push(key),
        }
    }
    choice
}

fn publish(desk: &Desk, objects: &[SignedObject]) -> Result<(), Failure> {
    let mut publisher = desk.publisher()?;
    let mut progress = Progress::new("objects published");
    for (index, some) in objects.chunks(OBJECTS_AT_ONCE).enumerate() {
        let published = desk.wait(async {
            publisher.take().await?;
            publisher.append(some).await
        })?;
        published.map_err(|error| {
            let line = format!("{error}; {} objects were published, run it again", index * OBJECTS_AT_ONCE);
            Failure::new(Exit::Unavailable, line)
        })?;
        progress.at(index * OBJECTS_AT_ONCE + some.len());
    }
    Ok(())
}

fn has(keyring: &Keyring, object: &SignedObject) -> bool {
    keyring.next_version(object.body().slot()) > object.object().version
}

fn read_export(config: &Config, path: &Path) -> Result<(Keyring, Vec<Refused>), Failure> {
    let root = config.steward.root_public_key.ok_or(Error::NoRootKey).map_err(serve::failure)?;
    import_file(VerifyingKey::from_bytes(root), path)
}

/// The keyring that an export holds, judged under a root key.
pub(super) fn import_file(root: VerifyingKey, path: &Path) -> Result<(Keyring, Vec<Refused>), Failure> {
    let unfit = |reason: String| Failure::new(Exit::Data, format!("{}: {reason}", path.display()));
    let bytes = fs::read(path).map_err(|error| unfit(error.to_string()))?;
    let imported = Keyring::import(root, &bytes, now());
    let (keyring, refused) = imported.map_err(|error| unfit(error.to_string()))?;
    let refused = refused.iter().map(|(slot, why)| Refused::new(None, slot.to_string(), why)).collect();
    Ok((keyring, refused))
}

/// What `verify` found.
#[derive(Debug, Serialize)]
struct Report {
    source: String,
    /// Records of the topic; null for a file.
    records: Option<u64>,
    /// Objects that count, by kind.
    objects: BTreeMap<String, usize>,
    head: HeadRow,
    refused: Vec<Refused>,
    unresolved: Vec<Unresolved>,
}

#[derive(Debug, Serialize)]
struct HeadRow {
    /// `verified`, `differs`, `missing`; of a file also `outdated`: objects were added after it.
    state: &'static str,
    signed: Option<String>,
    age_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Unresolved {
    key: String,
    needs: String,
}

impl Report {
    fn new(source: String, records: Option<u64>, keyring: &Keyring, refused: Vec<Refused>) -> Self {
        let mut objects = BTreeMap::new();
        for object in keyring.objects() {
            *objects.entry(object.body().kind().to_string()).or_default() += 1;
        }
        let state = match keyring.head_state() {
            HeadState::Verified => "verified",
            HeadState::Missing => "missing",
            // A file is sorted: its head comes after objects that were signed later.
            HeadState::Differs if records.is_none() => "outdated",
            HeadState::Differs => "differs",
        };
        let head = HeadRow {
            state,
            signed: keyring.head().and_then(|head| moment::written(head.time)),
            age_seconds: keyring.head_age(now()).map(|millis| millis / 1000),
        };
        let unresolved = history::unresolved(keyring);
        let unresolved =
            unresolved.into_iter().map(|(slot, need)| Unresolved { key: slot.to_string(), needs: need.to_string() });
        Self { source, records, objects, head, refused, unresolved: unresolved.collect() }
    }

    fn verdict(&self) -> Result<(), Failure> {
        let mut lines = Vec::new();
        if !self.refused.is_empty() {
            lines.push(format!("{} records are refused", self.refused.len()));
        }
        if !self.unresolved.is_empty() {
            lines.push(format!("{} objects wait for others that are not there", self.unresolved.len()));
        }
        if self.head.state == "differs" {
            lines.push(
                "the keyring is not what its signed head says: objects are hidden, rolled back or slipped in"
                    .to_owned(),
            );
        }
        if lines.is_empty() { Ok(()) } else { Err(Failure { exit: Exit::Data, lines }) }
    }
}

impl Row for Report {
    const COLUMNS: &'static [&'static str] =
        &["source", "records", "objects", "head", "head signed", "head age", "refused", "unresolved"];

    fn cells(&self) -> Vec<String> {
        let objects: Vec<String> = self.objects.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        vec![
            self.source.clone(),
            self.records.map_or_else(|| "-".to_owned(), |records| records.to_string()),
            objects.join(", "),
            self.head.state.to_owned(),
            self.head.signed.clone().unwrap_or_else(|| "-".to_owned()),
            self.head.age_seconds.map_or_else(|| "-".to_owned(), |age| format!("{age} s")),
            self.refused.len().to_string(),
            self.unresolved.len().to_string(),
        ]
    }
}

/// One transaction each.
const OBJECTS_AT_ONCE: usize = 500;

const HELP: &str = "\
Example:
  barnabas keyring export keyring-2026-11-21.export

Without the keyring no sealed record can be opened: export it regularly.";

const VERIFY_HELP: &str = "\
Examples:
  barnabas keyring verify
  barnabas keyring verify --file keyring.export --output json";

const EXPORT_HELP: &str = "\
Example:
  barnabas keyring export keyring.export";

const IMPORT_HELP: &str = "\
Example:
  barnabas keyring import keyring.export

Objects that are not signed, or older than what the keyring has, are left out and named. Nothing is overwritten by an
older version, so an import that was cut short is run again. Start gateways after it: for a running one an object
whose signer's time is over is not history, but news that it refuses.";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use barnabas_crypto::{Identity, IdentitySecret, KemSuite, Object, Secret, SigningKey, UnixMillis};

    use super::*;

    fn identity(root: &SigningKey, secret: &IdentitySecret, version: u64, by: &str) -> SignedObject {
        let identity = Identity {
            principal: "User:a".to_owned(),
            public: secret.public().clone(),
            custody: barnabas_crypto::Custodian::Client,
            created: UnixMillis::new(1),
            enrolled_by: by.to_owned(),
        };
        Object::new(Body::Identity(identity), version, UnixMillis::new(1)).sign(root).unwrap()
    }

    fn keyring(root: &SigningKey, objects: &[SignedObject]) -> Keyring {
        let mut keyring = Keyring::new(*root.public());
        for object in objects {
            keyring.apply(object.record_key().as_bytes(), Some(object.wire()), now()).unwrap();
        }
        keyring
    }

    fn head(root: &SigningKey, keyring: &mut Keyring) {
        let head = Object::new(Body::Head(keyring.head_of_now(now(), 0)), 1, now()).sign(root).unwrap();
        keyring.apply(head.record_key().as_bytes(), Some(head.wire()), now()).unwrap();
    }

    #[test]
    fn an_import_takes_what_is_missing_or_newer_and_never_overwrites() {
        let root = SigningKey::from_seed(&Secret::draw().unwrap()).unwrap();
        let (a, b) = (IdentitySecret::draw(KemSuite::X25519).unwrap(), IdentitySecret::draw(KemSuite::X25519).unwrap());
        let file = keyring(&root, &[identity(&root, &a, 2, "x"), identity(&root, &b, 1, "x")]);
        let all = choose(&file, &Keyring::new(*root.public()));
        assert_eq!((all.missing.len(), all.present), (2, 0));
        let newer = choose(&file, &keyring(&root, &[identity(&root, &a, 3, "x"), identity(&root, &b, 1, "x")]));
        assert_eq!((newer.missing.len(), newer.present, newer.older.len()), (0, 1, 1));
        let older = choose(&file, &keyring(&root, &[identity(&root, &a, 1, "x"), identity(&root, &b, 1, "y")]));
        assert_eq!((older.missing.len(), older.older.len(), older.conflicts.len()), (1, 0, 1));
    }

    #[test]
    fn a_head_is_imported_only_where_it_is_true() {
        let root = SigningKey::from_seed(&Secret::draw().unwrap()).unwrap();
        let secret = IdentitySecret::draw(KemSuite::X25519).unwrap();
        let other = IdentitySecret::draw(KemSuite::X25519).unwrap();
        let mut file = keyring(&root, &[identity(&root, &secret, 1, "x")]);
        head(&root, &mut file);
        let heads = |choice: Choice| choice.missing.iter().filter(|o| matches!(o.body(), Body::Head(_))).count();
        assert_eq!(heads(choose(&file, &Keyring::new(*root.public()))), 1);
        assert_eq!(heads(choose(&file, &keyring(&root, &[identity(&root, &other, 1, "x")]))), 0);
        let late = identity(&root, &other, 1, "x");
        file.apply(late.record_key().as_bytes(), Some(late.wire()), now()).unwrap();
        let (reread, _) = Keyring::import(*root.public(), &file.export(), now()).unwrap();
        assert_eq!(heads(choose(&reread, &Keyring::new(*root.public()))), 0);
    }

    #[test]
    fn the_verdict_fails_for_what_does_not_count_and_for_a_head_that_differs() {
        let root = SigningKey::from_seed(&Secret::draw().unwrap()).unwrap();
        let secret = IdentitySecret::draw(KemSuite::X25519).unwrap();
        let sound = keyring(&root, &[identity(&root, &secret, 1, "x")]);
        assert!(Report::new(String::new(), Some(1), &sound, Vec::new()).verdict().is_ok());
        let refused = Refused::new(Some(7), "identity/00".to_owned(), &barnabas_crypto::Refusal::BadSignature);
        let failure = Report::new(String::new(), Some(1), &sound, vec![refused]).verdict().unwrap_err();
        assert_eq!(failure.exit, Exit::Data);
        let mut differing = keyring(&root, &[]);
        head(&root, &mut differing);
        let lie = keyring(&root, &[identity(&root, &secret, 1, "x")]);
        let lie = Object::new(Body::Head(lie.head_of_now(now(), 0)), 2, now()).sign(&root).unwrap();
        differing.apply(lie.record_key().as_bytes(), Some(lie.wire()), now()).unwrap();
        assert!(Report::new(String::new(), Some(1), &differing, Vec::new()).verdict().is_err());
        assert!(Report::new(String::new(), None, &differing, Vec::new()).verdict().is_ok());
    }
}
