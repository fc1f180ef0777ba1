//! `barnabas escrow open`: shares arrive, records of any topic leave: no keystore and no client's identity is asked.
//!
//! The keyring says which session sealed a record and carries the session's wrap; an export does as well as the topic. What
//! must never happen here: a record opened by fewer shares than the root has laid down.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use barnabas_crypto::{
    EscrowId, EscrowSecret, Header, KeyId, Keyring, Place, SealedShare, SessionReader, Share, VerifyingKey,
};
use clap::Args;
use serde::Serialize;

use super::files;
use crate::cli::history::History;
use crate::cli::inspect::{self, Closed, Found, Input, Key, reveal};
use crate::cli::{ConfigArg, Exit, Failure, OutputArg, Row, keyring, moment};

/// Open records by a quorum of custodians
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct OpenArgs {
    #[command(flatten)]
    pub(super) input: Input,
    /// The folder of a custodian, or of whoever shares were passed to; may be repeated
    #[arg(long, value_name = "FOLDER", required = true)]
    pub(super) holder: Vec<PathBuf>,
    /// The passphrase of a folder without a key file; may be repeated, in the order of the folders
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Vec<PathBuf>,
    /// A share; may be repeated
    #[arg(long, value_name = "FILE", required = true)]
    pub(super) share: Vec<PathBuf>,
    /// An export of the keyring instead of the topic
    #[arg(long, value_name = "FILE")]
    pub(super) keyring: Option<PathBuf>,
    /// The file with the root's public key, instead of a configuration
    #[arg(long, value_name = "FILE", requires = "keyring")]
    pub(super) root_public_key: Option<PathBuf>,
    /// Open no records: tell for every announced session whether the quorum opens it
    #[arg(long)]
    pub(super) sessions: bool,
    #[command(flatten)]
    pub(super) config: ConfigArg,
    #[command(flatten)]
    pub(super) output: OutputArg,
}

pub(super) fn run(args: OpenArgs) -> Result<(), Failure> {
    let keyring = read_keyring(&args)?;
    let escrows = recover(&keyring, &shares(&args)?)?;
    let mut quorum = Quorum { keyring, escrows, sessions: HashMap::new() };
    if args.sessions {
        let rows = quorum.drill();
        args.output.printer().list(&rows)?;
        let closed = rows.iter().filter(|row| !row.opens).count();
        return match closed {
            0 => Ok(()),
            _ => Err(Failure::new(Exit::Denied, format!("{closed} of {} sessions do not open", rows.len()))),
        };
    }
    inspect::present(&args.input, args.output, &mut quorum)
}

fn read_keyring(args: &OpenArgs) -> Result<Keyring, Failure> {
    let Some(file) = &args.keyring else {
        return Ok(History::read(&args.config.load()?)?.keyring);
    };
    let root = match &args.root_public_key {
        Some(path) => {
            let unfit = |reason: String| Failure::new(Exit::Data, format!("{}: {reason}", path.display()));
            let text = std::fs::read_to_string(path).map_err(|error| unfit(error.to_string()))?;
            text.trim().parse().map_err(|_| unfit("not 64 hexadecimal digits".to_owned()))?
        }
        None => {
            let config = args.config.load()?;
            let none = || Failure::new(Exit::Configuration, "steward.root_public_key is missing");
            VerifyingKey::from_bytes(config.steward.root_public_key.ok_or_else(none)?)
        }
    };
    Ok(keyring::import_file(root, file)?.0)
}

/// Opens each share by whichever of the keys it is sealed to.
fn shares(args: &OpenArgs) -> Result<Vec<Share>, Failure> {
    let holders = files::open_holders(&args.holder, &args.passphrase_file)?;
    let mut opened = Vec::new();
    for path in &args.share {
        let denied = |reason: String| Failure::new(Exit::Denied, format!("{}: {reason}", path.display()));
        let share: SealedShare = files::read_share(path)?;
        let holder = holders.iter().find(|holder| holder.id() == share.holder);
        let holder =
            holder.ok_or_else(|| denied(format!("sealed to key {}, which is not among the holders", share.holder)))?;
        opened.push(share.open(holder).map_err(|error| denied(error.to_string()))?);
    }
    Ok(opened)
}

