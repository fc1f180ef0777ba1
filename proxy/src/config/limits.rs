//! `limits`: what bounds memory, connections and waiting, whatever a peer sends.
//! A mapping arrives, [`Limits`] leaves. Every default is a constant with its reason; no limit can be switched off.

use std::time::Duration;

use super::key::{Key, Kind, key};
use super::mistake::Refusal;
use super::reader::Reader;
use super::values;

/// The bounds of one gateway process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest request or response, in bytes.
    pub max_frame_bytes: usize,
    /// The largest request of a client that is not known yet.
    pub max_first_frame_bytes: usize,
    /// What large frames of all connections may hold together, in bytes.
    pub max_memory_bytes: usize,
    /// What one request or one answer may hold with all that is made of it, in bytes.
    pub max_connection_bytes: usize,
    /// The largest batch after decompression, in bytes.
    pub max_inflated_bytes: usize,
    /// Requests of one connection that wait for their answer; more are not read until one is answered.
    pub max_in_flight_requests: usize,
    /// Client connections at once, all listeners together.
    pub max_connections: usize,
    /// How long connecting to a broker may take, its TLS handshake included.
    pub connect_timeout: Duration,
    /// How long a broker may take to answer.
    pub answer_timeout: Duration,
    /// How long connections may finish their work after SIGTERM.
    pub drain_timeout: Duration,
    /// Opened sessions that are kept, all streams together.
    pub max_cached_sessions: usize,
    /// How long an opened or own session is kept; also the longest use of one session key.
    pub max_session_age: Duration,
    /// Records that one session key seals.
    pub max_session_records: u64,
    /// Bytes of values that one session key seals.
    pub max_session_bytes: u64,
}

impl Limits {
    pub(super) fn parse(reader: Reader<'_>) -> Option<Self> {
        let count = |key: &str, low: i64, high: i64, default: usize| {
            let read = |text: &str| {
                let value = values::number(low, high)(text)?;
                usize::try_from(value).map_err(|_| Refusal::new("out of bounds", "write a smaller number"))
            };
            reader.or_default(key, read, default)
        };
        let within = |key: &str, low: usize, high: usize, default: usize| {
            reader.or_default(key, values::bytes(low, high), default)
        };
        let bytes = |key: &str, default: usize| within(key, 64 << 10, 2 << 30, default);
        let time = |key: &str, low: u64, high: u64, default: Duration| {
            let bounds = values::duration(Duration::from_secs(low), Duration::from_secs(high));
            reader.or_default(key, bounds, default)
        };
        let max_frame_bytes = bytes("max_frame_bytes", DEFAULT_MAX_FRAME_BYTES);
        // What depends on the largest frame follows it where it is not written.
        let frame = max_frame_bytes.unwrap_or(DEFAULT_MAX_FRAME_BYTES);
        let frames = |key: &str, count: usize, default: usize| {
            within(key, frame.saturating_mul(count), MOST_MEMORY_BYTES, default.max(frame.saturating_mul(count)))
        };
        let limits = (
            max_frame_bytes,
            within("max_first_frame_bytes", 4 << 10, 2 << 30, DEFAULT_MAX_FIRST_FRAME_BYTES),
            frames("max_memory_bytes", FRAMES_IN_MEMORY, DEFAULT_MAX_MEMORY_BYTES),
            frames("max_connection_bytes", FRAMES_OF_CONNECTION, DEFAULT_MAX_CONNECTION_BYTES),
            bytes("max_inflated_bytes", DEFAULT_MAX_INFLATED_BYTES),
            count("max_in_flight_requests", 1, 100_000, DEFAULT_MAX_IN_FLIGHT_REQUESTS),
            count("max_connections", 1, 1_000_000, DEFAULT_MAX_CONNECTIONS),
            time("connect_timeout", 1, 300, DEFAULT_CONNECT_TIMEOUT),
            time("answer_timeout", 1, 86_400, DEFAULT_ANSWER_TIMEOUT),
            time("drain_timeout", 0, 3600, DEFAULT_DRAIN_TIMEOUT),
            count("max_cached_sessions", 16, 10_000_000, DEFAULT_MAX_CACHED_SESSIONS),
            time("max_session_age", 10, 86_400, DEFAULT_MAX_SESSION_AGE),
            count("max_session_records", 1_000, FORMAT_RECORDS as i64, FORMAT_RECORDS),
            within("max_session_bytes", 1 << 20, FORMAT_BYTES, FORMAT_BYTES),
        );
        reader.finish();
        Some(Self {
            max_frame_bytes: limits.0?,
            max_first_frame_bytes: limits.1?,
            max_memory_bytes: limits.2?,
            max_connection_bytes: limits.3?,
            max_inflated_bytes: limits.4?,
            max_in_flight_requests: limits.5?,
            max_connections: limits.6?,
            connect_timeout: limits.7?,
            answer_timeout: limits.8?,
            drain_timeout: limits.9?,
            max_cached_sessions: limits.10?,
            max_session_age: limits.11?,
            max_session_records: limits.12? as u64,
            max_session_bytes: limits.13? as u64,
        })
    }
}

