//! The kinds of events: one typed table, from which `README.md` beside this file is written and which a test compares.
//!
//! Arrives: nothing. Leaves: for each kind its name, when it happens and what it carries. What must never happen here: a
//! kind or a field that the table does not know.

/// What happened. The order is that of the documentation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the table says when each of them happens")]
pub enum Kind {
    Started,
    Stopped,
    ConfigurationChanged,
    ConfigurationRefused,
    PolicyChanged,
    ClockOffset,
    Authentication,
    Disowned,
    Authorization,
    RequestRefused,
    Records,
    RecordRefused,
    SessionBegun,
    SessionOpened,
    CustodyUnwrap,
    CustodyEnded,
    KmsCall,
    DelegateCertified,
    StreamChanged,
    ClientEnrolled,
    GrantGiven,
    GrantRevoked,
    EpochBegun,
    EpochDestroyed,
    SeedRewrapped,
    FloorRaised,
    SessionAnnounced,
    EscrowInstalled,
    EscrowRetired,
    ObjectRemoved,
    ObjectRefused,
    HttpRequest,
    SinkLost,
    LogGap,
    LogExpired,
    LogRead,
    CrossCheckpoint,
    WitnessAlarm,
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The kind.
    pub kind: Kind,
    /// Behind `io.barnabas.` the CloudEvents `type`.
    pub name: &'static str,
    /// `data.methodName`; those about one Kafka API are named by it (`kafka.Produce`) instead.
    pub method: &'static str,
    /// When it happens.
    pub when: &'static str,
    /// What `data` may carry, besides what every event has. A group stands for all of its fields.
    pub fields: &'static [&'static str],
}

impl Kind {
    /// All kinds, in the order of the documentation.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| row.kind)
    }

    /// Its row.
    pub fn row(self) -> &'static Row {
        // The table has the order of the enum; a test says so.
        TABLE.get(self as usize).unwrap_or(&NO_ROW)
    }

    /// See [`Row::name`].
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The kind of a name.
    pub fn named(name: &str) -> Option<Self> {
        TABLE.iter().find(|row| row.name == name).map(|row| row.kind)
    }
}

const fn row(
    kind: Kind,
    name: &'static str,
    method: &'static str,
    when: &'static str,
    fields: &'static [&'static str],
) -> Row {
    Row { kind, name, method, when, fields }
}

const NO_ROW: Row = row(Kind::Started, "", "", "", &[]);

const WHO: &str = "authenticationInfo";
const FROM: &str = "requestMetadata";

