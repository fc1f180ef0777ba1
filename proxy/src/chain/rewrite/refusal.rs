//! Answers that the gateway gives itself: one error for a whole request, in the form that its API
//! has for it.
//!
//! Arrives: a request that will not be sent to a broker, and an error code. Leaves: a response
//! frame, or the word that there is none: for a produce request with acks=0, which has no response,
//! and for APIs whose responses have no place for an error or are not formed here; then the
//! connection has to be closed. What must never happen here: an answer that reads as success.

use bytes::{BufMut, Bytes, BytesMut};

use super::fetch::FetchRequest;
use super::metadata::MetadataRequest;
use super::produce::{self, ProduceRequest};
use super::{RewriteError, api_versions, describe_cluster, find_coordinator, share_acknowledge, share_fetch};
use crate::frame::{Call, Encoding, RequestHeader, WireError, api};

/// What to do with a request that is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Send this response.
    Answer(Bytes),
    /// The request has no response: send none, keep the connection.
    Silence,
    /// No answer can be formed: close the connection.
    Close,
}

/// Refuses a request of an API and a version that the table does not serve. Only ApiVersions has an
/// answer that a client can read whatever version it asked for (KIP-511).
pub fn refuse_unknown(call: Call) -> Refusal {
    match call.api_key {
        api::API_VERSIONS => Refusal::Answer(api_versions::unsupported_version(call.correlation_id)),
        _ => Refusal::Close,
    }
}

/// Refuses a request with one error for all that it asks for. `message` reaches the client where
/// the API has a field for it.
pub fn refuse(
    frame: &[u8],
    header: &RequestHeader<'_>,
    error_code: i16,
    message: Option<&str>,
) -> Result<Refusal, RewriteError> {
    let call = header.call;
    let answer = match call.api_key {
        api::PRODUCE => {
            let request = ProduceRequest::walk(frame, header)?;
            if request.acks == 0 {
                return Ok(Refusal::Silence);
            }
            produce::error_response(call, &request.refuse_all(frame, error_code, message)?)?
        }
        api::FETCH => FetchRequest::walk(frame, header)?.error_response(frame, call, error_code)?,
        api::METADATA => MetadataRequest::walk(frame, header)?.error_response(frame, call, error_code)?,
        api::FIND_COORDINATOR => find_coordinator::error_response(frame, header, error_code)?,
        api::API_VERSIONS => api_versions::error_response(call, error_code)?,
        api::DESCRIBE_CLUSTER => describe_cluster::error_response(call, error_code, message)?,
        api::SHARE_FETCH => share_fetch::error_response(call, error_code, message)?,
        api::SHARE_ACKNOWLEDGE => share_acknowledge::error_response(call, error_code, message)?,
        _ => return refuse_passed(call, error_code, message),
    };
    Ok(Refusal::Answer(answer))
}

/// Refuses a request of an API that is otherwise passed as bytes: those whose responses have one
/// error for all.
fn refuse_passed(call: Call, error_code: i16, message: Option<&str>) -> Result<Refusal, RewriteError> {
    let Some(shape) = SHAPES.iter().find(|shape| shape.api_key == call.api_key.0) else {
        return Ok(Refusal::Close);
    };
    let version = call.version.0;
    let encoding = call.encoding()?;
    let mut out = BytesMut::new();
    call.put_response_header(&mut out)?;
    if version >= shape.throttle_from {
        out.put_i32(0);
    }
    out.put_i16(error_code);
    for &(from, field) in shape.after_error {
        if version >= from {
            put_field(&mut out, encoding, field, version, message)?;
        }
    }
    encoding.put_no_tags(&mut out);
    Ok(Refusal::Answer(out.freeze()))
}

fn put_field(
    out: &mut BytesMut,
    encoding: Encoding,
    field: Field,
    version: i16,
    message: Option<&str>,
) -> Result<(), WireError> {
    match field {
        Field::EmptyArray | Field::EmptyBytes => encoding.put_length(out, 0)?,
        Field::EmptyString => encoding.put_string(out, "")?,
        Field::EmptyThenNull { null_from } if version < null_from => encoding.put_string(out, "")?,
        Field::EmptyThenNull { .. } | Field::NullString => encoding.put_nullable_string(out, None)?,
        Field::Flag => out.put_u8(0),
        Field::Message => encoding.put_nullable_string(out, message)?,
        Field::None16 => out.put_i16(-1),
        Field::None32 => out.put_i32(-1),
        Field::None64 => out.put_i64(-1),
        Field::NullStructure => out.put_i8(-1),
        Field::Zero32 => out.put_i32(0),
        Field::Zero64 => out.put_i64(0),
    }
    Ok(())
}

/// A response with one error code: from which version on there is a throttle time before it, and
/// what follows it from which version on.
struct Shape {
    api_key: i16,
    throttle_from: i16,
    after_error: &'static [(i16, Field)],
}

#[derive(Clone, Copy)]
enum Field {
    EmptyArray,
    EmptyBytes,
    EmptyString,
    /// A string that may be null from some version on.
    EmptyThenNull {
        null_from: i16,
    },
    Flag,
    Message,
    None16,
    None32,
    None64,
    NullString,
    NullStructure,
    Zero32,
    Zero64,
}

const SHAPES: &[Shape] = &[
    // JoinGroup: generation, protocol type and name, leader, skip assignment, member id, members
    Shape {
        api_key: 11,
        throttle_from: 2,
        after_error: &[
            (0, Field::None32),
            (7, Field::NullString),
            (0, Field::EmptyThenNull { null_from: 7 }),
            (0, Field::EmptyString),
            (9, Field::Flag),
            (0, Field::EmptyString),
            (0, Field::EmptyArray),
        ],
    },
    // Heartbeat
    Shape { api_key: 12, throttle_from: 1, after_error: &[] },
    // LeaveGroup: members
    Shape { api_key: 13, throttle_from: 1, after_error: &[(3, Field::EmptyArray)] },
    // SyncGroup: protocol type and name, assignment
    Shape {
        api_key: 14,
        throttle_from: 1,
        after_error: &[(5, Field::NullString), (5, Field::NullString), (0, Field::EmptyBytes)],
    },
    // ListGroups: groups
    Shape { api_key: 16, throttle_from: 1, after_error: &[(0, Field::EmptyArray)] },
    // SaslHandshake: mechanisms
    Shape { api_key: 17, throttle_from: i16::MAX, after_error: &[(0, Field::EmptyArray)] },
    // InitProducerId: producer id and epoch
    Shape { api_key: 22, throttle_from: 0, after_error: &[(0, Field::None64), (0, Field::None16)] },
    // AddOffsetsToTxn
    Shape { api_key: 25, throttle_from: 0, after_error: &[] },
    // EndTxn: producer id and epoch
    Shape { api_key: 26, throttle_from: 0, after_error: &[(5, Field::None64), (5, Field::None16)] },
    // SaslAuthenticate: message, exchange, session lifetime
    Shape {
        api_key: 36,
        throttle_from: i16::MAX,
        after_error: &[(0, Field::Message), (0, Field::EmptyBytes), (1, Field::Zero64)],
    },
    // ConsumerGroupHeartbeat and ShareGroupHeartbeat: message, member id, epoch, interval,
    // assignment
    Shape { api_key: 68, throttle_from: 0, after_error: GROUP_HEARTBEAT },
    Shape { api_key: 76, throttle_from: 0, after_error: GROUP_HEARTBEAT },
];

const GROUP_HEARTBEAT: &[(i16, Field)] =
    &[(0, Field::Message), (0, Field::NullString), (0, Field::Zero32), (0, Field::Zero32), (0, Field::NullStructure)];
