//! One Kafka connection, spoken by hand: for what no client library says, and for what must be seen before one hides it.
//!
//! Blocking, over TCP or TLS. Requests are encoded by a protocol crate that is not the gateway's own code; raw bytes can be
//! sent as well. Reads are bounded in time, so that a peer that never answers fails the test instead of hanging it.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{
    ApiVersionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, IncrementalAlterConfigsRequest,
    MetadataRequest, MetadataResponse, RequestHeader, ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Request, StrBytes};
use rustls_pki_types::ServerName;

use crate::certs::{self, ClientFiles};

/// A connection to a broker or to the gateway.
pub struct Connection {
    stream: Box<dyn Stream>,
    correlation: i32,
}

impl Connection {
    /// Connects without TLS.
    pub fn open(address: &str) -> io::Result<Self> {
        Ok(Self { stream: Box::new(connect(address)?), correlation: 0 })
    }

    /// Connects with TLS; the handshake happens here, so a refused certificate may show here or at the first answer.
    pub fn open_tls(address: &str, files: &ClientFiles) -> io::Result<Self> {
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        Self::open_tls_as(address, host, files)
    }

    /// The same, asking for another host name than the one that was connected to.
    pub fn open_tls_as(address: &str, host: &str, files: &ClientFiles) -> io::Result<Self> {
        let config = Arc::new(certs::client_config(files));
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let session = rustls::ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut stream = rustls::StreamOwned::new(session, connect(address)?);
        stream.flush()?;
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream: Box::new(stream), correlation: 0 })
    }

    /// Sends a request and waits for its answer.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> io::Result<R::Response> {
        self.send(version, request)?;
        let mut body = self.read_frame()?;
        let header = ResponseHeader::decode(&mut body, <R::Response as HeaderVersion>::header_version(version));
        let header = header.map_err(io::Error::other)?;
        if header.correlation_id != self.correlation {
            return Err(io::Error::other(format!("answer {} to request {}", header.correlation_id, self.correlation)));
        }
        let response = R::Response::decode(&mut body, version).map_err(io::Error::other)?;
        if body.has_remaining() {
            return Err(io::Error::other(format!("{} bytes after the answer", body.remaining())));
        }
        Ok(response)
    }

    /// Sends a request and does not wait.
    pub fn send<R: Request>(&mut self, version: i16, request: &R) -> io::Result<()> {
        self.correlation += 1;
        self.send_frame(&encode(self.correlation, version, request))
    }

    /// Sends a frame: its length, then the bytes.
    pub fn send_frame(&mut self, body: &[u8]) -> io::Result<()> {
        let mut frame = BytesMut::with_capacity(body.len() + 4);
        frame.put_i32(i32::try_from(body.len()).map_err(io::Error::other)?);
        frame.put_slice(body);
        self.send_raw(&frame)
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Reads one frame without its length.
    pub fn read_frame(&mut self) -> io::Result<Bytes> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).map_err(io::Error::other)?;
        if length > LARGEST_ANSWER {
            return Err(io::Error::other(format!("an answer of {length} bytes")));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(body.into())
    }

    /// True when the peer closes the connection, with or without bytes before; false when it says nothing for the read bound.
    pub fn is_closed_by_peer(&mut self) -> bool {
        let mut sink = [0; 1024];
        loop {
            match self.stream.read(&mut sink) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(e) => {
                    return !matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                }
            }
        }
    }

    /// What the peer says about all its brokers, and about these topics (`None`: about all topics).
    pub fn metadata(&mut self, topics: Option<&[&str]>) -> io::Result<MetadataResponse> {
        let topics = topics.map(|names| {
            let named = |name: &&str| MetadataRequestTopic::default().with_name(Some(topic_name(name)));
            names.iter().map(named).collect()
        });
        self.call(12, &MetadataRequest::default().with_topics(topics).with_allow_auto_topic_creation(false))
    }

    /// Makes a topic, and waits until the broker names its leaders: the controller says yes before. A topic that is there already
    /// is an error.
    pub fn create_topic(
        &mut self,
        topic: &str,
        partitions: i32,
        factor: i16,
        configs: &[(&str, &str)],
    ) -> io::Result<()> {
        let configs = configs.iter().map(|(name, value)| {
            let value = Some(StrBytes::from_string((*value).to_owned()));
            CreatableTopicConfig::default().with_name(StrBytes::from_string((*name).to_owned())).with_value(value)
        });
        let wanted = CreatableTopic::default()
            .with_name(topic_name(topic))
            .with_num_partitions(partitions)
            .with_replication_factor(factor)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(30_000);
        let answer = self.call(7, &request)?;
        let code = answer.topics.first().map_or(-1, |topic| topic.error_code);
        if code != 0 {
            return Err(io::Error::other(format!("topic {topic}: error code {code}")));
        }
        crate::wait::until_true(&format!("{topic} has its leaders"), || {
            let answer = self.metadata(Some(&[topic]));
            let of_topic = answer.ok().and_then(|answer| answer.topics.into_iter().next());
            of_topic.is_some_and(|known| {
                let all = known.partitions.len() >= usize::try_from(partitions).unwrap_or(1);
                known.error_code == 0 && all && known.partitions.iter().all(|one| one.error_code == 0)
            })
        });
        Ok(())
    }

    /// Deletes a topic, and waits until the broker does not name it any more.
    pub fn delete_topic(&mut self, topic: &str) -> io::Result<()> {
        let request = DeleteTopicsRequest::default().with_topic_names(vec![topic_name(topic)]).with_timeout_ms(30_000);
        let answer = self.call(5, &request)?;
        let code = answer.responses.first().map_or(-1, |topic| topic.error_code);
        if code != 0 {
            return Err(io::Error::other(format!("topic {topic}: error code {code}")));
        }
        crate::wait::until_true(&format!("{topic} is gone"), || {
            let named = self.metadata(Some(&[topic])).map(|answer| answer.topics.iter().all(|t| t.error_code == 0));
            named.is_ok_and(|there| !there)
        });
        Ok(())
    }

    /// Sets a setting of a topic.
    pub fn configure_topic(&mut self, topic: &str, name: &str, value: &str) -> io::Result<()> {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let config = AlterableConfig::default().with_name(text(name)).with_value(Some(text(value)));
        let resource = AlterConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text(topic));
        let resource = resource.with_configs(vec![config.with_config_operation(SET)]);
        let answer = self.call(1, &IncrementalAlterConfigsRequest::default().with_resources(vec![resource]))?;
        let code = answer.responses.first().map_or(-1, |resource| resource.error_code);
        if code == 0 { Ok(()) } else { Err(io::Error::other(format!("topic {topic}: error code {code}"))) }
    }

    /// Makes the broker forget what stands before `offset`, as retention does.
    pub fn delete_records(&mut self, topic: &str, partition: i32, offset: i64) -> io::Result<()> {
        let before = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
        let of_topic = DeleteRecordsTopic::default().with_name(topic_name(topic)).with_partitions(vec![before]);
        let request = DeleteRecordsRequest::default().with_topics(vec![of_topic]).with_timeout_ms(30_000);
        let answer = self.call(2, &request)?;
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        match partitions.map(|partition| partition.error_code).collect::<Vec<_>>()[..] {
            [0] => Ok(()),
            ref codes => Err(io::Error::other(format!("records of {topic}: error codes {codes:?}"))),
        }
    }
}

