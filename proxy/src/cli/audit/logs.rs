//! Which logs a command reads: folders, bundles and topics arrive, logs with their keys leave.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;

use super::topic::{Spool, TopicLogs};
use super::{failed, read_key};
use crate::audit::log::checkpoint::Checkpoint;
use crate::audit::log::export::Archive;
use crate::audit::log::note::{KeyKind, NoteKey};
use crate::audit::log::reader::Reader;
use crate::audit::log::stored::Stored;
use crate::cli::{Exit, Failure};

/// One log and its key.
#[derive(Clone, Debug, Args)]
pub struct LogArgs {
    /// The log's folder, or a bundle that `audit export` made
    #[arg(value_name = "LOG")]
    pub(super) place: PathBuf,
    /// The log's public key, or a file that holds it; without it the log's own `vkey` is believed
    #[arg(long, value_name = "VKEY")]
    key: Option<String>,
    /// Which log of a bundle that has several
    #[arg(long, value_name = "ORIGIN")]
    log: Option<String>,
}

/// Logs and their keys.
#[derive(Clone, Debug, Args)]
pub struct LogsArgs {
    /// The logs: folders, bundles that `audit export` made, and all logs of a topic as topic:NAME
    #[arg(value_name = "LOG", required = true)]
    places: Vec<PathBuf>,
    /// The public key of a log, or a file that holds it; for several logs given several times. Without it the log's own `vkey` is
    /// believed
    #[arg(long, value_name = "VKEY")]
    key: Vec<String>,
    /// A gateway's configuration, which says where topic:NAME is
    #[arg(long, value_name = "FILE", id = "topic_config")]
    topic_config: Option<PathBuf>,
}

/// A log that a command reads.
pub(super) struct Source {
    /// Its files.
    pub(super) stored: Stored,
    /// Its key, if one was given.
    pub(super) key: Option<NoteKey>,
    /// Its name, as it says itself; for a log that is broken, its place.
    pub(super) name: String,
    /// Beside what an index of it lies.
    pub(super) place: PathBuf,
    /// Checkpoints of it that came with it: signed notes.
    pub(super) known: Vec<Vec<u8>>,
    /// Whether it was put together out of a topic.
    pub(super) is_of_topic: bool,
    /// What is wrong with it before it is looked into.
    pub(super) faults: Vec<String>,
}

/// All of them.
pub(super) struct Logs {
    /// The logs.
    pub(super) sources: Vec<Source>,
    /// The bundles that some of them are in.
    pub(super) archives: Vec<Arc<Archive>>,
    _spools: Vec<Spool>,
}

impl Source {
    /// Opens it for reading.
    pub(super) fn reader(&self) -> Result<Reader, Failure> {
        Reader::over(self.stored.clone(), self.key.as_ref()).map_err(failed)
    }

    fn new(stored: Stored, place: PathBuf) -> Self {
        let text = |name: &str| stored.file(name).ok().flatten();
        let checkpoint = text("checkpoint").and_then(|bytes| Checkpoint::parse_note(&bytes));
        let name = checkpoint.map_or_else(|| place.display().to_string(), |(checkpoint, _)| checkpoint.origin);
        Self { stored, key: None, name, place, known: Vec::new(), is_of_topic: false, faults: Vec::new() }
    }
}

impl LogArgs {
    /// Opens it.
    pub(super) fn open(&self) -> Result<Source, Failure> {
        let Logs { mut sources, .. } = Logs::at(std::slice::from_ref(&self.place), None)?;
        if let Some(wanted) = &self.log {
            sources.retain(|source| source.name == *wanted);
        }
        let many = sources.len() > 1;
        let names: Vec<String> = sources.iter().map(|source| source.name.clone()).collect();
        let (Some(mut source), false) = (sources.pop(), many) else {
            let place = self.place.display();
            let what = match &self.log {
                Some(log) => format!("{place} has no log `{log}`"),
                None => format!("{place} has several logs; name one by --log: {}", names.join(", ")),
            };
            return Err(Failure::new(Exit::Usage, what));
        };
        source.key = self.key.as_deref().map(|text| read_key(text, KeyKind::Log)).transpose()?;
        Ok(source)
    }
}

