//! `barnabas audit export`: everything that an auditor needs, in one signed file. Logs arrive and are verified; a bundle leaves.
//! Of a period, it has the entries of that time and those before it that say who could read what when it began; hashes are
//! there of all entries, so that every proof goes on to hold.

use std::ops::Range;
use std::path::PathBuf;

use clap::Args;
use jiff::Timestamp;
use serde::Deserialize;

use super::logs::{LogsArgs, Source};
use super::progress::progress;
use super::report::verified;
use super::{failed, signer};
use crate::audit::event::TYPE_PREFIX;
use crate::audit::log::checkpoint::Checkpoint;
use crate::audit::log::export::{Export, MOST_LOGS, write};
use crate::audit::log::reader::Reader;
use crate::audit::log::statement::StatementList;
use crate::audit::log::verify::Report;
use crate::audit::log::{Error, Pen};
use crate::cli::{Exit, Failure, load_sound};

/// Write logs into one signed file for an auditor: entries, proofs, checkpoints, cosignatures, keys; they are verified first
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct ExportArgs {
    #[command(flatten)]
    logs: LogsArgs,
    /// The file; must not be there
    #[arg(long, value_name = "FILE")]
    bundle: PathBuf,
    /// Only entries from this moment on (RFC 3339), and those before it that say who had which right
    #[arg(long, value_name = "TIME")]
    from: Option<Timestamp>,
    /// Only entries before this moment (RFC 3339)
    #[arg(long, value_name = "TIME")]
    to: Option<Timestamp>,
    /// A gateway's configuration, with whose log's key the bundle is signed; for several gateways given several times
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Sign nothing: for who has none of the keys
    #[arg(long, conflicts_with = "config")]
    unsigned: bool,
    /// Of several logs: one that the others speak of and that is not there any more; may be given several times
    #[arg(long, value_name = "ORIGIN")]
    without: Vec<String>,
}

pub(super) fn run(args: ExportArgs) -> Result<(), Failure> {
    let logs = args.logs.open()?;
    if args.config.is_empty() && !args.unsigned {
        let text =
            "name the gateway's configuration by --config, so that the log's key signs the bundle, or write --unsigned";
        return Err(Failure::new(Exit::Usage, text));
    }
    if logs.sources.len() > MOST_LOGS {
        return Err(Failure::new(Exit::Usage, format!("a bundle has {MOST_LOGS} logs at the most")));
    }
    if args.bundle.exists() {
        return Err(Failure::new(Exit::CannotCreate, format!("{} is there already", args.bundle.display())));
    }
    // Before the logs are verified: what is read now speaks of nothing that a later checkpoint does not cover.
    let begun: Vec<Export> = logs.sources.iter().map(begin).collect::<Result<_, _>>()?;
    let verified = verified(&logs, &args.without, true)?;
    let mut exports = Vec::new();
    for (export, (source, report)) in begun.into_iter().zip(&verified) {
        exports.push(complete(export, source, report, (args.from, args.to))?);
    }
    let pens = sign(&args.config, &mut exports)?;
    let period = (args.from, args.to);
    let made = write(&args.bundle, &exports, period, &pens, &progress("entries written"));
    let manifest = made.map_err(|error| match error {
        Error::Io { .. } => Failure::new(Exit::CannotCreate, error.to_string()),
        other => failed(other),
    })?;
    for (log, export) in manifest.logs.iter().zip(&exports) {
        let there: u64 = log.bundles.iter().map(|range| entries_of(range, log.size)).sum();
        println!("{}: {there} of {} entries", export.key.name(), log.size);
    }
    let signed = match pens.as_slice() {
        [] => "nobody".to_owned(),
        pens => pens.iter().map(|pen| pen.key().name()).collect::<Vec<_>>().join(", "),
    };
    println!("{}: signed by {signed}", args.bundle.display());
    Ok(())
}

fn begin(source: &Source) -> Result<Export, Failure> {
    let key = match &source.key {
        Some(key) => key.clone(),
        None => source.reader()?.key().clone(),
    };
    Export::begin(source.stored.clone(), key).map_err(failed)
}

fn complete(
    export: Export,
    source: &Source,
    report: &Report,
    period: (Option<Timestamp>, Option<Timestamp>),
) -> Result<Export, Failure> {
    let parsed = Checkpoint::parse_note(report.checkpoint.as_bytes());
    let (checkpoint, _) = parsed.ok_or_else(|| Failure::new(Exit::Data, "the log has no checkpoint"))?;
    let all = report.expired_end / BUNDLE..report.size.div_ceil(BUNDLE);
    let bundles = if period == (None, None) {
        joined(all.filter(|bundle| !source.stored.is_left_out(*bundle)), 0)
    } else {
        let statements = export.statements.as_deref().and_then(|bytes| StatementList::parse(bytes, &export.key));
        let said: Vec<u64> = statements.iter().flat_map(|list| &list.items).map(|item| item.entry / BUNDLE).collect();
        chosen(&source.reader()?, report.size, period, &said)?
    };
    Ok(Export { note: report.checkpoint.clone(), checkpoint, bundles, ..export })
}

