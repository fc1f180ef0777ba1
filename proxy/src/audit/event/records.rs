//! Events of the data path: what was counted in a window.

use barnabas_crypto::KeyId;
use jiff::Timestamp;

use super::content::{Crypto, Outcome, Text, Window};
use super::encode::moment;
use super::{Api, Counts, Event, Kind, Peer, Use};

impl Event {
    /// What one connection has used of one key in a window.
    pub fn records(
        peer: &Peer,
        (api, outcome): (Api, Use),
        (topic, partition): (&str, i32),
        key_id: Option<KeyId>,
        counts: &Counts,
        window: (Timestamp, Timestamp),
    ) -> Self {
        let mut event = Self::of_request(Kind::Records, peer, api.name(), None);
        event.content.resource_name = Text::from(format!("topic={topic}"));
        event.content.result = Outcome { status: outcome.status, reason: Some(outcome.reason), ..Outcome::default() };
        event.content.crypto = Some(Crypto {
            topic: Some(Text::from(topic)),
            partition: Some(partition),
            key_id: key_id.map(|key_id| key_id.to_string()),
            ..crypto(counts)
        });
        event.content.window = Some(spanned(window, None));
        event
    }

    /// What found no cell of its own: so many pieces, counted together.
    pub fn folded(peer: &Peer, pieces: u64, counts: &Counts, window: (Timestamp, Timestamp)) -> Self {
        let mut event = Self::of_request(Kind::Records, peer, "Several", None);
        event.content.resource_name = Text::from(format!("client={}", peer.principal));
        event.content.result.reason = Some("folded");
        event.content.crypto = Some(crypto(counts));
        event.content.window = Some(spanned(window, Some(pieces)));
        event
    }
}

fn crypto(counts: &Counts) -> Crypto {
    Crypto {
        records: Some(counts.records),
        bytes: Some(counts.bytes),
        batches: Some(counts.batches),
        first_offset: counts.offsets.map(|(first, _)| first),
        last_offset: counts.offsets.map(|(_, last)| last),
        ..Crypto::default()
    }
}

fn spanned((from, to): (Timestamp, Timestamp), folded: Option<u64>) -> Window {
    Window { from: Some(moment(from)), to: Some(moment(to)), folded }
}
