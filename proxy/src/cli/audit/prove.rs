//! `barnabas audit prove` and `verify-proof`: one entry for a third party. A log's folder and an index arrive, a file leaves
//! that is checked with the log's key alone.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;

use super::logs::LogArgs;
use super::{failed, read_key};
use crate::audit::log::note::KeyKind;
use crate::audit::log::tlog_proof::TlogProof;
use crate::cli::{Exit, Failure};

/// Write the proof that an entry is in the log, with the entry: a file for someone who does not have the log
#[derive(Clone, Debug, Args)]
#[command(after_help = PROVE_HELP)]
pub struct ProveArgs {
    #[command(flatten)]
    log: LogArgs,
    /// The entry's index
    index: u64,
    /// Write to this file, which must not exist, and not to standard output
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Check a proof without the log, and print the entry
#[derive(Clone, Debug, Args)]
#[command(after_help = VERIFY_HELP)]
pub struct VerifyProofArgs {
    /// The proof
    file: PathBuf,
    /// The log's public key, or a file that holds it
    #[arg(long, value_name = "VKEY")]
    key: String,
    /// The entry, where it does not travel with its proof
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,
    /// The public key of a witness, or a file that holds it; may be given several times
    #[arg(long, value_name = "VKEY")]
    witness: Vec<String>,
    /// How many of these witnesses must have cosigned; without it, all of them
    #[arg(long, value_name = "COUNT")]
    witnesses: Option<usize>,
}

pub(super) fn run(args: ProveArgs) -> Result<(), Failure> {
    let reader = args.log.open()?.reader()?;
    let proof = reader.prove(args.index).map_err(failed)?;
    // What cannot be verified is not handed out: the tree on the disk may have been changed.
    let entry = proof.entry.clone().unwrap_or_default();
    proof.verify(reader.key(), &entry).map_err(|what| Failure::new(Exit::Failed, what))?;
    let Some(path) = args.out else {
        print!("{proof}");
        return Ok(());
    };
    let refused = |error: std::io::Error| Failure::new(Exit::CannotCreate, format!("{}: {error}", path.display()));
    let mut file = std::fs::File::create_new(&path).map_err(refused)?;
    write!(file, "{proof}").map_err(refused)
}

pub(super) fn run_verify(args: VerifyProofArgs) -> Result<(), Failure> {
    let key = read_key(&args.key, KeyKind::Log)?;
    let unreadable = |error: std::io::Error| Failure::new(Exit::Failed, format!("{}: {error}", args.file.display()));
    let bytes = std::fs::read(&args.file).map_err(unreadable)?;
    let wrong = |text: String| Failure::new(Exit::Failed, format!("{}: {text}", args.file.display()));
    let proof = TlogProof::parse(&bytes).ok_or_else(|| wrong("not a proof of C2SP tlog-proof".to_owned()))?;
    let entry = match &args.entry {
        Some(path) => std::fs::read(path)?,
        None => proof.entry.clone().ok_or_else(|| wrong("it comes without its entry; give --entry".to_owned()))?,
    };
    proof.verify(&key, &entry).map_err(wrong)?;
    let mut witnesses = Vec::new();
    for text in &args.witness {
        let witness = read_key(text, KeyKind::Witness)?;
        if proof.note.is_signed_by(&witness) {
            witnesses.push(witness.name().to_owned());
        } else if proof.note.names(&witness) {
            return Err(wrong(format!("the cosignature of `{}` is not valid", witness.name())));
        }
    }
    let quorum = args.witnesses.unwrap_or(args.witness.len());
    if witnesses.len() < quorum {
        return Err(wrong(format!("{} of {quorum} witnesses have cosigned", witnesses.len())));
    }
    eprintln!("entry {} of the {} entries of `{}`, proved", proof.index, proof.checkpoint.size, key.name());
    if !witnesses.is_empty() {
        eprintln!("witnessed by {}", witnesses.join(", "));
    }
    std::io::stdout().write_all(&[&entry[..], b"\n"].concat())?;
    Ok(())
}

const PROVE_HELP: &str = "\
Example:
  barnabas audit prove /var/lib/barnabas/audit 4711 --out refusal.tlog-proof

The form is C2SP tlog-proof; the entry travels in its `extra` line.";

const VERIFY_HELP: &str = "\
Example:
  barnabas audit verify-proof refusal.tlog-proof --key audit.vkey

The entry goes to standard output, the verdict to standard error and into the exit code.";
