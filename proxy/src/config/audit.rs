//! `audit`: where the audit log is kept, under which name, and what happens when it cannot be written.
//! A mapping arrives, an [`Audit`] leaves. Without the section nothing is written; the log's key is in the keystore.

use std::path::PathBuf;
use std::time::Duration;

use super::key::{Key, Kind, key};
use super::mistake::Refusal;
use super::node::Node;
use super::reader::Reader;
use super::sinks::Sink;
use super::values::{self, Places};
use super::witnesses::Witnessing;
use crate::audit::event::OnFailure;

/// The audit log of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// The log's folder, which the gateway makes.
    pub directory: PathBuf,
    /// The log's name, for ever.
    pub origin: String,
    /// When it cannot be written.
    pub on_failure: OnFailure,
    /// How long use of keys is counted before it is told.
    pub window: Duration,
    /// When a checkpoint is signed.
    pub checkpoint: Checkpoint,
    /// How much may wait for the disk.
    pub queue: Queue,
    /// Entries older than this are dropped; `None` keeps all.
    pub retention: Option<Duration>,
    /// Full bundles of entries older than this are compressed; `None` compresses none.
    pub compress_after: Option<Duration>,
    /// Where entries go besides; names are distinct.
    pub sinks: Vec<Sink>,
    /// Who cosigns this log, and whose logs are cosigned here.
    pub witnessing: Witnessing,
}

/// When a checkpoint is signed: whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Entries have waited so long.
    pub interval: Duration,
    /// So many entries wait.
    pub entries: u64,
}

/// How much may wait for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Entries.
    pub entries: usize,
    /// Bytes.
    pub bytes: usize,
}

impl Audit {
    pub(super) fn parse(reader: Reader<'_>, places: &Places<'_>, nothing: &Node) -> Option<Self> {
        let directory = reader.required("directory", |text| places.path(text), "name a folder of its own for the log");
        let remedy = "name the log as a URL without a scheme, such as audit.example.com/gateway-1; it stays for ever";
        let origin = reader.required("origin", origin, remedy);
        let on_failure = reader.or_default("on_failure", values::choice(ON_FAILURE), OnFailure::Block);
        let window = values::duration(Duration::from_secs(1), Duration::from_secs(60));
        let window = reader.or_default("window", window, DEFAULT_WINDOW);
        let checkpoint = reader.section_or_empty("checkpoint", nothing).and_then(Checkpoint::parse);
        let queue = reader.section_or_empty("queue", nothing).and_then(Queue::parse);
        let day = Duration::from_secs(86_400);
        let retention = reader.optional("retention", values::duration(day, 36_500 * day));
        let compress_after = reader.optional("compress_after", values::duration(Duration::from_secs(60), 3_650 * day));
        let sinks: Vec<_> = reader.sections("sinks").into_iter().map(|sink| Sink::parse(sink, places)).collect();
        refuse_doubles(&reader, &sinks);
        let witnessing = Witnessing::parse(&reader, places, origin.as_deref());
        reader.finish();
        Some(Self {
            directory: directory?,
            origin: origin?,
            on_failure: on_failure?,
            window: window?,
            checkpoint: checkpoint?,
            queue: queue?,
            retention: retention?,
            compress_after: compress_after?,
            sinks: sinks.into_iter().collect::<Option<_>>()?,
            witnessing: witnessing?,
        })
    }
}

impl Checkpoint {
    fn parse(reader: Reader<'_>) -> Option<Self> {
        let interval = values::duration(Duration::from_millis(100), Duration::from_secs(3600));
        let interval = reader.or_default("interval", interval, DEFAULT_CHECKPOINT_INTERVAL);
        let entries = reader.or_default("entries", values::number(1, 1_000_000), DEFAULT_CHECKPOINT_ENTRIES);
        reader.finish();
        Some(Self { interval: interval?, entries: entries?.unsigned_abs() })
    }
}

