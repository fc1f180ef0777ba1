//! What is done offline: a custodian makes a key, the owner of the root key makes or ends an escrow, a custodian passes a
//! share on. Files arrive, files leave; no cluster is asked. Nothing that exists is overwritten.

use std::path::{Path, PathBuf};

use barnabas_crypto::{
    Body, Error as CryptoError, Escrow, EscrowId, EscrowSecret, Kind, Object, ObjectId, Removal, SealedShare, Slot,
};
use clap::Args;

use super::files::{self, Custodian, KEM};
use crate::cli::init::{self, secrets};
use crate::cli::{Exit, Failure};
use crate::keyring::now;

/// Make the key of a custodian: a folder to keep, and in it a .pub file to hand over
#[derive(Clone, Debug, Args)]
#[command(after_help = CUSTODIAN_HELP)]
pub struct CustodianArgs {
    /// The folder; its name is the custodian's, unless --name gives another
    #[arg(long, value_name = "FOLDER")]
    pub(super) dir: PathBuf,
    /// The custodian's name
    #[arg(long)]
    pub(super) name: Option<String>,
    /// Open the key by the passphrase in this file instead of a key file beside it
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
}

/// Make an escrow with the root key: a share for each custodian, and the signed object to install
#[derive(Clone, Debug, Args)]
#[command(after_help = CREATE_HELP)]
pub struct CreateArgs {
    #[command(flatten)]
    pub(super) root: RootArg,
    /// The public key of a custodian; once for each
    #[arg(long, value_name = "FILE", required = true)]
    pub(super) custodian: Vec<PathBuf>,
    /// So many custodians together open it
    #[arg(long, value_name = "NUMBER")]
    pub(super) threshold: u8,
    /// The folder for the object and the shares
    #[arg(long, value_name = "FOLDER")]
    pub(super) dir: PathBuf,
}

/// Sign the end of an escrow with the root key: what it could open it opens, new sessions are not wrapped to it
#[derive(Clone, Debug, Args)]
#[command(after_help = RETIRE_HELP)]
pub struct RetireArgs {
    #[command(flatten)]
    pub(super) root: RootArg,
    /// Which, as `escrow list` shows it
    #[arg(long, value_name = "ID")]
    pub(super) escrow: EscrowId,
    /// Why, for the auditor
    #[arg(long, value_name = "TEXT", default_value = "retired by command")]
    pub(super) reason: String,
    /// The file for the signed object, to be installed
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
}

/// Seal a share to another key: of the one who puts the shares together, or of a custodian's successor
#[derive(Clone, Debug, Args)]
#[command(after_help = PASS_HELP)]
pub struct PassArgs {
    /// The custodian's folder
    #[arg(long, value_name = "FOLDER")]
    pub(super) holder: PathBuf,
    /// The passphrase of the folder, where it has no key file
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// The share
    #[arg(long, value_name = "FILE")]
    pub(super) share: PathBuf,
    /// The public key that it is sealed to
    #[arg(long, value_name = "FILE")]
    pub(super) to: PathBuf,
    /// The file for the share as the other one opens it
    #[arg(long, value_name = "FILE")]
    pub(super) out: PathBuf,
}

/// The root key.
#[derive(Clone, Debug, Args)]
pub struct RootArg {
    /// The folder of the root key, which `init` made
    #[arg(long, value_name = "FOLDER")]
    pub(super) root: PathBuf,
    /// The passphrase of the folder, where it has no key file
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
}

pub(super) fn custodian(args: &CustodianArgs) -> Result<(), Failure> {
    let folder = args.dir.file_name().map(|name| name.to_string_lossy().into_owned());
    let name = args.name.clone().or(folder).unwrap_or_default();
    files::check_name(&name)?;
    let public = args.dir.join(PUBLIC_FILE);
    let holder = files::make_holder(&args.dir, args.passphrase_file.as_deref())?;
    files::write_public(&public, &name, holder.public())?;
    println!("custodian {name}, key {}; hand over {} and nothing else", holder.id(), public.display());
    Ok(())
}

