//! One client connection: frames in, through the chain, to one broker, and back.
//!
//! Arrives: a client's stream with its principal, and the broker's stream. Leaves: nothing; both are closed when
//! it ends. One client connection has one upstream connection, so order, quotas, producer ids and SASL
//! pass-through stay what they are without the gateway. What must never happen here: an unbounded queue.

pub mod memory;
pub mod read;
pub mod in_flight;
pub mod requests;
pub mod responses;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::audit::event::{Api, Audit, Peer, Trail, Usage};
use crate::chain::fetch::FetchChain;
use crate::chain::partitions::Partitions;
use crate::chain::produce::ProduceChain;
use crate::chain::rewrite::{AddressBook, RewriteError};
use crate::chain::share::ShareChain;
use crate::chain::topic_ids::{TopicIdConflict, TopicIds};
use crate::config::Limits;
use crate::frame::Call;
use crate::identity::Principal;
use crate::keyring::Keys;
use crate::metrics::{ConnectionRefusal, Metrics};
use memory::{Memory, Way};
use read::{FirstFrames, FrameReader, ReadError};

/// How a connection ended when nothing was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The client closed it.
    ByClient,
    /// The broker closed it.
    ByBroker,
    /// The gateway is shutting down and everything due was answered.
    Drained,
    /// A refusal that the protocol can express in no other way (acks=0).
    ByPolicy,
}