impl Queue {
    fn parse(reader: Reader<'_>) -> Option<Self> {
        let entries = reader.or_default("entries", values::number(1_000, 10_000_000), DEFAULT_QUEUE_ENTRIES);
        let bytes = reader.or_default("bytes", values::bytes(1 << 20, 4 << 30), DEFAULT_QUEUE_BYTES);
        reader.finish();
        Some(Self { entries: usize::try_from(entries?).ok()?, bytes: bytes? })
    }
}

fn refuse_doubles(reader: &Reader<'_>, sinks: &[Option<Sink>]) {
    for (index, sink) in sinks.iter().enumerate() {
        let before = || sinks.iter().take(index).flatten();
        if let Some(sink) = sink
            && before().any(|other| other.name == sink.name)
        {
            let refusal = Refusal::new(format!("the name `{}` is taken", sink.name), "give every sink its own name");
            reader.refuse(&format!("sinks[{index}].name"), refusal);
        }
    }
}

/// C2SP tlog-checkpoint: a URL without a scheme; signed notes forbid spaces and `+` in a key's name.
fn origin(text: &str) -> Result<String, Refusal> {
    let wrong = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if text.is_empty() || text.len() > MOST_ORIGIN || text.contains("://") || text.contains(wrong) {
        let remedy = "write a URL without a scheme, without spaces and `+`, such as audit.example.com/gateway-1";
        return Err(Refusal::new(format!("`{text}` is not the name of a log"), remedy));
    }
    Ok(text.to_owned())
}

const ON_FAILURE: &[(&str, OnFailure)] = &[("block", OnFailure::Block), ("alarm", OnFailure::Alarm)];

/// Short enough that an auditor sees use at once, long enough that a busy partition is six entries a minute.
const DEFAULT_WINDOW: Duration = Duration::from_secs(10);

/// What came after the last checkpoint is under the ratchet alone; a signature a second costs nothing.
const DEFAULT_CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
const DEFAULT_CHECKPOINT_ENTRIES: i64 = 1_000;

/// A second of the fastest disks, a minute of an ordinary day.
const DEFAULT_QUEUE_ENTRIES: i64 = 65_536;
const DEFAULT_QUEUE_BYTES: usize = 64 << 20;

/// It stands in every entry.
const MOST_ORIGIN: usize = 256;

pub(super) const KEYS: &[Key] = &[
    key(
        "audit",
        Kind::Section,
        "no audit log",
        "The audit log: who could, who did, and that nothing is missing. Needs `keystore`.",
    ),
    key("audit.directory", Kind::Path, "required", "The log's folder; the gateway makes it. One for each gateway."),
    key(
        "audit.origin",
        Kind::Text,
        "required",
        "The log's name for ever, a URL without a scheme: `audit.example.com/gateway-1`. Different for each gateway.",
    ),
    key(
        "audit.on_failure",
        Kind::Choice,
        "`block`",
        "While the log cannot be written, requests of sealed topics are refused with a code that clients retry (`block`), or go on, with an \
         alarm and a counted gap (`alarm`).",
    ),
    key("audit.window", Kind::Duration, "`10s`", "How long use of keys is counted before it is told; 1 to 60 seconds."),
    key("audit.checkpoint", Kind::Section, "its defaults", "When the log's state is signed; whichever comes first."),
    key("audit.checkpoint.interval", Kind::Duration, "`1s`", "When entries have waited so long."),
    key("audit.checkpoint.entries", Kind::Number, "`1000`", "When so many entries wait."),
    key(
        "audit.queue",
        Kind::Section,
        "its defaults",
        "How much may wait for the disk; what comes beyond is refused, and counted.",
    ),
    key("audit.queue.entries", Kind::Number, "`65536`", "Entries."),
    key("audit.queue.bytes", Kind::Bytes, "`64 MiB`", "Bytes."),
    key(
        "audit.retention",
        Kind::Duration,
        "everything is kept",
        "Entries older than this are dropped, with a signed statement; their hashes stay.",
    ),
    key(
        "audit.compress_after",
        Kind::Duration,
        "nothing is compressed",
        "Full bundles of entries older than this are compressed.",
    ),
];
