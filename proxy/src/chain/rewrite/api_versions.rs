//! ApiVersions: what the broker offers, cut to what the gateway serves.
//!
//! Arrives: the broker's answer. Leaves: the same with every API that is refused taken out and
//! every range cut to the table of `frame::api`; feature tags stay as the broker wrote them, since
//! old librdkafka fails on some that others add. What must never happen here: an API or a version
//! offered that the gateway would then refuse, or pass unread.
//!
//! Source: message schemas of Kafka 4.2; KIP-35, KIP-511 (an unknown version is answered in the
//! form of version 0).

use std::ops::RangeInclusive;

use bytes::{BufMut, Bytes, BytesMut};

use super::{RewriteError, count_field, keep};
use crate::frame::{ApiKey, Call, CorrelationId, Cursor, Encoding, ResponseHeader, Segments, Splices, WireError, api};

/// One API as an ApiVersions answer lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OfferedApi {
    /// API key.
    pub key: ApiKey,
    /// Oldest version.
    pub oldest: i16,
    /// Newest version.
    pub newest: i16,
}

/// The broker's answer, cut to what the gateway serves. Brokers that do not know the version have to
/// answer in the form of version 0; of one that answers in another form, no more is believed than
/// that, and the client is sent back to version 0, which every broker knows.
pub fn rewrite(frame: Bytes, header: &ResponseHeader) -> Result<Segments, RewriteError> {
    let (error_code, _) = start(&frame, header)?;
    match cut_all(frame, header) {
        Err(_) if error_code == UNSUPPORTED_VERSION => {
            let answer = only_versions(header.call.correlation_id, 0..=0);
            Ok(Segments::whole(answer))
        }
        cut => cut,
    }
}

fn cut_all(frame: Bytes, header: &ResponseHeader) -> Result<Segments, RewriteError> {
    let mut splices = Splices::new(frame.clone());
    let (_, mut cursor) = start(&frame, header)?;
    let encoding = cursor.encoding();
    let count = count_field(&mut cursor, "api keys", SMALLEST_ENTRY)?;
    let mut left = 0;
    for _ in 0..count.value {
        let start = cursor.position();
        let broker = read_entry(&mut cursor)?;
        let range = cursor.span_from(start)?;
        cursor.skip_tags()?;
        match cut(broker) {
            None => splices.remove(cursor.span_from(start)?),
            Some(ours) => {
                left += 1;
                if ours != broker {
                    splices.write(range, |out| {
                        put_entry(out, ours);
                        Ok::<(), WireError>(())
                    })?;
                }
            }
        }
    }
    count.patch(&mut splices, encoding, left)?;
    Ok(splices.finish()?)
}

/// What an answer lists: for the gateway's own use of a broker.
pub fn decode(frame: &[u8], header: &ResponseHeader) -> Result<(i16, Vec<OfferedApi>), RewriteError> {
    let (error_code, mut cursor) = start(frame, header)?;
    let mut offered = Vec::new();
    for _ in 0..cursor.count("api keys", SMALLEST_ENTRY)? {
        let entry = read_entry(&mut cursor)?;
        cursor.skip_tags()?;
        keep(&mut offered, entry, "api keys")?;
    }
    Ok((error_code, offered))
}

/// A request of the gateway's own.
pub fn request(call: Call, client_id: &str) -> Result<Bytes, RewriteError> {
    let mut out = BytesMut::new();
    call.put_request_header(&mut out, client_id)?;
    if call.version.0 >= 3 {
        let encoding = call.encoding()?;
        encoding.put_string(&mut out, "barnabas")?;
        encoding.put_string(&mut out, env!("CARGO_PKG_VERSION"))?;
        encoding.put_no_tags(&mut out);
    }
    Ok(out.freeze())
}

/// The answer to an ApiVersions request of a version that the gateway does not know: in the form of
/// version 0, and it names the versions of ApiVersions that are known, so that the client can ask
/// again.
pub fn unsupported_version(correlation_id: CorrelationId) -> Bytes {
    let own = api::find(api::API_VERSIONS).and_then(api::Api::offered).unwrap_or(0..=0);
    only_versions(correlation_id, own)
}

fn only_versions(correlation_id: CorrelationId, versions: RangeInclusive<i16>) -> Bytes {
    let mut out = BytesMut::new();
    out.put_i32(correlation_id.0);
    out.put_i16(UNSUPPORTED_VERSION);
    out.put_i32(1);
    put_entry(&mut out, OfferedApi { key: api::API_VERSIONS, oldest: *versions.start(), newest: *versions.end() });
    out.freeze()
}

/// An answer of the gateway's own that carries an error and no API.
pub fn error_response(call: Call, error_code: i16) -> Result<Bytes, RewriteError> {
    let encoding = call.encoding()?;
    let mut out = BytesMut::new();
    call.put_response_header(&mut out)?;
    out.put_i16(error_code);
    encoding.put_length(&mut out, 0)?;
    if call.version.0 >= 1 {
        out.put_i32(0); // throttle time
    }
    encoding.put_no_tags(&mut out);
    Ok(out.freeze())
}

/// Reads the error code; what follows is in the form of version 0 if the broker does not know the
/// version.
fn start<'f>(frame: &'f [u8], header: &ResponseHeader) -> Result<(i16, Cursor<'f>), WireError> {
    let mut cursor = header.cursor(frame);
    let error_code = cursor.i16("error code")?;
    if error_code == UNSUPPORTED_VERSION {
        cursor = Cursor::new(frame, cursor.position(), Encoding::Classic);
    }
    Ok((error_code, cursor))
}

fn read_entry(cursor: &mut Cursor<'_>) -> Result<OfferedApi, WireError> {
    Ok(OfferedApi {
        key: ApiKey(cursor.i16("api key")?),
        oldest: cursor.i16("min version")?,
        newest: cursor.i16("max version")?,
    })
}

fn put_entry(out: &mut BytesMut, entry: OfferedApi) {
    out.put_i16(entry.key.0);
    out.put_i16(entry.oldest);
    out.put_i16(entry.newest);
}

/// What is left of the broker's range; `None` if nothing is.
fn cut(broker: OfferedApi) -> Option<OfferedApi> {
    let ours = api::find(broker.key)?.offered()?;
    let oldest = broker.oldest.max(*ours.start());
    let newest = broker.newest.min(*ours.end());
    (oldest <= newest).then_some(OfferedApi { key: broker.key, oldest, newest })
}

/// Kafka's error code UNSUPPORTED_VERSION.
pub const UNSUPPORTED_VERSION: i16 = 35;
/// Key, oldest and newest version.
const SMALLEST_ENTRY: usize = 6;
