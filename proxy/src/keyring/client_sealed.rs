//! What the gateway checks of records that a client has sealed itself: it has no key for them.
//!
//! Arrives: the header of a sealed record. Leaves: the word that a session of this very client, on this stream and
//! an epoch that is open, stands behind it. Whether the bytes are authentic only a reader can tell.

use std::sync::Arc;

use barnabas_crypto::{Header, IdentityId, StreamId};

use super::live::{LiveKeyring, now};
use crate::chain::refusal::Reason;
use crate::chain::seal::ClientSealed;

/// The sessions that one client has announced for one stream.
pub struct AnnouncedSessions {
    live: Arc<LiveKeyring>,
    writer: IdentityId,
    stream: StreamId,
}

impl AnnouncedSessions {
    /// The sessions of `writer` on `stream`.
    pub fn new(live: Arc<LiveKeyring>, writer: IdentityId, stream: StreamId) -> Self {
        Self { live, writer, stream }
    }
}

impl ClientSealed for AnnouncedSessions {
    fn check(&self, header: &Header) -> Result<(), Reason> {
        self.live.read(|keyring| {
            let announcement = keyring.announcement(header.key_id()).ok_or(Reason::UnknownSession)?;
            let terms = &announcement.terms;
            if terms.writer != self.writer {
                return Err(Reason::NotWriter);
            }
            if terms.stream != self.stream {
                return Err(Reason::WrongStream);
            }
            let at = now();
            let open = terms.epoch >= keyring.minimum_epoch(terms.stream) && at < terms.not_after;
            if open { Ok(()) } else { Err(Reason::StaleEpoch) }
        })
    }
}
