//! DescribeCluster, versions 0 to 2: the brokers, for administration clients (KIP-700).
//!
//! Arrives: the broker's answer. Leaves: the same with addresses rewritten. What must never happen
//! here: a broker's or a controller's own address reaching a client; version 1 lets a client ask
//! for controllers (KIP-919), and an answer about those is replaced by an error.

use bytes::{BufMut, Bytes, BytesMut};

use super::RewriteError;
use super::node_endpoints::{AddressBook, rewrite_address};
use crate::frame::{Call, ResponseHeader, Segments, Splices};

/// The broker's answer with addresses rewritten.
pub fn rewrite(frame: Bytes, header: &ResponseHeader, book: &dyn AddressBook) -> Result<Segments, RewriteError> {
    let mut splices = Splices::new(frame.clone());
    let version = header.call.version.0;
    let mut cursor = header.cursor(&frame);
    cursor.i32("throttle time")?;
    cursor.i16("error code")?;
    cursor.skip_string("error message")?;
    if version >= 1 && cursor.i8("endpoint type")? != BROKERS {
        // Controllers have ids of their own: the book, asked for a broker, could take one for the
        // other.
        return refuse_controllers(&frame, header);
    }
    cursor.skip_string("cluster id")?;
    cursor.i32("controller id")?;
    for _ in 0..cursor.count("brokers", SMALLEST_BROKER)? {
        rewrite_address(&mut cursor, &mut splices, book)?;
        cursor.skip_string("rack")?;
        if version >= 2 {
            cursor.bool("is fenced")?;
        }
        cursor.skip_tags()?;
    }
    cursor.i32("cluster authorized operations")?;
    cursor.skip_tags()?;
    cursor.finish("describe cluster response")?;
    Ok(splices.finish()?)
}

/// An answer of the gateway's own.
pub fn error_response(call: Call, error_code: i16, message: Option<&str>) -> Result<Bytes, RewriteError> {
    let encoding = call.encoding()?;
    let mut out = BytesMut::new();
    call.put_response_header(&mut out)?;
    out.put_i32(0); // throttle time
    out.put_i16(error_code);
    encoding.put_nullable_string(&mut out, message)?;
    if call.version.0 >= 1 {
        out.put_i8(BROKERS);
    }
    encoding.put_string(&mut out, "")?; // cluster id
    out.put_i32(-1); // controller id: none
    encoding.put_length(&mut out, 0)?; // brokers
    out.put_i32(i32::MIN); // cluster authorized operations: not asked
    encoding.put_no_tags(&mut out);
    Ok(out.freeze())
}

fn refuse_controllers(frame: &[u8], header: &ResponseHeader) -> Result<Segments, RewriteError> {
    let mut cursor = header.cursor(frame);
    cursor.i32("throttle time")?;
    let error_code = match cursor.i16("error code")? {
        0 => UNSUPPORTED_ENDPOINT_TYPE,
        own => own,
    };
    let message = "controllers are not reached through the gateway";
    Ok(Segments::whole(error_response(header.call, error_code, Some(message))?))
}

/// Endpoint type of brokers.
const BROKERS: i8 = 1;
/// Kafka's error code UNSUPPORTED_ENDPOINT_TYPE.
const UNSUPPORTED_ENDPOINT_TYPE: i16 = 115;
/// Node id, host length, port, rack length, tagged fields.
const SMALLEST_BROKER: usize = 11;
