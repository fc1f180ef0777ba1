//! Answers of brokers that name topics by id.
//!
//! Arrives: an API. Leaves: the fields of its answer up to the last topic id.

use super::Field::{Blob, Bytes, Each, Id, Maybe, Name, Numbers, One, Since, Text, Texts};
use super::{Field, Schema};
use crate::frame::{ApiKey, api};

/// The table's row for an API; `None` for those without topic ids.
pub(super) fn find(api: ApiKey) -> Option<&'static Schema> {
    TABLE.iter().find(|schema| schema.api == api)
}

static TABLE: [Schema; 17] = [
    Schema {
        api: api::PRODUCE,
        since: 13,
        // Partition: index, error, offset, time, log start; errors of records; message.
        fields: &[Each(&[Id, Each(&[Bytes(4 + 2 + 8 + 8 + 8), Each(&[Bytes(4), Text]), Text])])],
    },
    Schema {
        api: api::FETCH,
        since: 13,
        fields: &[
            Bytes(4 + 2 + 4), // throttle time, error, session id
            Each(&[
                Id,
                Each(&[
                    Bytes(4 + 2 + 8 + 8 + 8), // index, error, high watermark, last stable offset, log start
                    Each(&[Bytes(8 + 8)]),    // aborted transactions
                    Bytes(4),                 // preferred replica
                    Blob,
                ]),
            ]),
        ],
    },
    Schema {
        api: api::METADATA,
        since: 10,
        fields: &[
            Bytes(4),                                // throttle time
            Each(&[Bytes(4), Text, Bytes(4), Text]), // brokers
            Text,                                    // cluster
            Bytes(4),                                // controller
            Each(&[
                Bytes(2), // error
                Name,
                Id,
                Bytes(1), // internal
                // Error, index, leader, epoch; replicas, those in sync, those offline.
                Each(&[Bytes(2 + 4 + 4 + 4), Numbers(4), Numbers(4), Numbers(4)]),
                Bytes(4), // operations
            ]),
        ],
    },
    Schema { api: api::OFFSET_COMMIT, since: 10, fields: &[Bytes(4), Each(&[Id, Each(&[Bytes(4 + 2)])])] },
    Schema {
        api: api::OFFSET_FETCH,
        since: 10,
        // Partition: index, offset, leader epoch, metadata, error.
        fields: &[Bytes(4), Each(&[Text, Each(&[Id, Each(&[Bytes(4 + 8 + 4), Text, Bytes(2)])]), Bytes(2)])],
    },
    Schema {
        api: api::CREATE_TOPICS,
        since: 7,
        fields: &[
            Bytes(4),
            Each(&[
                Name,
                Id,
                Bytes(2), // error
                Text,
                Bytes(4 + 2),                          // partitions, replication factor
                Each(&[Text, Text, Bytes(1 + 1 + 1)]), // configuration
            ]),
        ],
    },
    Schema { api: api::DELETE_TOPICS, since: 6, fields: &[Bytes(4), Each(&[Name, Id, Bytes(2), Text])] },
    Schema { api: api::CONSUMER_GROUP_HEARTBEAT, since: 0, fields: HEARTBEAT },
    Schema {
        api: api::CONSUMER_GROUP_DESCRIBE,
        since: 0,
        fields: &[
            Bytes(4),
            Each(&[
                GROUP,
                Each(&[
                    Text, // member
                    Text, // instance
                    Text, // rack
                    Bytes(4),
                    Text,  // client id
                    Text,  // client host
                    Texts, // topics
                    Text,  // regular expression
                    ASSIGNED,
                    ASSIGNED, // target
                    Since(1, &[Bytes(1)]),
                ]),
                Bytes(4), // operations
            ]),
        ],
    },
    Schema {
        api: api::DESCRIBE_TOPIC_PARTITIONS,
        since: 0,
        fields: &[
            Bytes(4),
            Each(&[
                Bytes(2), // error
                Name,
                Id,
                Bytes(1), // internal
                // Error, index, leader, epoch; replicas in sync, eligible, last known, offline.
                Each(&[Bytes(2 + 4 + 4 + 4), Numbers(4), Numbers(4), Numbers(4), Numbers(4), Numbers(4)]),
                Bytes(4), // operations
            ]),
        ],
    },
    Schema { api: api::SHARE_GROUP_HEARTBEAT, since: 0, fields: HEARTBEAT },
    Schema {
        api: api::SHARE_GROUP_DESCRIBE,
        since: 0,
        fields: &[
            Bytes(4),
            Each(&[
                GROUP,
                // Member, rack, epoch, client id, client host, topics.
                Each(&[Text, Text, Bytes(4), Text, Text, Texts, ASSIGNED]),
                Bytes(4), // operations
            ]),
        ],
    },
    Schema {
        api: api::SHARE_FETCH,
        since: 0,
        fields: &[
            Bytes(4 + 2), // throttle time, error
            Text,
            Bytes(4), // lock timeout
            Each(&[
                Id,
                Each(&[
                    Bytes(4 + 2), // index, error
                    Text,
                    Bytes(2), // error of acknowledging
                    Text,
                    One(&[Bytes(4 + 4)]), // leader
                    Blob,
                    Each(&[Bytes(8 + 8 + 2)]), // acquired
                ]),
            ]),
        ],
    },
    Schema {
        api: api::SHARE_ACKNOWLEDGE,
        since: 0,
        fields: &[
            Bytes(4 + 2), // throttle time, error
            Text,
            Since(2, &[Bytes(4)]), // lock timeout
            Each(&[Id, Each(&[Bytes(4 + 2), Text, One(&[Bytes(4 + 4)])])]),
        ],
    },
    Schema {
        api: api::DESCRIBE_SHARE_GROUP_OFFSETS,
        since: 0,
        fields: &[
            Bytes(4),
            Each(&[
                Text, // group
                // Partition: index, start offset, leader epoch, lag, error, message.
                Each(&[Name, Id, Each(&[Bytes(4 + 8 + 4), Since(1, &[Bytes(8)]), Bytes(2), Text])]),
                Bytes(2), // error
                Text,
            ]),
        ],
    },
    Schema {
        api: api::ALTER_SHARE_GROUP_OFFSETS,
        since: 0,
        fields: &[Bytes(4 + 2), Text, Each(&[Name, Id, Each(&[Bytes(4 + 2), Text])])],
    },
    Schema {
        api: api::DELETE_SHARE_GROUP_OFFSETS,
        since: 0,
        fields: &[Bytes(4 + 2), Text, Each(&[Name, Id, Bytes(2), Text])],
    },
];

/// Throttle time, error, message, member, epoch, interval, assignment.
const HEARTBEAT: &[Field] = &[Bytes(4 + 2), Text, Text, Bytes(4 + 4), Maybe(&[Each(&[Id, Numbers(4)])])];

/// How a described group begins: error, message, group, state, its epoch and that of the assignment, assignor.
const GROUP: Field = Since(0, &[Bytes(2), Text, Text, Text, Bytes(4 + 4), Text]);

/// What a member is assigned.
const ASSIGNED: Field = One(&[Each(&[Id, Name, Numbers(4)])]);
