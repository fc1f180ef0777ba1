//! Broker addresses: the one place where an address of a broker becomes an address of ours.
//!
//! Arrives: a cursor at a node id. Leaves: edits that replace host and port. What must never happen
//! here: an address for which the book has no mapping going through. Every message of Kafka that
//! carries a broker's address has node id, host and port in this order, so one function serves them
//! all. The list of node endpoints at the end of Produce, Fetch, ShareFetch and ShareAcknowledge
//! responses names the new leaders of partitions that have moved (KIP-951).

use bytes::BufMut;

use super::RewriteError;
use crate::frame::put::put_unsigned_varint;
use crate::frame::{Cursor, Encoding, Splices, WireError};

/// Knows under which address of the gateway a broker is reached.
pub trait AddressBook: Send + Sync {
    /// The host and port under which clients reach the broker `node_id`, which calls itself
    /// `host:port`. Fails with [`RewriteError::NoAddress`] if there is none.
    fn advertised(&self, node_id: i32, host: &str, port: i32) -> Result<(String, u16), RewriteError>;
}

/// Rewrites the address at the cursor: node id, host, port. Returns by how many bytes the message
/// grows.
///
/// An empty host is no address: brokers write it where there is no node (FindCoordinator with an
/// error).
pub(super) fn rewrite_address(
    cursor: &mut Cursor<'_>,
    splices: &mut Splices,
    book: &dyn AddressBook,
) -> Result<i64, RewriteError> {
    let encoding = cursor.encoding();
    let node_id = cursor.i32("node id")?;
    let start = cursor.position();
    let host = cursor.string("host")?;
    let port = cursor.i32("port")?;
    if host.is_empty() {
        return Ok(0);
    }
    let (host, port) = book.advertised(node_id, host, port)?;
    let span = cursor.span_from(start)?;
    let written = splices.write(span, |out| {
        encoding.put_string(out, &host)?;
        out.put_i32(i32::from(port));
        Ok::<(), WireError>(())
    })?;
    Ok(written as i64 - span.len() as i64)
}

/// Rewrites a list of node endpoints. Returns by how many bytes the message grows.
pub(super) fn rewrite_list(
    cursor: &mut Cursor<'_>,
    splices: &mut Splices,
    book: &dyn AddressBook,
) -> Result<i64, RewriteError> {
    let mut growth = 0;
    for _ in 0..cursor.count("node endpoints", SMALLEST_ENDPOINT)? {
        growth += rewrite_address(cursor, splices, book)?;
        cursor.skip_string("rack")?;
        cursor.skip_tags()?;
    }
    Ok(growth)
}

/// Steps over a list of node endpoints.
pub(super) fn skip_list(cursor: &mut Cursor<'_>) -> Result<(), WireError> {
    for _ in 0..cursor.count("node endpoints", SMALLEST_ENDPOINT)? {
        cursor.i32("node id")?;
        cursor.string("host")?;
        cursor.i32("port")?;
        cursor.skip_string("rack")?;
        cursor.skip_tags()?;
    }
    Ok(())
}

/// Rewrites the list of node endpoints where it is tagged field 0 at the end of a response; reads
/// all tagged fields there.
pub(super) fn rewrite_tagged(
    cursor: &mut Cursor<'_>,
    splices: &mut Splices,
    book: &dyn AddressBook,
) -> Result<(), RewriteError> {
    if cursor.encoding() == Encoding::Classic {
        return Ok(());
    }
    cursor.tags_with_size(|tag, size, value| {
        if tag != NODE_ENDPOINTS_TAG {
            return Ok(false);
        }
        let old = value.remaining();
        let growth = rewrite_list(value, splices, book)?;
        if growth != 0 {
            let new = usize::try_from(old as i64 + growth).unwrap_or_default();
            let new = u32::try_from(new).map_err(|_| WireError::TooLong { field: "node endpoints", length: new })?;
            splices.write(size, |out| {
                put_unsigned_varint(out, new);
                Ok::<(), WireError>(())
            })?;
        }
        Ok(true)
    })
}

/// Node id, host length, port, rack length, tagged fields.
const SMALLEST_ENDPOINT: usize = 11;

/// Tag of the list in Produce v10+ and Fetch v16+ responses.
const NODE_ENDPOINTS_TAG: u32 = 0;