/// The bundles that have something of a period, or something that counts in it.
fn chosen(
    reader: &Reader,
    size: u64,
    (from, to): (Option<Timestamp>, Option<Timestamp>),
    said: &[u64],
) -> Result<Vec<Range<u64>>, Failure> {
    let mut kept = Vec::new();
    let progress = progress("entries looked at");
    for entry in reader.entries(0..size) {
        let (index, entry) = entry.map_err(failed)?;
        let bundle = index / BUNDLE;
        if kept.last() == Some(&bundle) {
            continue;
        }
        progress(index, size);
        if said.contains(&bundle) || Glance::at(&entry).is_none_or(|glance| glance.counts(from, to)) {
            kept.push(bundle);
        }
    }
    progress(size, size);
    // A manifest is small: a log that is chosen in many pieces comes with what lies between them.
    let mut gap = 0;
    loop {
        let ranges = joined(kept.iter().copied(), gap);
        if ranges.len() <= MOST_RANGES {
            return Ok(ranges);
        }
        gap = gap * 2 + 1;
    }
}

/// As ranges; those with so many or fewer between them become one.
fn joined(bundles: impl Iterator<Item = u64>, gap: u64) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for bundle in bundles {
        match ranges.last_mut() {
            Some(last) if bundle <= last.end + gap => last.end = bundle + 1,
            _ => ranges.push(bundle..bundle + 1),
        }
    }
    ranges
}

fn entries_of(range: &Range<u64>, size: u64) -> u64 {
    (range.end * BUNDLE).min(size) - (range.start * BUNDLE).min(size)
}

/// What is looked at of an entry.
#[derive(Deserialize)]
struct Glance<'a> {
    #[serde(borrow)]
    r#type: std::borrow::Cow<'a, str>,
    time: Timestamp,
}

impl<'a> Glance<'a> {
    /// `None` for what is no event: it is kept.
    fn at(entry: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(entry).ok()
    }

    fn counts(&self, from: Option<Timestamp>, to: Option<Timestamp>) -> bool {
        let kind = self.r#type.strip_prefix(TYPE_PREFIX).unwrap_or_default();
        let stands = STANDING.iter().any(|group| kind.starts_with(group));
        to.is_none_or(|to| self.time < to) && (stands || from.is_none_or(|from| self.time >= from))
    }
}

/// The pens of the logs whose keys are in these gateways' keystores. The keys of witnesses are in the configurations, too.
fn sign(configs: &[PathBuf], exports: &mut [Export]) -> Result<Vec<Pen>, Failure> {
    let mut pens: Vec<Pen> = Vec::new();
    for path in configs {
        let config = load_sound(path).map_err(Failure::mistakes)?;
        let signer = signer(&config)?;
        if let Some(audit) = &config.audit
            && let Some(export) = exports.iter_mut().find(|export| export.key.name() == audit.origin)
            && !audit.witnessing.witnesses.is_empty()
        {
            let keys = audit.witnessing.witnesses.iter().map(|witness| format!("{}\n", witness.key));
            export.witnesses = Some(keys.collect::<String>().into_bytes());
        }
        let mut is_of_any = false;
        for key in exports.iter().map(|export| &export.key) {
            let pen = signer.log_pen(key.name()).map_err(failed)?;
            let is_its = pen.key() == key;
            is_of_any |= is_its;
            if is_its && pens.iter().all(|known| known.key() != key) {
                pens.push(pen);
            }
        }
        if !is_of_any {
            let text = format!("the keystore of {} has the key of none of these logs", path.display());
            return Err(Failure::new(Exit::Denied, text));
        }
    }
    Ok(pens)
}

/// Entries of a bundle (C2SP tlog-tiles).
const BUNDLE: u64 = 256;

/// Below what a manifest takes.
const MOST_RANGES: usize = 10_000;

/// What says how things stood when a period began: who is who, who may what, which epochs there are.
const STANDING: [&str; 6] = ["grant.", "client.", "epoch.", "seed.", "stream.", "keyring.removed"];

const HELP: &str = "\
Examples:
  barnabas audit export /var/lib/barnabas/audit --bundle audit.bundle --config barnabas.yaml
  barnabas audit export audit --bundle march.bundle --config barnabas.yaml --from 2026-03-01T00:00:00Z --to 2026-04-01T00:00:00Z
  barnabas audit export gateway-1/audit gateway-2/audit --bundle all.bundle --config barnabas.yaml
  barnabas audit verify march.bundle --key audit.vkey

The bundle is a tar archive: `tar xf march.bundle && sha256sum -c digests` unpacks it and compares all digests.";
