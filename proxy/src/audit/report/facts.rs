//! What happened in a period, gathered: the events of a log arrive in their order, from its beginning, and counts, lists and the
//! history of grants leave. What came before the period counts only for how things stood when it began.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::access::Grants;
use super::occurrence::{Occurrence, Place};
use super::revocation::Revocations;

/// From a moment on, up to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first moment.
    pub from: Timestamp,
    /// The moment after the last.
    pub to: Timestamp,
}

impl Period {
    /// Whether a moment lies in it.
    #[must_use]
    pub fn has(&self, moment: Timestamp) -> bool {
        self.from <= moment && moment < self.to
    }
}

/// Everything that a report needs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Of which time.
    pub period: Period,
    /// Who could.
    pub grants: Grants,
    /// How fast who could not any more.
    pub revocations: Revocations,
    /// Who did: by principal, topic and `read` or `write`.
    pub uses: BTreeMap<(String, String, &'static str), Use>,
    /// What was refused or failed: by principal, resource, reason and kind.
    pub refusals: BTreeMap<[String; 4], Count>,
    /// Connections: by principal, address, outcome and reason.
    pub logins: BTreeMap<[String; 4], Count>,
    /// Epochs of streams by topic and number, those of before as well.
    pub epochs: BTreeMap<(String, u32), Epoch>,
    /// Session keys that were announced: by key id.
    pub sessions: BTreeMap<String, Session>,
    /// Calls to key management systems: by system, key, operation and outcome.
    pub kms: BTreeMap<[String; 4], Count>,
    /// Changes of configuration, policy and keyring, and starts and stops.
    pub changes: Vec<Change>,
    /// What is missing, or may be.
    pub gaps: Vec<Change>,
    /// Who read the log.
    pub readers: BTreeMap<String, Count>,
    /// Events by kind.
    pub kinds: BTreeMap<String, u64>,
    /// Events that went as asked and others, by hour.
    pub hours: BTreeMap<Timestamp, (u64, u64)>,
    /// The largest distance of the clock from its reference, milliseconds.
    pub clock_offset: Option<i64>,
    /// All principals that did or tried something.
    pub principals: BTreeSet<String>,
    /// Entries of the period, and those that are no events.
    pub events: u64,
    /// Entries that are no events.
    pub unread: u64,
    /// Changes of the keyring that some log has told: kind, object, when it was signed.
    told: BTreeSet<(String, String, Timestamp)>,
}

/// How often, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// How often.
    pub times: u64,
    /// First.
    pub first: Timestamp,
    /// Last.
    pub last: Timestamp,
    /// The entry of the first.
    pub entry: Place,
}

/// Use of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// How many records.
    pub records: u64,
    /// Bytes of their values.
    pub bytes: u64,
    /// How many session keys.
    pub keys: BTreeSet<String>,
    /// When.
    pub seen: Count,
}

/// The life of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// When it was signed.
    pub begun: Timestamp,
    /// When its seed was destroyed.
    pub destroyed: Option<Timestamp>,
    /// When its seed was wrapped anew, the last time.
    pub rewrapped: Option<Timestamp>,
    /// Who signed it.
    pub signed_by: String,
    /// The entry that says so.
    pub entry: Place,
}

/// A session key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Of which topic.
    pub topic: String,
    /// Of whom.
    pub principal: String,
    /// In which epoch.
    pub epoch: Option<u32>,
    /// Its cipher.
    pub suite: String,
    /// When it was announced.
    pub announced: Timestamp,
    /// Until when it may seal.
    pub until: Option<Timestamp>,
}

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub time: Timestamp,
    /// The kind of event.
    pub kind: String,
    /// Who, where the log says it.
    pub who: String,
    /// What.
    pub what: String,
    /// The entry.
    pub entry: Place,
}

impl Facts {
    /// Of a period.
    #[must_use]
    pub fn new(period: Period) -> Self {
        Self {
            period,
            grants: Grants::default(),
            revocations: Revocations::default(),
            uses: BTreeMap::new(),
            refusals: BTreeMap::new(),
            logins: BTreeMap::new(),
            epochs: BTreeMap::new(),
            sessions: BTreeMap::new(),
            kms: BTreeMap::new(),
            changes: Vec::new(),
            gaps: Vec::new(),
            readers: BTreeMap::new(),
            kinds: BTreeMap::new(),
            hours: BTreeMap::new(),
            clock_offset: None,
            principals: BTreeSet::new(),
            events: 0,
            unread: 0,
            told: BTreeSet::new(),
        }
    }

    /// Takes the next entry, as far as it is an event.
    pub fn take_entry(&mut self, event: Option<&Occurrence>) {
        match event {
            Some(event) => self.take(event),
            None => self.unread += 1,
        }
    }