/// A broker's own bound on requests (`socket.request.max.bytes`): a smaller one would refuse what the broker takes.
pub const DEFAULT_MAX_FRAME_BYTES: usize = 100 << 20;

/// What a broker takes of a client that has not authenticated (`sasl.server.max.receive.size`).
pub const DEFAULT_MAX_FIRST_FRAME_BYTES: usize = 512 << 10;

/// A gateway with this and the rest of what it holds fits a machine of 2 GiB; see [`FRAMES_IN_MEMORY`].
pub const DEFAULT_MAX_MEMORY_BYTES: usize = 1 << 30;

/// Two of the largest frames, as they came and as they leave, and a batch that was inflated in between.
pub const DEFAULT_MAX_CONNECTION_BYTES: usize = 300 << 20;

/// Sixty-four times the broker's default `max.message.bytes`: room for JSON at its best ratio, none for a bomb.
pub const DEFAULT_MAX_INFLATED_BYTES: usize = 64 << 20;

/// Stock clients keep at most five produce requests in flight; consumers and admin clients add few.
pub const DEFAULT_MAX_IN_FLIGHT_REQUESTS: usize = 64;

/// At 32 KiB for an idle TLS connection this is 320 MiB.
pub const DEFAULT_MAX_CONNECTIONS: usize = 10_000;

/// Kafka's own clients give a connection ten seconds (`socket.connection.setup.timeout.ms`).
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Ten times what Kafka's clients wait by default (`request.timeout.ms`): clients that were told to wait longer may.
pub const DEFAULT_ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// As long as a client's request timeout: a produce request that was taken is answered.
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// A session costs a few hundred bytes; this many serve every writer of a large cluster.
pub const DEFAULT_MAX_CACHED_SESSIONS: usize = 65_536;

/// What the format allows one session key (crypto-lib, ENVELOPE.md): 2^32 records and 1 TiB.
const FORMAT_RECORDS: usize = 1 << 32;
const FORMAT_BYTES: usize = 1 << 40;

/// One wrap an hour for each writer and stream costs nothing; a stolen session key is worth an hour.
pub const DEFAULT_MAX_SESSION_AGE: Duration = Duration::from_secs(3600);

/// Large requests have an eighth of the memory, and the largest must fit.
const FRAMES_IN_MEMORY: usize = 8;

/// The frame, and what is made of it.
const FRAMES_OF_CONNECTION: usize = 2;

/// A tebibyte: larger machines run several gateways.
const MOST_MEMORY_BYTES: usize = 1 << 40;

pub(super) const KEYS: &[Key] = &[
    key("limits", Kind::Section, "its defaults", "What bounds memory, connections and waiting."),
    key(
        "limits.max_frame_bytes",
        Kind::Bytes,
        "`100 MiB`",
        "The largest request or response; a larger one ends the connection.",
    ),
    key(
        "limits.max_first_frame_bytes",
        Kind::Bytes,
        "`512 KiB`",
        "The largest request of a client that showed no certificate, until the broker has answered it.",
    ),
    key(
        "limits.max_memory_bytes",
        Kind::Bytes,
        "`1 GiB`",
        "What large frames of all connections may hold together; more are not read until there is room. At least eight \
         times `max_frame_bytes`.",
    ),
    key(
        "limits.max_connection_bytes",
        Kind::Bytes,
        "`300 MiB`",
        "What one request, or one answer, may hold together with what is made of it; a larger one is refused. At least \
         twice `max_frame_bytes`.",
    ),
    key(
        "limits.max_inflated_bytes",
        Kind::Bytes,
        "`64 MiB`",
        "The largest batch after decompression; a larger one is refused.",
    ),
    key(
        "limits.max_in_flight_requests",
        Kind::Number,
        "`64`",
        "Unanswered requests of one connection; more are not read until one is answered.",
    ),
    key(
        "limits.max_connections",
        Kind::Number,
        "`10000`",
        "Client connections at once; more are closed when they arrive.",
    ),
    key("limits.connect_timeout", Kind::Duration, "`10s`", "Connecting to a broker, TLS handshake included."),
    key(
        "limits.answer_timeout",
        Kind::Duration,
        "`5m`",
        "How long a broker may take to answer before the connection is ended; twelve times as long when a client joins a \
         group.",
    ),
    key("limits.drain_timeout", Kind::Duration, "`30s`", "How long connections may finish their work after SIGTERM."),
    key(
        "limits.max_cached_sessions",
        Kind::Number,
        "`65536`",
        "Opened sessions that are kept; the least used leaves first.",
    ),
    key("limits.max_session_age", Kind::Duration, "`1h`", "The longest use of one session key."),
    key(
        "limits.max_session_records",
        Kind::Number,
        "`4294967296`",
        "Records that one session key seals at most; no batch may have more.",
    ),
    key(
        "limits.max_session_bytes",
        Kind::Bytes,
        "`1024GiB`",
        "Bytes of values that one session key seals at most; no batch may have more.",
    ),
];
