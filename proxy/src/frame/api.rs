//! The one table of Kafka's APIs: which are decoded, which pass as bytes, which are refused, and
//! why.
//!
//! Arrives: an API key and a version. Leaves: what the gateway does with it. What must never happen
//! here: an API or a version that is not in the table going through: a new version may carry
//! addresses or records past us. So the table is also the upper bound of what the gateway offers in
//! its ApiVersions answer.
//!
//! Every row of Kafka 4.2 was checked for fields that carry broker addresses or records; the reason
//! says what was found. "Flexible" is the first version in the compact encoding (KIP-482).

use std::ops::RangeInclusive;

use super::header::{ApiKey, ApiVersion};

/// One row of the table.
#[derive(Debug, PartialEq, Eq)]
pub struct Api {
    /// API key.
    pub key: ApiKey,
    /// Kafka's name for it.
    pub name: &'static str,
    /// What the gateway does with it.
    pub treatment: Treatment,
    /// Why, in words.
    pub reason: &'static str,
    oldest: i16,
    newest: i16,
    flexible_from: i16,
}

/// What the gateway does with an API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// Request, response or both are walked, and rewritten where they carry records or addresses.
    Decode,
    /// Header read, body passed as it came.
    Pass,
    /// Hidden from ApiVersions; answered with UNSUPPORTED_VERSION or by closing the connection.
    Refuse,
}

impl Api {
    /// True if the gateway serves this version.
    pub fn knows(&self, version: ApiVersion) -> bool {
        self.treatment != Treatment::Refuse && (self.oldest..=self.newest).contains(&version.0)
    }

    /// True if this version is in the compact encoding.
    pub fn is_flexible(&self, version: ApiVersion) -> bool {
        version.0 >= self.flexible_from
    }

    /// The versions that may be offered to clients; `None` if the API is hidden.
    pub fn offered(&self) -> Option<RangeInclusive<i16>> {
        match self.treatment {
            Treatment::Refuse => None,
            // librdkafka takes the absence of Produce v0 for the absence of gzip and snappy.
            // Brokers from 4.0 on offer v0 for that reason and refuse it when it is used, and so do
            // we.
            _ if self.key == PRODUCE => Some(0..=self.newest),
            _ => Some(self.oldest..=self.newest),
        }
    }
}

/// The row of an API key.
pub fn find(key: ApiKey) -> Option<&'static Api> {
    // The table is dense: row n is key n. A test holds it to that.
    TABLE.get(usize::try_from(key.0).ok()?)
}

/// Every row, in the order of the keys.
pub fn all() -> impl Iterator<Item = &'static Api> {
    TABLE.iter()
}

/// Produce.
pub const PRODUCE: ApiKey = ApiKey(0);
/// Fetch.
pub const FETCH: ApiKey = ApiKey(1);
/// Metadata.
pub const METADATA: ApiKey = ApiKey(3);
/// FindCoordinator.
pub const FIND_COORDINATOR: ApiKey = ApiKey(10);
/// SaslHandshake.
pub const SASL_HANDSHAKE: ApiKey = ApiKey(17);
/// ApiVersions.
pub const API_VERSIONS: ApiKey = ApiKey(18);
/// SaslAuthenticate.
pub const SASL_AUTHENTICATE: ApiKey = ApiKey(36);
/// OffsetCommit.
pub const OFFSET_COMMIT: ApiKey = ApiKey(8);
/// OffsetFetch.
pub const OFFSET_FETCH: ApiKey = ApiKey(9);
/// CreateTopics.
pub const CREATE_TOPICS: ApiKey = ApiKey(19);
/// DeleteTopics.
pub const DELETE_TOPICS: ApiKey = ApiKey(20);
/// DescribeCluster.
pub const DESCRIBE_CLUSTER: ApiKey = ApiKey(60);
/// ConsumerGroupHeartbeat.
pub const CONSUMER_GROUP_HEARTBEAT: ApiKey = ApiKey(68);
/// ConsumerGroupDescribe.
pub const CONSUMER_GROUP_DESCRIBE: ApiKey = ApiKey(69);
/// DescribeTopicPartitions.
pub const DESCRIBE_TOPIC_PARTITIONS: ApiKey = ApiKey(75);
/// ShareGroupHeartbeat.
pub const SHARE_GROUP_HEARTBEAT: ApiKey = ApiKey(76);
/// ShareGroupDescribe.
pub const SHARE_GROUP_DESCRIBE: ApiKey = ApiKey(77);
/// ShareFetch.
pub const SHARE_FETCH: ApiKey = ApiKey(78);
/// ShareAcknowledge.
pub const SHARE_ACKNOWLEDGE: ApiKey = ApiKey(79);
/// DescribeShareGroupOffsets.
pub const DESCRIBE_SHARE_GROUP_OFFSETS: ApiKey = ApiKey(90);
/// AlterShareGroupOffsets.
pub const ALTER_SHARE_GROUP_OFFSETS: ApiKey = ApiKey(91);
/// DeleteShareGroupOffsets.
pub const DELETE_SHARE_GROUP_OFFSETS: ApiKey = ApiKey(92);

