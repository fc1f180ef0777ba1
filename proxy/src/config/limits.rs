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
    /// The largest batch after decompression, in bytes.
    pub max_inflated_bytes: usize,
    /// Requests of one connection that wait for their answer; more are not read until one is answered.
    pub max_in_flight_requests: usize,
    /// Client connections at once, all listeners together.
    pub max_connections: usize,
    /// How long connecting to a broker may take, its TLS handshake included.
    pub connect_timeout: Duration,
    /// How long connections may finish their work after SIGTERM.
    pub drain_timeout: Duration,
    /// Opened sessions that are kept, all streams together.
    pub max_cached_sessions: usize,
    /// How long an opened or own session is kept; also the longest use of one session key.
    pub max_session_age: Duration,
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
        let bytes = |key: &str, default: usize| reader.or_default(key, values::bytes(64 << 10, 2 << 30), default);
        let time = |key: &str, low: u64, high: u64, default: Duration| {
            let bounds = values::duration(Duration::from_secs(low), Duration::from_secs(high));
            reader.or_default(key, bounds, default)
        };
        let limits = (
            bytes("max_frame_bytes", DEFAULT_MAX_FRAME_BYTES),
            bytes("max_inflated_bytes", DEFAULT_MAX_INFLATED_BYTES),
            count("max_in_flight_requests", 1, 100_000, DEFAULT_MAX_IN_FLIGHT_REQUESTS),
            count("max_connections", 1, 1_000_000, DEFAULT_MAX_CONNECTIONS),
            time("connect_timeout", 1, 300, DEFAULT_CONNECT_TIMEOUT),
            time("drain_timeout", 0, 3600, DEFAULT_DRAIN_TIMEOUT),
            count("max_cached_sessions", 16, 10_000_000, DEFAULT_MAX_CACHED_SESSIONS),
            time("max_session_age", 10, 86_400, DEFAULT_MAX_SESSION_AGE),
        );
        reader.finish();
        Some(Self {
            max_frame_bytes: limits.0?,
            max_inflated_bytes: limits.1?,
            max_in_flight_requests: limits.2?,
            max_connections: limits.3?,
            connect_timeout: limits.4?,
            drain_timeout: limits.5?,
            max_cached_sessions: limits.6?,
            max_session_age: limits.7?,
        })
    }
}

/// A broker's own bound on requests (`socket.request.max.bytes`): a smaller one would refuse what the broker takes.
pub const DEFAULT_MAX_FRAME_BYTES: usize = 100 << 20;

/// Sixty-four times the broker's default `max.message.bytes`: room for JSON at its best ratio, none for a bomb.
pub const DEFAULT_MAX_INFLATED_BYTES: usize = 64 << 20;

/// Stock clients keep at most five produce requests in flight; consumers and admin clients add few.
pub const DEFAULT_MAX_IN_FLIGHT_REQUESTS: usize = 64;

/// At 32 KiB for an idle TLS connection this is 320 MiB.
pub const DEFAULT_MAX_CONNECTIONS: usize = 10_000;

/// Kafka's own clients give a connection ten seconds (`socket.connection.setup.timeout.ms`).
pub const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// As long as a client's request timeout: a produce request that was taken is answered.
pub const DEFAULT_DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// A session costs a few hundred bytes; this many serve every writer of a large cluster.
pub const DEFAULT_MAX_CACHED_SESSIONS: usize = 65_536;

/// One wrap an hour for each writer and stream costs nothing; a stolen session key is worth an hour.
pub const DEFAULT_MAX_SESSION_AGE: Duration = Duration::from_secs(3600);

pub(super) const KEYS: &[Key] = &[
    key("limits", Kind::Section, "its defaults", "What bounds memory, connections and waiting."),
    key(
        "limits.max_frame_bytes",
        Kind::Bytes,
        "`100 MiB`",
        "The largest request or response; a larger one ends the connection.",
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
    key("limits.drain_timeout", Kind::Duration, "`30s`", "How long connections may finish their work after SIGTERM."),
    key(
        "limits.max_cached_sessions",
        Kind::Number,
        "`65536`",
        "Opened sessions that are kept; the least used leaves first.",
    ),
    key("limits.max_session_age", Kind::Duration, "`1h`", "The longest use of one session key."),
];