/// Every kind.
pub const TABLE: &[Row] = &[
    row(
        Kind::Started,
        "gateway.started",
        "barnabas.Start",
        "The gateway begins to serve. `unclean`: the run before it did not end by itself; up to one window of counted use may be missing.",
        &["gateway"],
    ),
    row(
        Kind::Stopped,
        "gateway.stopped",
        "barnabas.Stop",
        "The gateway has drained and ends. Nothing but statements of the log follows before the next `gateway.started`.",
        &["gateway"],
    ),
    row(
        Kind::ConfigurationChanged,
        "configuration.changed",
        "barnabas.Reload",
        "A configuration was loaded while the gateway runs.",
        &["change"],
    ),
    row(
        Kind::ConfigurationRefused,
        "configuration.refused",
        "barnabas.Reload",
        "A configuration with a mistake was refused; the one before stays in force.",
        &["change.what", "change.before"],
    ),
    row(
        Kind::PolicyChanged,
        "policy.changed",
        "barnabas.Reload",
        "`streams` or `clients` changed: who may write and read which topic.",
        &["change.what", "change.before", "change.after"],
    ),
    row(
        Kind::ClockOffset,
        "clock.offset",
        "barnabas.Clock",
        "Once at the start and once an hour: how far this clock is from that of the steward that signed the newest head; and whenever \
         the clock was set by more than a second.",
        &["clock"],
    ),
    row(
        Kind::Authentication,
        "authentication",
        "kafka.Authentication",
        "A client has connected, or has failed to: TLS handshake, certificate without a principal, host name, time.",
        &[WHO, FROM],
    ),
    row(
        Kind::Disowned,
        "authentication.disowned",
        "kafka.Authentication",
        "A live connection was ended, since its certificate is not accepted any more after a reload.",
        &[WHO, FROM],
    ),
    row(
        Kind::Authorization,
        "authorization",
        "kafka.Produce, kafka.Fetch",
        "The first decision about a topic on a connection, and each one that differs from the one before. Topics that pass are the broker's \
         to decide: they are told when they were sealed or refused before.",
        &["authenticationInfo.principal", "authorizationInfo", "request", FROM],
    ),
    row(
        Kind::RequestRefused,
        "request.refused",
        "kafka.Request",
        "A request that would change the keyring's topic, of an API that is not served, or that is not sound.",
        &["authenticationInfo.principal", "request", FROM],
    ),
    row(
        Kind::Records,
        "records",
        "kafka.Produce, kafka.Fetch",
        "Use of a key: what one connection has sealed or opened in a window, by topic, partition, session key, API and outcome.",
        &[
            "authenticationInfo.principal",
            "request",
            FROM,
            "crypto.topic",
            "crypto.partition",
            "crypto.keyId",
            "crypto.records",
            "crypto.bytes",
            "crypto.batches",
            "crypto.firstOffset",
            "crypto.lastOffset",
            "window",
        ],
    ),
    row(
        Kind::RecordRefused,
        "records.refused",
        "kafka.Produce, kafka.Fetch",
        "A partition of a request, or a record of an answer, was refused.",
        &[
            "authenticationInfo.principal",
            "authorizationInfo",
            "request",
            FROM,
            "crypto.topic",
            "crypto.partition",
            "crypto.offset",
        ],
    ),
    row(
        Kind::SessionBegun,
        "session.begun",
        "barnabas.SessionBegun",
        "This gateway begins to seal for a client with a session key that it has announced.",
        &[
            "authenticationInfo.principal",
            "crypto.topic",
            "crypto.stream",
            "crypto.epoch",
            "crypto.keyId",
            "crypto.suite",
        ],
    ),
    row(
        Kind::SessionOpened,
        "session.opened",
        "barnabas.SessionOpened",
        "This gateway has unwrapped a session key for a reader, or was asked to and may not. Once for each reader and session, until the \
         session leaves the cache.",
        &[
            "authenticationInfo.principal",
            "crypto.topic",
            "crypto.stream",
            "crypto.epoch",
            "crypto.keyId",
            "crypto.identity",
            "crypto.writer",
        ],
    ),
    row(
        Kind::CustodyUnwrap,
        "custody.unwrap",
        "barnabas.CustodyUnwrap",
        "The seed of a client in the gateway's custody was asked of its key management system.",
        &["crypto.client", "crypto.identity", "kms"],
    ),
    row(
        Kind::CustodyEnded,
        "custody.ended",
        "barnabas.CustodyEnded",
        "A client's secret is used no more: its key management system has said no, or has been silent for too long.",
        &["crypto.client", "crypto.identity", "kms"],
    ),
    row(
        Kind::KmsCall,
        "kms.call",
        "barnabas.KmsCall",
        "A call to a key management system other than an unwrap for custody: wrapping, making a key, unwrapping an epoch.",
        &["kms"],
    ),
    row(
        Kind::DelegateCertified,
        "delegate.certified",
        "barnabas.DelegateCertified",
        "The root has certified a delegate, or renewed or shortened its certificate.",
        &["keyring", "delegate"],
    ),
    row(
        Kind::StreamChanged,
        "stream.changed",
        "barnabas.StreamChanged",
        "A topic was put under sealing, or its terms changed.",
        &["keyring", "crypto.topic", "crypto.stream", "crypto.suite", "crypto.sealed"],
    ),
    row(
        Kind::ClientEnrolled,
        "client.enrolled",
        "barnabas.ClientEnrolled",
        "A client has got an identity.",
        &["keyring", "crypto.client", "crypto.identity", "crypto.custody", "crypto.enrolledBy"],
    ),
    row(
        Kind::GrantGiven,
        "grant.given",
        "barnabas.GrantGiven",
        "A client may write or read the epochs of a stream from now on, or for other epochs or another time than before.",
        &["keyring", "crypto.client", "crypto.identity", "crypto.topic", "crypto.stream", "grant"],
    ),
    row(
        Kind::GrantRevoked,
        "grant.revoked",
        "barnabas.GrantRevoked",
        "A grant was ended.",
        &["keyring", "crypto.client", "crypto.identity", "crypto.topic", "crypto.stream", "grant"],
    ),
    row(
        Kind::EpochBegun,
        "epoch.begun",
        "barnabas.EpochBegun",
        "A stream has a new epoch: by time, by command, or after a revocation.",
        &["keyring", "crypto.topic", "crypto.stream", "crypto.epoch", "grant.validFrom", "grant.validTo"],
    ),
    row(
        Kind::EpochDestroyed,
        "epoch.destroyed",
        "barnabas.EpochDestroyed",
        "The seed of an epoch was destroyed: what was sealed in it is noise.",
        &["keyring", "crypto.topic", "crypto.stream", "crypto.epoch"],
    ),
    row(
        Kind::SeedRewrapped,
        "seed.rewrapped",
        "barnabas.SeedRewrapped",
        "The seed of an epoch or of a client was wrapped anew, by another version of its key or by another system.",
        &["keyring", "crypto.topic", "crypto.stream", "crypto.epoch", "crypto.client", "crypto.identity", "kms.key"],
    ),
    row(
        Kind::FloorRaised,
        "epoch.floor",
        "barnabas.FloorRaised",
        "No session may begin in an epoch below this one any more.",
        &["keyring", "crypto.topic", "crypto.stream", "crypto.epoch"],
    ),
    row(
        Kind::SessionAnnounced,
        "session.announced",
        "barnabas.SessionAnnounced",
        "A writer, here or elsewhere, has announced a session key.",
        &[
            "keyring",
            "crypto.client",
            "crypto.writer",
            "crypto.topic",
            "crypto.stream",
            "crypto.epoch",
            "crypto.keyId",
            "crypto.suite",
            "crypto.escrows",
            "grant.validFrom",
            "grant.validTo",
        ],
    ),
    row(
        Kind::EscrowInstalled,
        "escrow.installed",
        "barnabas.EscrowInstalled",
        "Sessions are wrapped to a key that a quorum of custodians holds.",
        &["keyring", "escrow"],
    ),
    row(
        Kind::EscrowRetired,
        "escrow.retired",
        "barnabas.EscrowRetired",
        "An escrow key ended: no session is wrapped to it any more.",
        &["keyring"],
    ),
    row(
        Kind::ObjectRemoved,
        "keyring.removed",
        "barnabas.ObjectRemoved",
        "An object of the keyring counts no more: a client, a delegate, a stream, a session of a destroyed epoch.",
        &["keyring"],
    ),
    row(
        Kind::ObjectRefused,
        "keyring.refused",
        "barnabas.ObjectRefused",
        "A record of the keyring's topic was refused: forged, older than what counts, beyond its signer's power.",
        &["keyring.object", "keyring.offset"],
    ),
    row(
        Kind::HttpRequest,
        "http.request",
        "http.METHOD",
        "A request to the HTTP bridge, with the outcome of each record.",
        &[WHO, FROM, "crypto.topic", "http"],
    ),
    row(
        Kind::SinkLost,
        "sink.lost",
        "barnabas.SinkLost",
        "A sink did not get events that are in the log, since it was too slow or away.",
        &["log.sink", "log.entries", "window"],
    ),
    row(
        Kind::LogGap,
        "log.gap",
        "barnabas.LogGap",
        "Entries are missing: refused by a full queue or a disk that failed, or lost in a crash. Written as soon as it can be.",
        &["log.gap", "log.firstIndex", "log.entries", "window.from"],
    ),
    row(
        Kind::LogExpired,
        "log.expired",
        "barnabas.LogExpired",
        "Entries were deleted, since their retention is over. Their hashes stay.",
        &["log.firstIndex", "log.lastIndex", "window.to"],
    ),
    row(
        Kind::LogRead,
        "log.read",
        "barnabas.LogRead",
        "Somebody has read the audit log through the gateway.",
        &[WHO, FROM, "log.firstIndex", "log.lastIndex", "log.filter"],
    ),
    row(
        Kind::CrossCheckpoint,
        "log.cross_checkpoint",
        "barnabas.CrossCheckpoint",
        "The checkpoint of another gateway's log, as this gateway has seen it.",
        &["log.origin", "log.size", "log.root", "log.signer", "log.checkpoint"],
    ),
    row(
        Kind::WitnessAlarm,
        "log.witness_alarm",
        "barnabas.WitnessAlarm",
        "A witness says that a log, this one or one that this gateway witnesses, is shorter than it was or is not its continuation: \
         it was rolled back, or there are two of it.",
        &["log.origin", "log.size", "log.witness", "log.seen"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_order_of_the_enum_and_every_name_once() {
        let mut names = std::collections::BTreeSet::new();
        for (index, row) in TABLE.iter().enumerate() {
            assert_eq!(row.kind as usize, index, "{}", row.name);
            assert!(names.insert(row.name), "{}", row.name);
            assert_eq!(Kind::named(row.name), Some(row.kind));
            assert_eq!(row.kind.row().name, row.name);
        }
        assert_eq!(Kind::WitnessAlarm as usize + 1, TABLE.len());
    }
}