/// No version is in the compact encoding.
const NEVER: i16 = i16::MAX;

macro_rules! table {
    ($($key:literal $name:ident $treatment:ident $oldest:literal..$newest:literal flexible $flexible:expr, $reason:literal;)*) => {
        static TABLE: [Api; table!(@count $($key)*)] = [$(Api {
            key: ApiKey($key),
            name: stringify!($name),
            treatment: Treatment::$treatment,
            reason: $reason,
            oldest: $oldest,
            newest: $newest,
            flexible_from: $flexible,
        }),*];
    };
    (@count $($key:literal)*) => { [$($key),*].len() };
}

// Pass rows start at version 0 also where Kafka 4.2 has removed old versions: a broker of an older
// release may still offer them, and bytes that pass need no walker. Decode rows start where their
// walker starts. Topic ids are replaced in every row that has them, on both ways; see
// `chain/rewrite/ids`.
table! {
    0 Produce Decode 3..13 flexible 9, "requests carry records, to be sealed; responses from v10 on carry broker addresses; topics are named by id from v13 on";
    1 Fetch Decode 4..18 flexible 12, "responses carry records, to be opened, and from v16 on broker addresses; before v4 records have another format; topics are named by id from v13 on";
    2 ListOffsets Pass 0..11 flexible 6, "offsets and timestamps only";
    3 Metadata Decode 0..13 flexible 9, "responses carry broker addresses; topic ids are shown as ours";
    4 LeaderAndIsr Refuse 0..0 flexible 0, "between controller and broker; removed in Kafka 4.0";
    5 StopReplica Refuse 0..0 flexible 0, "between controller and broker; removed in Kafka 4.0";
    6 UpdateMetadata Refuse 0..0 flexible 0, "between controller and broker, carries broker addresses; removed in Kafka 4.0";
    7 ControlledShutdown Refuse 0..0 flexible 0, "between controller and broker; removed in Kafka 4.0";
    8 OffsetCommit Pass 0..10 flexible 8, "offsets and the client's own metadata text";
    9 OffsetFetch Pass 0..10 flexible 6, "offsets and the client's own metadata text";
    10 FindCoordinator Decode 0..6 flexible 3, "responses carry broker addresses";
    11 JoinGroup Pass 0..9 flexible 6, "subscriptions as the clients wrote them; no broker address";
    12 Heartbeat Pass 0..4 flexible 4, "group membership only";
    13 LeaveGroup Pass 0..5 flexible 4, "group membership only";
    14 SyncGroup Pass 0..5 flexible 4, "assignments as the clients wrote them; no broker address";
    15 DescribeGroups Pass 0..6 flexible 5, "client_host is the client's address as the broker saw it, no broker's";
    16 ListGroups Pass 0..5 flexible 3, "group names and states";
    17 SaslHandshake Pass 1..1 flexible NEVER, "mechanism names; after v0 come bytes that are not kafka requests, which could not be told from them";
    18 ApiVersions Decode 0..4 flexible 3, "what the broker offers is cut to this table";
    19 CreateTopics Pass 0..7 flexible 5, "administration; no address, no record";
    20 DeleteTopics Pass 0..6 flexible 4, "administration; no address, no record";
    21 DeleteRecords Pass 0..2 flexible 2, "administration: offsets only, no record";
    22 InitProducerId Pass 0..5 flexible 2, "producer ids; v6 (two-phase commit, KIP-939) is marked unstable in Kafka 4.2";
    23 OffsetForLeaderEpoch Pass 0..4 flexible 4, "epochs and offsets";
    24 AddPartitionsToTxn Pass 0..5 flexible 3, "partition names";
    25 AddOffsetsToTxn Pass 0..4 flexible 3, "group name";
    26 EndTxn Pass 0..5 flexible 3, "commit or abort; the marker is written by the broker";
    27 WriteTxnMarkers Pass 0..2 flexible 1, "administration (aborting a hanging transaction); the broker makes the control records";
    28 TxnOffsetCommit Pass 0..5 flexible 3, "offsets and the client's own metadata text";
    29 DescribeAcls Pass 0..3 flexible 2, "host is the host of an access rule, no broker's";
    30 CreateAcls Pass 0..3 flexible 2, "host is the host of an access rule, no broker's";
    31 DeleteAcls Pass 0..3 flexible 2, "host is the host of an access rule, no broker's";
    32 DescribeConfigs Pass 0..4 flexible 4, "configuration as text: advertised.listeners is shown to who may see it, no client connects by it";
    33 AlterConfigs Pass 0..2 flexible 2, "administration; no address, no record";
    34 AlterReplicaLogDirs Pass 0..2 flexible 2, "administration: directory names of a broker";
    35 DescribeLogDirs Pass 0..4 flexible 2, "sizes and directory names of a broker";
    36 SaslAuthenticate Pass 0..2 flexible 2, "the client's exchange with the broker; never logged";
    37 CreatePartitions Pass 0..3 flexible 2, "administration; no address, no record";
    38 CreateDelegationToken Pass 0..3 flexible 2, "tokens for SASL at the broker; never logged";
    39 RenewDelegationToken Pass 0..2 flexible 2, "tokens for SASL at the broker; never logged";
    40 ExpireDelegationToken Pass 0..2 flexible 2, "tokens for SASL at the broker; never logged";
    41 DescribeDelegationToken Pass 0..3 flexible 2, "tokens for SASL at the broker; never logged";
    42 DeleteGroups Pass 0..2 flexible 2, "administration; no address, no record";
    43 ElectLeaders Pass 0..2 flexible 2, "administration; no address, no record";
    44 IncrementalAlterConfigs Pass 0..1 flexible 1, "administration; no address, no record";
    45 AlterPartitionReassignments Pass 0..1 flexible 0, "administration: broker ids only";
    46 ListPartitionReassignments Pass 0..0 flexible 0, "administration: broker ids only";
    47 OffsetDelete Pass 0..0 flexible NEVER, "administration; no address, no record";
    48 DescribeClientQuotas Pass 0..1 flexible 1, "quotas by user, client id or client address";
    49 AlterClientQuotas Pass 0..1 flexible 1, "quotas by user, client id or client address";
    50 DescribeUserScramCredentials Pass 0..0 flexible 0, "mechanisms and iteration counts of users at the broker";
    51 AlterUserScramCredentials Pass 0..0 flexible 0, "salted passwords of users at the broker; never logged";
    52 Vote Refuse 0..2 flexible 0, "raft between controllers, carries controller addresses";
    53 BeginQuorumEpoch Refuse 0..1 flexible 1, "raft between controllers, carries controller addresses";
    54 EndQuorumEpoch Refuse 0..1 flexible 1, "raft between controllers, carries controller addresses";
    55 DescribeQuorum Pass 0..1 flexible 0, "v2 carries the addresses of the controllers and is not offered";
    56 AlterPartition Refuse 0..3 flexible 0, "between broker and controller";
    57 UpdateFeatures Pass 0..2 flexible 0, "administration; no address, no record";
    58 Envelope Refuse 0..0 flexible 0, "between broker and controller: carries another request, with another principal, past the table";
    59 FetchSnapshot Refuse 0..1 flexible 0, "raft: carries records of the metadata log, and controller addresses";
    60 DescribeCluster Decode 0..2 flexible 0, "responses carry broker addresses";
    61 DescribeProducers Pass 0..0 flexible 0, "producer ids and sequence numbers";
    62 BrokerRegistration Refuse 0..4 flexible 0, "between broker and controller, carries broker addresses";
    63 BrokerHeartbeat Refuse 0..1 flexible 0, "between broker and controller";
    64 UnregisterBroker Pass 0..0 flexible 0, "administration: a broker id";
    65 DescribeTransactions Pass 0..0 flexible 0, "transaction states and partition names";
    66 ListTransactions Pass 0..2 flexible 0, "transaction states";
    67 AllocateProducerIds Refuse 0..0 flexible 0, "between broker and controller";
    68 ConsumerGroupHeartbeat Pass 0..1 flexible 0, "assignments by topic id; no address";
    69 ConsumerGroupDescribe Pass 0..1 flexible 0, "client_host is the client's address as the broker saw it, no broker's";
    70 ControllerRegistration Refuse 0..0 flexible 0, "between controllers, carries controller addresses";
    71 GetTelemetrySubscriptions Pass 0..0 flexible 0, "which client metrics the broker asks for";
    72 PushTelemetry Pass 0..0 flexible 0, "the client's own metrics, no record";
    73 AssignReplicasToDirs Refuse 0..0 flexible 0, "between broker and controller";
    74 ListConfigResources Pass 0..1 flexible 0, "names of configuration resources";
    75 DescribeTopicPartitions Pass 0..0 flexible 0, "broker ids only; topic ids are shown as ours";
    76 ShareGroupHeartbeat Pass 0..1 flexible 0, "assignments by topic id; no address";
    77 ShareGroupDescribe Pass 0..1 flexible 0, "client_host is the client's address as the broker saw it, no broker's";
    78 ShareFetch Decode 1..2 flexible 0, "responses carry records, to be opened, and broker addresses";
    79 ShareAcknowledge Decode 1..2 flexible 0, "responses carry broker addresses";
    80 AddRaftVoter Pass 0..1 flexible 0, "administration: the request names the controller to add, the response carries no address";
    81 RemoveRaftVoter Pass 0..0 flexible 0, "administration: a controller id";
    82 UpdateRaftVoter Refuse 0..0 flexible 0, "raft between controllers, the response carries a controller address";
    83 InitializeShareGroupState Refuse 0..0 flexible 0, "between brokers: the state of share groups";
    84 ReadShareGroupState Refuse 0..0 flexible 0, "between brokers: the state of share groups";
    85 WriteShareGroupState Refuse 0..1 flexible 0, "between brokers: the state of share groups";
    86 DeleteShareGroupState Refuse 0..0 flexible 0, "between brokers: the state of share groups";
    87 ReadShareGroupStateSummary Refuse 0..1 flexible 0, "between brokers: the state of share groups";
    88 StreamsGroupHeartbeat Pass 0..0 flexible 0, "user_endpoint is what a streams application says of itself, no broker's";
    89 StreamsGroupDescribe Pass 0..0 flexible 0, "client_host and user_endpoint are addresses of clients, no broker's";
    90 DescribeShareGroupOffsets Pass 0..1 flexible 0, "offsets only";
    91 AlterShareGroupOffsets Pass 0..0 flexible 0, "offsets only";
    92 DeleteShareGroupOffsets Pass 0..0 flexible 0, "administration; no address, no record";
}
