//! FindCoordinator, versions 0 to 6: which broker keeps a group, a transaction or a share group.
//!
//! Arrives: the broker's answer, for one key up to v3 and for a list from v4 on (KIP-699). Leaves:
//! the same with addresses rewritten. What must never happen here: a broker's own address reaching
//! a client. Where there is an error the broker writes node -1 with an empty host, which stays.

use bytes::{BufMut, Bytes, BytesMut};

use super::RewriteError;
use super::node_endpoints::{AddressBook, rewrite_address};
use crate::frame::{Encoding, RequestHeader, ResponseHeader, Segments, Splices, WireError};

/// The broker's answer with addresses rewritten.
pub fn rewrite(frame: Bytes, header: &ResponseHeader, book: &dyn AddressBook) -> Result<Segments, RewriteError> {
    let mut splices = Splices::new(frame.clone());
    let version = header.call.version.0;
    let mut cursor = header.cursor(&frame);
    if version >= 1 {
        cursor.i32("throttle time")?;
    }
    if version < FIRST_BATCHED {
        cursor.i16("error code")?;
        if version >= 1 {
            cursor.skip_string("error message")?;
        }
        rewrite_address(&mut cursor, &mut splices, book)?;
    } else {
        for _ in 0..cursor.count("coordinators", SMALLEST_COORDINATOR)? {
            cursor.skip_string("key")?;
            rewrite_address(&mut cursor, &mut splices, book)?;
            cursor.i16("error code")?;
            cursor.skip_string("error message")?;
            cursor.skip_tags()?;
        }
    }
    cursor.skip_tags()?;
    cursor.finish("find coordinator response")?;
    Ok(splices.finish()?)
}

/// An answer of the gateway's own: no coordinator, and this error for each key that was asked for.
pub fn error_response(frame: &[u8], header: &RequestHeader<'_>, error_code: i16) -> Result<Bytes, RewriteError> {
    let version = header.call.version.0;
    let encoding = header.encoding;
    let mut cursor = header.cursor(frame);
    let mut out = BytesMut::new();
    header.call.put_response_header(&mut out)?;
    if version >= 1 {
        out.put_i32(0); // throttle time
    }
    if version < FIRST_BATCHED {
        out.put_i16(error_code);
        if version >= 1 {
            encoding.put_nullable_string(&mut out, None)?;
        }
        put_no_node(&mut out, encoding)?;
    } else {
        cursor.i8("key type")?;
        let count = cursor.count("coordinator keys", 1)?;
        encoding.put_length(&mut out, count)?;
        for _ in 0..count {
            encoding.put_string(&mut out, cursor.string("coordinator key")?)?;
            put_no_node(&mut out, encoding)?;
            out.put_i16(error_code);
            encoding.put_nullable_string(&mut out, None)?;
            encoding.put_no_tags(&mut out);
        }
    }
    encoding.put_no_tags(&mut out);
    Ok(out.freeze())
}

fn put_no_node(out: &mut BytesMut, encoding: Encoding) -> Result<(), WireError> {
    out.put_i32(-1);
    encoding.put_string(out, "")?;
    out.put_i32(-1);
    Ok(())
}

/// First version that asks for several keys.
const FIRST_BATCHED: i16 = 4;
/// Key length, node id, host length, port, error code, message length, tagged fields.
const SMALLEST_COORDINATOR: usize = 14;