impl LogsArgs {
    /// Opens them.
    pub(super) fn open(&self) -> Result<Logs, Failure> {
        let mut logs = Logs::at(&self.places, self.topic_config.as_deref())?;
        let keys: Vec<NoteKey> = self.key.iter().map(|text| read_key(text, KeyKind::Log)).collect::<Result<_, _>>()?;
        if let ([source], [key]) = (logs.sources.as_mut_slice(), keys.as_slice()) {
            // Whatever the log calls itself: it is held against this key.
            source.key = Some(key.clone());
            return Ok(logs);
        }
        for key in keys {
            let mut meant = logs.sources.iter_mut().filter(|source| source.name == key.name()).peekable();
            if meant.peek().is_none() {
                let text = format!("no log that was given is called `{}`, whose key was given", key.name());
                return Err(Failure::new(Exit::Usage, text));
            }
            meant.for_each(|source| source.key = Some(key.clone()));
        }
        if let Some(source) = logs.sources.iter().find(|source| source.is_of_topic && source.key.is_none()) {
            let text = format!("give the key of `{}` by --key: a topic holds no keys", source.name);
            return Err(Failure::new(Exit::Usage, text));
        }
        Ok(logs)
    }
}

impl Logs {
    fn at(places: &[PathBuf], config: Option<&Path>) -> Result<Self, Failure> {
        let mut logs = Self { sources: Vec::new(), archives: Vec::new(), _spools: Vec::new() };
        let topic = |place: &PathBuf| Some(place.to_str()?.strip_prefix(TOPIC)?.to_owned());
        for place in places.iter().filter(|place| topic(place).is_none()) {
            logs.add(place)?;
        }
        for name in places.iter().filter_map(topic) {
            logs.add_topic(&name, config)?;
        }
        let mut names: Vec<&str> = logs.sources.iter().map(|source| source.name.as_str()).collect();
        names.sort_unstable();
        if let Some(twice) = names.windows(2).find_map(|pair| (pair.first() == pair.last()).then(|| pair.first()))
            && let Some(name) = twice
        {
            return Err(Failure::new(Exit::Usage, format!("the log `{name}` was given twice")));
        }
        Ok(logs)
    }

    /// What is wrong with topics.
    pub(super) fn topic_faults(&self) -> Vec<String> {
        self.sources
            .iter()
            .flat_map(|source| source.faults.iter().map(|fault| format!("{}: {fault}", source.name)))
            .collect()
    }

    fn add_topic(&mut self, topic: &str, config: Option<&Path>) -> Result<(), Failure> {
        let TopicLogs { logs, spool } = TopicLogs::read(topic, config)?;
        for (origin, (folder, log)) in logs {
            let known: Vec<Vec<u8>> = log.known.into_values().map(String::into_bytes).collect();
            if let Some(source) = self.sources.iter_mut().find(|source| source.name == origin) {
                // The log itself is better than what the topic has of it, and must agree with that.
                source.known.extend(known);
                continue;
            }
            let of_log = Source {
                name: origin,
                known,
                is_of_topic: true,
                faults: log.faults.into_iter().map(|fault| format!("in the topic {topic} {fault}")).collect(),
                ..Source::new(Stored::new(&folder), folder.clone())
            };
            self.sources.push(of_log);
        }
        self._spools.push(spool);
        Ok(())
    }

    fn add(&mut self, place: &Path) -> Result<(), Failure> {
        if !place.is_file() {
            self.sources.push(Source::new(Stored::new(place), place.to_owned()));
            return Ok(());
        }
        let archive = Arc::new(Archive::open(place).map_err(failed)?);
        for log in 0..archive.manifest().logs.len() {
            let beside = place.with_added_extension(log.to_string());
            self.sources.push(Source::new(Stored::exported(archive.clone(), log), beside));
        }
        self.archives.push(archive);
        Ok(())
    }
}

/// Before the name of a topic in the place of a folder.
const TOPIC: &str = "topic:";