pub(super) fn create(args: &CreateArgs) -> Result<(), Failure> {
    let custodians: Result<Vec<Custodian>, Failure> =
        args.custodian.iter().map(|path| files::read_public(path)).collect();
    let custodians = custodians?;
    // Checked before anything is written; the key exists only inside of this function.
    let root = secrets::root_key(&args.root.root, args.root.passphrase_file.as_deref())?;
    let (object, shares) = deal(args.threshold, &custodians, |escrow| {
        Object::new(Body::Escrow(escrow), 1, now())
            .sign(&root)
            .map(|signed| (signed.wire().to_vec(), signed.body().slot().id))
    })
    .map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    init::private_folder(&args.dir)?;
    for (share, custodian) in shares.iter().zip(&custodians) {
        files::write_share(&args.dir.join(share_name(share, custodian)), share)?;
    }
    // Last: without it no share is of any use.
    let file = args.dir.join(OBJECT_FILE);
    init::write_new(&file, &object.0, 0o644)?;
    println!("escrow {}: {} of {} custodians open it", object.1, args.threshold, custodians.len());
    for (share, custodian) in shares.iter().zip(&custodians) {
        println!("  {} goes to {}", args.dir.join(share_name(share, custodian)).display(), custodian.name);
    }
    println!("Next: barnabas escrow install {}", file.display());
    Ok(())
}

pub(super) fn retire(args: &RetireArgs) -> Result<(), Failure> {
    let root = secrets::root_key(&args.root.root, args.root.passphrase_file.as_deref())?;
    let target = Slot { kind: Kind::Escrow, id: ObjectId::from_bytes(*args.escrow.as_bytes()) };
    // An escrow's object has version 1 and is never changed: another key is another object.
    let removal = Object::new(Body::Removal(Removal { target, reason: args.reason.clone() }), 2, now()).sign(&root);
    let removal = removal.map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    init::write_new(&args.out, removal.wire(), 0o644)?;
    println!("Next: barnabas escrow install {}", args.out.display());
    Ok(())
}

pub(super) fn pass(args: &PassArgs) -> Result<(), Failure> {
    let share = files::read_share(&args.share)?;
    let to = files::read_public(&args.to)?;
    let passphrase: Vec<PathBuf> = args.passphrase_file.iter().cloned().collect();
    let holders = files::open_holders(std::slice::from_ref(&args.holder), &passphrase)?;
    let denied = |path: &Path, error: CryptoError| Failure::new(Exit::Denied, format!("{}: {error}", path.display()));
    let opened = holders.iter().map(|holder| share.open(holder)).next().unwrap_or(Err(CryptoError::Unwrap));
    let sealed = opened.and_then(|opened| opened.seal_to(&to.key)).map_err(|error| denied(&args.share, error))?;
    files::write_share(&args.out, &sealed)?;
    println!(
        "share {} of escrow {} is sealed to {} in {}",
        sealed.terms.index,
        sealed.terms.escrow,
        to.name,
        args.out.display()
    );
    Ok(())
}

/// Draws the key, splits it and forgets it.
fn deal<T>(
    threshold: u8,
    custodians: &[Custodian],
    sign: impl FnOnce(Escrow) -> Result<T, CryptoError>,
) -> Result<(T, Vec<SealedShare>), CryptoError> {
    let keys: Vec<_> = custodians.iter().map(|custodian| custodian.key.clone()).collect();
    let names: Vec<_> = custodians.iter().map(|custodian| custodian.name.as_str()).collect();
    let secret = EscrowSecret::draw(KEM)?;
    let sealed = secret.split(threshold, &keys)?;
    let shares = u8::try_from(sealed.len()).unwrap_or(u8::MAX);
    let escrow =
        Escrow { public: secret.public().clone(), threshold, shares, created: now(), custodians: names.join(", ") };
    Ok((sign(escrow)?, sealed))
}

fn share_name(share: &SealedShare, custodian: &Custodian) -> String {
    format!("{}-{}.share", share.terms.index, custodian.name)
}

const PUBLIC_FILE: &str = "custodian.pub";

const OBJECT_FILE: &str = "escrow.object";

const CUSTODIAN_HELP: &str = "\
Examples:
  barnabas escrow custodian --dir anna
  barnabas escrow custodian --dir safe/key --name anna --passphrase-file passphrase.txt

Made by the custodian, on a machine of their own. The folder stays there; a copy of it belongs into a safe.";

const CREATE_HELP: &str = "\
Example:
  barnabas escrow create --root gateway/root --custodian anna.pub --custodian ben.pub --custodian carl.pub --threshold 2 --dir escrow

Run where the root key is, offline. The secret key exists for a moment and is written nowhere: what is left are the
shares, each of which opens with its custodian's key only.";

const RETIRE_HELP: &str = "\
Example:
  barnabas escrow retire --root gateway/root --escrow 00112233445566778899aabbccddeeff --reason anna-left --out retired.object

What was wrapped to the escrow stays wrapped to it, so its custodians keep their shares until those records are gone.";

const PASS_HELP: &str = "\
Example:
  barnabas escrow pass --holder anna --share 1-anna.share --to room.pub --out 1-room.share

So custodians need not come together: each passes the share to the one who opens the records.";