/// The escrows that the shares open. One that was retired is not in the keyring, but its custodians may still be asked:
/// then the terms of the shares stand for it.
fn recover(keyring: &Keyring, shares: &[Share]) -> Result<Vec<EscrowSecret>, Failure> {
    let mut by_escrow: BTreeMap<EscrowId, usize> = BTreeMap::new();
    for share in shares {
        *by_escrow.entry(share.terms().escrow).or_default() += 1;
    }
    let mut found = Vec::new();
    let mut lines = Vec::new();
    for id in by_escrow.keys() {
        let recovered = match keyring.escrow(*id) {
            Some(escrow) => EscrowSecret::recover(escrow, shares),
            None => EscrowSecret::recover_retired(*id, files::KEM, shares),
        };
        match recovered {
            Ok(secret) => found.push(secret),
            Err(error) => lines.push(format!("escrow {id}: {error}")),
        }
    }
    if found.is_empty() { Err(Failure { exit: Exit::Denied, lines }) } else { Ok(found) }
}

/// Opens with what the custodians have put together.
struct Quorum {
    keyring: Keyring,
    escrows: Vec<EscrowSecret>,
    sessions: HashMap<KeyId, Result<Arc<SessionReader>, Closed>>,
}

impl Quorum {
    fn session(&mut self, key_id: KeyId) -> Result<Arc<SessionReader>, Closed> {
        if let Some(known) = self.sessions.get(&key_id) {
            return known.clone();
        }
        let opened = self.open_session(key_id);
        self.sessions.insert(key_id, opened.clone());
        opened
    }

    fn open_session(&self, key_id: KeyId) -> Result<Arc<SessionReader>, Closed> {
        if let Some(reason) = self.keyring.removed_announcement(key_id) {
            return Err(Closed { state: "destroyed", note: reason.to_owned() });
        }
        let mut note = String::new();
        for escrow in &self.escrows {
            match escrow.open(&self.keyring, key_id) {
                Ok(session) => return Ok(Arc::new(session)),
                Err(error) => note = error.to_string(),
            }
        }
        Err(Closed { state: "denied", note })
    }

    fn drill(&mut self) -> Vec<SessionRow> {
        let announced: Vec<SessionRow> = self
            .keyring
            .announcements()
            .map(|announcement| {
                let terms = &announcement.terms;
                let name = |id| self.keyring.identity(id).map(|identity| identity.principal.clone());
                SessionRow {
                    key_id: announcement.key_id().to_string(),
                    topic: self.keyring.stream(terms.stream).map(|stream| stream.topic.clone()),
                    epoch: terms.epoch.number(),
                    writer: name(terms.writer),
                    since: moment::written(terms.not_before),
                    opens: self.escrows.iter().any(|escrow| escrow.open(&self.keyring, announcement.key_id()).is_ok()),
                }
            })
            .collect();
        let mut rows = announced;
        rows.sort_by(|a, b| (&a.topic, a.epoch, &a.since, &a.key_id).cmp(&(&b.topic, b.epoch, &b.since, &b.key_id)));
        rows
    }
}

impl Key for Quorum {
    fn look(&mut self, found: &mut Found, header: &Header, place: &Place<'_>, sealed: &[u8]) {
        let session = self.session(header.key_id());
        reveal(found, session, header, place, sealed);
    }
}

/// A session as `--sessions` prints it.
#[derive(Debug, Serialize)]
struct SessionRow {
    topic: Option<String>,
    epoch: u32,
    writer: Option<String>,
    since: Option<String>,
    /// Whether the quorum opens it; one from before the escrow does not open.
    opens: bool,
    key_id: String,
}

impl Row for SessionRow {
    const COLUMNS: &'static [&'static str] = &["topic", "epoch", "writer", "since", "opens", "key id"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.topic.clone().unwrap_or_default(),
            self.epoch.to_string(),
            self.writer.clone().unwrap_or_default(),
            self.since.clone().unwrap_or_default(),
            if self.opens { "yes" } else { "no" }.to_owned(),
            self.key_id.clone(),
        ]
    }
}

const HELP: &str = "\
Examples:
  barnabas escrow open orders-0/00000000000000000000.log --topic orders --holder anna --holder ben --share 1-anna.share --share 2-ben.share
  barnabas escrow open segment.log --partition 3 --holder room --share 1-room.share --share 2-room.share --keyring keyring.export --root-public-key gateway/root.pub
  barnabas escrow open --sessions --holder anna --holder ben --share 1-anna.share --share 2-ben.share --config barnabas.yaml

Needs neither keystore nor gateway: broker segments, an export of the keyring, the root's public key and a quorum.
Try it with --sessions once a year: a quorum that was never brought together is none.";