/// Why a connection had to end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The client's stream or framing.
    #[error("downstream: {0}")]
    Client(#[from] ReadError),
    /// Writing to the client.
    #[error("downstream: {0}")]
    Downstream(#[source] io::Error),
    /// The broker's framing.
    #[error("upstream: {0}")]
    Broker(#[source] ReadError),
    /// Reading from or writing to the broker.
    #[error("upstream: {0}")]
    Upstream(#[source] io::Error),
    /// The other side has ended first.
    #[error("closed by the other side")]
    Closed,
    /// A message that is not what its header says, or that cannot be served.
    #[error("message: {0}")]
    Message(#[from] RewriteError),
    /// An API or version that is not served.
    #[error("request of api key {} version {} is not served; ApiVersions names what is", .0.api_key.0, .0.version.0)]
    Refused(Call),
    /// The broker answered something else than was asked.
    #[error("broker answered correlation id {answered:?}, {} was due", .call.correlation_id.0)]
    Unpaired {
        /// What was due.
        call: Call,
        /// What came.
        answered: Option<i32>,
    },
    /// The broker takes requests and says nothing.
    #[error("broker has not answered api key {} within {waited:?} (limits.answer_timeout)", .call.api_key.0)]
    Silent {
        /// What was due.
        call: Call,
        /// How long it was waited for.
        waited: Duration,
    },
    /// An answer that is larger with what was made of it than a connection may hold.
    #[error("answer of {length} bytes after opening, the limit is {limit} (limits.max_connection_bytes)")]
    Grown {
        /// Bytes in all.
        length: usize,
        /// The configured limit.
        limit: usize,
    },
    /// An answer that grew while all memory was taken.
    #[error("no memory for an answer that grew to {length} bytes; raise limits.max_memory_bytes")]
    NoMemory {
        /// Bytes in all.
        length: usize,
    },
    /// The client takes next to nothing of a large answer for which others have to wait.
    #[error("client stands still within a large answer while others wait for memory (limits.max_memory_bytes)")]
    StandsStill,
    /// An assignment to a topic that no answer has named: the client connects again and names its subscription.
    #[error("broker's answer to api key {} has a topic id that no answer has named", .0.api_key.0)]
    Unnamed(Call),
    /// The broker gave a topic id a second name.
    #[error(transparent)]
    TopicId(#[from] TopicIdConflict),
}

impl Error {
    fn from_broker(error: ReadError) -> Self {
        Self::Broker(error)
    }

    /// Of which request it came.
    pub fn call(&self) -> Option<&Call> {
        match self {
            Self::Refused(call) | Self::Unpaired { call, .. } | Self::Silent { call, .. } => Some(call),
            _ => None,
        }
    }

    /// What is counted.
    pub fn refusal(&self) -> ConnectionRefusal {
        match self {
            Self::Silent { .. } => ConnectionRefusal::Silent,
            Self::Grown { .. } | Self::NoMemory { .. } | Self::StandsStill => ConnectionRefusal::Memory,
            Self::Client(ReadError::StandsStill) | Self::Broker(ReadError::StandsStill) => ConnectionRefusal::Memory,
            _ => ConnectionRefusal::Protocol,
        }
    }

    /// True for what happens whenever a peer goes away: no warning is due.
    pub fn is_ordinary(&self) -> bool {
        matches!(
            self,
            Self::Client(ReadError::Io(_))
                | Self::Downstream(_)
                | Self::Closed
                | Self::Unnamed(_)
                | Self::Broker(ReadError::Io(_))
                | Self::Upstream(_)
        )
    }
}

/// What every connection of a listener shares.
#[derive(Clone)]
pub struct Shared {
    /// Keys and policy.
    pub keys: Arc<Keys>,
    /// Ids and names of the cluster's topics.
    pub topic_ids: Arc<TopicIds>,
    /// Which topics the cluster has.
    pub partitions: Arc<Partitions>,
    /// Where brokers are reached through this listener.
    pub book: Arc<dyn AddressBook>,
    /// Bounds.
    pub limits: Arc<Limits>,
    /// Room for large frames, all connections together.
    pub memory: Arc<Memory>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// The audit log.
    pub audit: Audit,
    /// True once the gateway is to end.
    pub draining: watch::Receiver<bool>,
    /// True for what the bridge asks on its own account: it alone reads and writes the topic of the answers that it keeps.
    pub own: bool,
}

/// Serves one connection until it ends.
pub async fn serve<CR, CW, BR, BW>(
    peer: impl Into<Arc<Peer>>,
    (client_read, client_write): (CR, CW),
    (broker_read, broker_write): (BR, BW),
    shared: &Shared,
) -> Result<Ended, Error>
where
    CR: AsyncRead + Unpin,
    CW: AsyncWrite + Unpin,
    BR: AsyncRead + Unpin,
    BW: AsyncWrite + Unpin,
{
    let limits = &shared.limits;
    let (tell, due) = in_flight::queue(limits.max_in_flight_requests);
    let peer: Arc<Peer> = peer.into();
    let trail = |api| Trail::new(shared.audit.clone(), peer.clone(), api);
    let usage = || Usage::new(shared.audit.clone(), peer.clone());
    let (keys, metrics, ids) = (&shared.keys, &shared.metrics, &shared.topic_ids);
    let share = ShareChain::new(trail(Api::ShareFetch), keys.clone(), ids.clone(), metrics.clone());
    let (topics, most_inflated) = ((shared.partitions.clone(), ids.clone()), limits.max_inflated_bytes);
    // Who showed a certificate is known; others are when the broker has answered them for the first time.
    let known = Arc::new(AtomicBool::new(peer.principal != Principal::anonymous()));
    let first = FirstFrames { limit: limits.max_first_frame_bytes, known: known.clone() };
    let frames_of_client = FrameReader::new(client_read, limits.max_frame_bytes).until_known(first);
    let mut requests = requests::Requests {
        client: frames_of_client.within(shared.memory.clone(), Way::Request),
        broker: broker_write,
        in_flight: Some(tell),
        produce: ProduceChain::new(trail(Api::Produce), keys.clone(), topics, metrics.clone(), most_inflated)
            .for_bridge(shared.own),
        own: shared.own,
        share,
        usage: usage(),
        audit: shared.audit.clone(),
        peer: peer.clone(),
        topic_ids: shared.topic_ids.clone(),
        asked_in_vain: None,
        draining: shared.draining.clone(),
        metrics: shared.metrics.clone(),
        memory: shared.memory.clone(),
        most_bytes: limits.max_connection_bytes,
    };
    let told = (trail(Api::Fetch), usage());
    let mut responses = responses::Responses {
        broker: FrameReader::new(broker_read, limits.max_frame_bytes).within(shared.memory.clone(), Way::Answer),
        client: client_write,
        in_flight: due,
        fetch: FetchChain::new(told, keys.clone(), ids.clone(), metrics.clone(), most_inflated).for_bridge(shared.own),
        book: shared.book.clone(),
        topic_ids: shared.topic_ids.clone(),
        partitions: shared.partitions.clone(),
        metrics: shared.metrics.clone(),
        memory: shared.memory.clone(),
        most_bytes: limits.max_connection_bytes,
        patience: responses::Patience::new(limits.answer_timeout),
        known,
    };
    // Pinned here and lent: what is given to a future and pinned there stands in it twice.
    both(std::pin::pin!(requests.run()), std::pin::pin!(responses.run())).await
}

/// Runs both sides. A request side that ends because the gateway drains lets what is due be delivered; any
/// other end of either side ends the connection.
async fn both(
    mut requests: Pin<&mut impl Future<Output = Result<Ended, Error>>>,
    mut responses: Pin<&mut impl Future<Output = Result<Ended, Error>>>,
) -> Result<Ended, Error> {
    tokio::select! {
        ended = &mut requests => match ended {
            Ok(Ended::Drained) => responses.await,
            // A producer may close as soon as it has sent with acks=0; one that waits for answers does not.
            other => other,
        },
        ended = &mut responses => ended,
    }
}
