//! Requests of clients that name topics by id.
//!
//! Arrives: an API. Leaves: the fields of its request up to the last topic id.

use super::Field::{Before, Blob, Bytes, Each, Id, Name, Numbers, Since, Text, Texts};
use super::{Field, Schema};
use crate::frame::{ApiKey, api};

/// The table's row for an API; `None` for those without topic ids.
pub(super) fn find(api: ApiKey) -> Option<&'static Schema> {
    TABLE.iter().find(|schema| schema.api == api)
}

/// The first version of OffsetFetch that names topics by id.
pub(super) const FIRST_OFFSET_FETCH: i16 = 10;

static TABLE: [Schema; 9] = [
    Schema {
        api: api::PRODUCE,
        since: 13,
        // Transactional id; acks, timeout.
        fields: &[Text, Bytes(2 + 4), Each(&[Id, Each(&[Bytes(4), Blob])])],
    },
    Schema {
        api: api::FETCH,
        since: 13,
        fields: &[
            Before(15, &[Bytes(4)]), // replica id
            // Wait, smallest and largest answer, isolation level, session id and epoch.
            Bytes(4 + 4 + 4 + 1 + 4 + 4),
            // Partition: index, leader epoch, offset, last epoch, log start, size.
            Each(&[Id, Each(&[Bytes(4 + 4 + 8 + 4 + 8 + 4)])]),
            Each(&[Id, Numbers(4)]), // forgotten
        ],
    },
    Schema { api: api::METADATA, since: 10, fields: &[Each(&[Id, Name])] },
    Schema {
        api: api::OFFSET_COMMIT,
        since: 10,
        // Group, generation, member, instance. Partition: index, offset, leader epoch, metadata.
        fields: &[Text, Bytes(4), Text, Text, Each(&[Id, Each(&[Bytes(4 + 8 + 4), Text])])],
    },
    Schema {
        api: api::OFFSET_FETCH,
        since: FIRST_OFFSET_FETCH,
        // Group, member, epoch.
        fields: &[Each(&[Text, Text, Bytes(4), Each(&[Id, Numbers(4)])])],
    },
    Schema { api: api::DELETE_TOPICS, since: 6, fields: &[Each(&[Name, Id])] },
    Schema {
        api: api::CONSUMER_GROUP_HEARTBEAT,
        since: 0,
        fields: &[
            Text, // group
            Text, // member
            Bytes(4),
            Text,              // instance
            Text,              // rack
            Bytes(4),          // rebalance timeout
            Texts,             // names of topics
            Since(1, &[Text]), // regular expression
            Text,              // assignor
            Each(&[Id, Numbers(4)]),
        ],
    },
    Schema {
        api: api::SHARE_FETCH,
        since: 0,
        fields: &[
            Text, // group
            Text, // member
            // Session epoch, wait, smallest and largest answer, most records, batch size.
            Bytes(4 * 6),
            Since(2, &[Bytes(1 + 1)]), // acquire mode, whether locks are renewed
            Each(&[Id, Each(&[Bytes(4), ACKNOWLEDGED])]),
            Each(&[Id, Numbers(4)]), // forgotten
        ],
    },
    Schema {
        api: api::SHARE_ACKNOWLEDGE,
        since: 0,
        // Group, member, session epoch; whether locks are renewed.
        fields: &[Text, Text, Bytes(4), Since(2, &[Bytes(1)]), Each(&[Id, Each(&[Bytes(4), ACKNOWLEDGED])])],
    },
];

/// First and last offset, and what became of each between.
const ACKNOWLEDGED: Field = Each(&[Bytes(8 + 8), Numbers(1)]);