    /// Takes the next event of the log.
    pub fn take(&mut self, event: &Occurrence) {
        if event.time < self.period.to {
            self.grants.take(event);
            self.epoch(event);
        }
        // What followed a revocation may have come after the period.
        self.revocations.take(event);
        if !self.period.has(event.time) {
            return;
        }
        self.events += 1;
        *self.kinds.entry(event.kind().to_owned()).or_default() += event.times();
        let hour = event.time.as_second().div_euclid(3600) * 3600;
        let (good, other) = self.hours.entry(Timestamp::from_second(hour).unwrap_or(event.time)).or_default();
        *(if event.went_well() { good } else { other }) += event.times();
        let did = event.data.authentication_info.as_ref().and_then(|who| who.principal.clone());
        self.principals.extend(did);
        self.count(event);
        if !event.went_well() && !matches!(event.kind(), "authentication" | "log.gap" | "sink.lost") {
            let key = [who(event), resource(event), reason(event), event.kind().to_owned()];
            add(&mut self.refusals, key, event);
        }
    }

    fn count(&mut self, event: &Occurrence) {
        let data = &event.data;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        match event.kind() {
            "records" if event.went_well() => self.used(event),
            "authentication" | "authentication.disowned" => {
                let address = text(&data.request_metadata.client_address);
                add(&mut self.logins, [who(event), address, event.outcome().to_owned(), reason(event)], event);
            }
            "kms.call" | "custody.unwrap" => {
                let operation = data.kms.operation.clone().unwrap_or_else(|| "unwrap".to_owned());
                let key = [text(&data.kms.system), text(&data.kms.key), operation, event.outcome().to_owned()];
                add(&mut self.kms, key, event);
            }
            "session.announced" => {
                let session = Session {
                    topic: event.topic().unwrap_or(&data.resource_name).to_owned(),
                    principal: text(&data.crypto.client),
                    epoch: data.crypto.epoch,
                    suite: text(&data.crypto.suite),
                    announced: signed(event),
                    until: data.grant.valid_to,
                };
                self.sessions.entry(text(&data.crypto.key_id)).or_insert(session);
            }
            "log.read" => add(&mut self.readers, who(event), event),
            "clock.offset" => {
                let offset = data.clock.offset_millis.unwrap_or_default();
                self.clock_offset = Some(offset.max_by_distance(self.clock_offset));
            }
            "log.gap" | "log.expired" | "sink.lost" => self.gaps.push(change(event, missing(event))),
            "gateway.started" => {
                let version = text(&data.gateway.version);
                if data.gateway.unclean == Some(true) {
                    let what = "the run before did not end by itself: up to one window of counted use may be missing";
                    self.gaps.push(change(event, what.to_owned()));
                }
                self.changes.push(change(event, format!("gateway {version} began to serve")));
            }
            "gateway.stopped" => self.changes.push(change(event, "gateway ended".to_owned())),
            kind if CHANGES.contains(&kind)
                && data.keyring.found.as_deref() != Some("baseline")
                && self.is_new(event) =>
            {
                self.changes.push(change(event, changed(event)));
            }
            _ => {}
        }
    }

    /// Each gateway tells what happens to the keyring: of several logs, the first to tell it counts.
    fn is_new(&mut self, event: &Occurrence) -> bool {
        let (Some(object), Some(issued)) = (&event.data.keyring.object, event.data.keyring.issued_at) else {
            return true;
        };
        event.place.log == 0 || self.told.insert((event.kind().to_owned(), object.clone(), issued))
    }

    fn used(&mut self, event: &Occurrence) {
        let data = &event.data;
        let way = if data.method_name == "kafka.Produce" { "write" } else { "read" };
        let key = (who(event), event.topic().unwrap_or("(several)").to_owned(), way);
        let seen = Count { times: 0, first: event.time, last: event.time, entry: event.place };
        let used = self.uses.entry(key).or_insert(Use { records: 0, bytes: 0, keys: BTreeSet::new(), seen });
        used.records += data.crypto.records.unwrap_or_default();
        used.bytes += data.crypto.bytes.unwrap_or_default();
        used.keys.extend(data.crypto.key_id.clone());
        used.seen.add(event);
        // Counts stand for a window, which may begin before its event.
        used.seen.first = used.seen.first.min(data.window.from.unwrap_or(event.time));
    }