/// A broker or gateway that answers ApiVersions and names `brokers` brokers in its metadata is ready.
pub fn is_ready(address: &str, brokers: usize) -> bool {
    let ask = || -> io::Result<usize> {
        let mut connection = Connection::open(address)?;
        connection.call(0, &ApiVersionsRequest::default())?;
        Ok(connection.metadata(Some(&[]))?.brokers.len())
    };
    ask().is_ok_and(|count| count >= brokers)
}

/// A whole request without the frame's length.
pub fn encode<R: Request>(correlation: i32, version: i16, request: &R) -> Bytes {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str("barnabas-tests")));
    let mut body = BytesMut::new();
    header.encode(&mut body, R::header_version(version)).expect("a request header has a form in every version");
    request.encode(&mut body, version).expect("the test asks for a version that the request has");
    body.freeze()
}

/// A topic's name as the protocol crate wants it.
pub fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

fn connect(address: &str) -> io::Result<TcpStream> {
    // `localhost` may stand for an IPv6 address first; everything of ours listens on 127.0.0.1.
    let resolved: Vec<SocketAddr> = address.to_socket_addrs()?.filter(SocketAddr::is_ipv4).collect();
    let first = resolved.first().ok_or_else(|| io::Error::other(format!("{address} has no IPv4 address")))?;
    let stream = TcpStream::connect_timeout(first, ANSWER_BOUND)?;
    stream.set_read_timeout(Some(ANSWER_BOUND))?;
    stream.set_write_timeout(Some(ANSWER_BOUND))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

const ANSWER_BOUND: Duration = Duration::from_secs(30);
const LARGEST_ANSWER: usize = 128 << 20;

/// KIP-339: a resource that is a topic, and the operation.
const TOPIC: i8 = 2;
const SET: i8 = 0;
