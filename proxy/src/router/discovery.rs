//! Where the brokers of a cluster are, asked by the gateway itself.
//!
//! Arrives: a cluster. Leaves: its brokers' addresses in the cluster's memory. Clients' own Metadata responses teach the
//! same, but after a restart of the gateway a client may come straight to a broker's port with what it learned
//! before; nobody may be turned away then. What must never happen here: a request with a client's rights.

use std::sync::Arc;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::io::AsyncWriteExt;

use super::{Cluster, Target};
use crate::admin::Condition;
use crate::chain::rewrite::{RewriteError, topology};
use crate::connection::read::{FrameReader, ReadError};
use crate::frame::{CorrelationId, ResponseHeader, Segments};
use crate::keyring::{QuietContext, TopicError, client_config};
use crate::tls::UpstreamTlsSource;
use crate::upstream;

/// Why the brokers could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum DiscoveryError {
    /// No broker answered.
    #[error(transparent)]
    Upstream(#[from] upstream::Error),
    /// The connection broke.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Writing failed.
    #[error(transparent)]
    Write(#[from] std::io::Error),
    /// The answer is not one.
    #[error(transparent)]
    Message(#[from] RewriteError),
    /// The gateway's own client.
    #[error(transparent)]
    Client(#[from] TopicError),
    /// The gateway's own client says no.
    #[error(transparent)]
    Kafka(#[from] rdkafka::error::KafkaError),
    /// The broker closed the connection without an answer: it may want SASL.
    #[error("broker closed the connection; if it wants SASL, write clusters[].client")]
    Closed,
}

/// Asks a bootstrap server for the brokers and takes note of them.
pub async fn discover(cluster: &Arc<Cluster>, tls: Option<&UpstreamTlsSource>) -> Result<(), DiscoveryError> {
    let sasl = cluster.config.client.iter().any(|(name, _)| name.starts_with("sasl."));
    if sasl { ask_as_client(cluster.clone()).await } else { ask(cluster, tls).await }
}

async fn ask(cluster: &Cluster, tls: Option<&UpstreamTlsSource>) -> Result<(), DiscoveryError> {
    let tls = tls.map(UpstreamTlsSource::current);
    let (read, mut write) = upstream::connect(cluster, Target::Bootstrap, tls.as_ref(), ANSWER_LIMIT).await?;
    let call = topology::call_for_brokers(CorrelationId(0));
    let request = Segments::whole(topology::request(call, "barnabas", Some(&[]))?);
    write.write_all_buf(&mut request.framed().map_err(RewriteError::from)?).await?;
    write.flush().await?;
    let mut frames = FrameReader::new(read, MOST_ANSWER_BYTES);
    let answer = tokio::time::timeout(ANSWER_LIMIT, frames.next()).await;
    let frame = answer.map_err(|_| DiscoveryError::Closed)??.ok_or(DiscoveryError::Closed)?;
    let header = ResponseHeader::parse(&frame, call).map_err(RewriteError::from)?;
    for broker in topology::decode(&frame, &header)?.brokers {
        if let Ok(port) = u16::try_from(broker.port) {
            cluster.learn(broker.node_id, &broker.host, port);
        }
    }
    Ok(())
}

/// Where brokers want SASL, the gateway's own client speaks it.
async fn ask_as_client(cluster: Arc<Cluster>) -> Result<(), DiscoveryError> {
    let asked = tokio::task::spawn_blocking(move || {
        let config = client_config(&cluster.config)?;
        let consumer: BaseConsumer<QuietContext> = config.create_with_context(QuietContext)?;
        let metadata = consumer.fetch_metadata(Some(NO_TOPIC), ANSWER_LIMIT)?;
        for broker in metadata.brokers() {
            if let Ok(port) = u16::try_from(broker.port()) {
                cluster.learn(broker.id(), broker.host(), port);
            }
        }
        Ok(())
    });
    asked.await.map_err(|_| DiscoveryError::Closed)?
}

/// Asks again for ever: brokers come and move.
pub async fn follow(cluster: Arc<Cluster>, tls: Option<Arc<UpstreamTlsSource>>, reachable: Condition) {
    let mut ticks = tokio::time::interval(REFRESH);
    let (mut failing, mut answered) = (false, false);
    loop {
        ticks.tick().await;
        match discover(&cluster, tls.as_deref()).await {
            Ok(()) => {
                (failing, answered) = (false, true);
                reachable.met();
            }
            // The broker is there, but talks to nobody who does not authenticate first, as clients will.
            Err(error @ (DiscoveryError::Closed | DiscoveryError::Read(_))) if !answered => {
                if !failing {
                    tracing::info!(event = "brokers_unknown", cluster = cluster.config.name, %error);
                }
                failing = true;
                reachable.met();
            }
            Err(error) => {
                reachable.failed(format!("cluster {}: {error}", cluster.config.name));
                if !failing {
                    tracing::warn!(event = "brokers_unknown", cluster = cluster.config.name, %error);
                }
                failing = true;
            }
        }
    }
}

/// Kafka's own clients refresh every five minutes; a broker that has moved should be found sooner, and a load balancer
/// should hear soon that a gateway has lost its brokers.
const REFRESH: Duration = Duration::from_secs(10);
/// A broker that answers later than this is not one to start from.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Ten thousand brokers with long names.
const MOST_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// A name that no topic can have to be asked for: the brokers are in every answer.
const NO_TOPIC: &str = "_barnabas_discovery";