    fn epoch(&mut self, event: &Occurrence) {
        let (Some(topic), Some(number)) = (event.topic(), event.data.crypto.epoch) else { return };
        let key = (topic.to_owned(), number);
        let time = signed(event);
        match event.kind() {
            "epoch.begun" => {
                let signed_by = event.data.keyring.signed_by.clone().unwrap_or_default();
                let epoch = Epoch { begun: time, destroyed: None, rewrapped: None, signed_by, entry: event.place };
                self.epochs.entry(key).or_insert(epoch);
            }
            "epoch.destroyed" => {
                self.epochs.entry(key).and_modify(|epoch| epoch.destroyed = Some(time));
            }
            "seed.rewrapped" => {
                self.epochs.entry(key).and_modify(|epoch| epoch.rewrapped = Some(time));
            }
            _ => {}
        }
    }
}

impl Count {
    fn add(&mut self, event: &Occurrence) {
        self.times += event.times();
        self.last = self.last.max(event.time);
    }
}

trait Distance {
    fn max_by_distance(self, other: Option<Self>) -> Self
    where
        Self: Sized;
}

impl Distance for i64 {
    fn max_by_distance(self, other: Option<Self>) -> Self {
        other.filter(|other| other.unsigned_abs() > self.unsigned_abs()).unwrap_or(self)
    }
}

fn add<K: Ord>(to: &mut BTreeMap<K, Count>, key: K, event: &Occurrence) {
    let first = Count { times: 0, first: event.time, last: event.time, entry: event.place };
    to.entry(key).or_insert(first).add(event);
}

fn who(event: &Occurrence) -> String {
    event.principal().unwrap_or("(not known)").to_owned()
}

fn resource(event: &Occurrence) -> String {
    event.topic().map_or_else(|| event.data.resource_name.clone(), |topic| format!("topic={topic}"))
}

fn reason(event: &Occurrence) -> String {
    event.data.result.reason.clone().unwrap_or_default()
}

fn signed(event: &Occurrence) -> Timestamp {
    event.data.keyring.issued_at.unwrap_or(event.time)
}

fn change(event: &Occurrence, what: String) -> Change {
    let keyring = &event.data.keyring;
    let signer = || {
        let (signed_by, signer) = (keyring.signed_by.as_deref()?, keyring.signer.as_deref().unwrap_or_default());
        Some(format!("{signed_by} {}", signer.chars().take(8).collect::<String>()))
    };
    let did = event.data.authentication_info.as_ref().and_then(|who| who.principal.clone());
    let who = did.or_else(signer).unwrap_or_default();
    Change { time: event.time, kind: event.kind().to_owned(), who, what, entry: event.place }
}

fn missing(event: &Occurrence) -> String {
    let log = &event.data.log;
    let (entries, first) = (log.entries.unwrap_or_default(), log.first_index.unwrap_or_default());
    match event.kind() {
        "log.expired" => format!("entries {first} to {} were dropped by age", log.last_index.unwrap_or(first)),
        "sink.lost" => format!("{entries} events did not reach {}", log.sink.as_deref().unwrap_or("a sink")),
        _ => format!("{entries} entries from {first} on: {}", log.gap.as_deref().unwrap_or_default()),
    }
}

fn changed(event: &Occurrence) -> String {
    let data = &event.data;
    let short = |digest: &Option<String>| digest.as_deref().unwrap_or("?").chars().take(12).collect::<String>();
    let client = data.crypto.client.as_deref().unwrap_or("?");
    let right = data.grant.right.as_deref().unwrap_or("?");
    match event.kind() {
        "configuration.changed" | "policy.changed" => {
            let keys: Vec<&str> = data.change.in_force.iter().flatten().map(String::as_str).collect();
            let keys = if keys.is_empty() { String::new() } else { format!(": {}", keys.join(", ")) };
            format!("{} to {}{keys}", short(&data.change.before), short(&data.change.after))
        }
        "configuration.refused" => data.result.message.clone().unwrap_or_default(),
        "grant.given" => format!("{client} may {right} {}", resource(event)),
        "grant.revoked" => format!("{client} may not {right} {} any more", resource(event)),
        "client.enrolled" => format!("{client}, custody of the {}", data.crypto.custody.as_deref().unwrap_or("?")),
        "epoch.begun" | "epoch.destroyed" => {
            format!("{}, epoch {}", resource(event), data.crypto.epoch.unwrap_or_default())
        }
        _ => resource(event),
    }
}

/// Kinds that change who may what, or by which keys.
const CHANGES: [&str; 14] = [
    "configuration.changed",
    "configuration.refused",
    "policy.changed",
    "delegate.certified",
    "stream.changed",
    "client.enrolled",
    "grant.given",
    "grant.revoked",
    "epoch.destroyed",
    "epoch.floor",
    "escrow.installed",
    "escrow.retired",
    "keyring.removed",
    "keyring.refused",
];
