//! Posts over HTTP at full speed and at a fixed rate: what a caller of the bridge sends, on connections that stay open. The requests
//! are prepared beforehand and the answers are read no further than their length and the first word that says how it went, so that
//! the generator costs little. An answer that is not an acknowledgement for every record ends the measurement.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::ClientConfig;

use super::{Figures, Gauge, Shape, Watch, drive};
use crate::error::{Attempt, Error};
use crate::histogram::Histogram;
use crate::link::Stream;
use crate::payload::Payload;

/// Where a bridge listens.
#[derive(Clone)]
pub struct Bridge {
    /// Its address.
    pub address: SocketAddr,
    /// Client configuration, for HTTPS.
    pub tls: Option<Arc<ClientConfig>>,
}

/// How records are posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The value is the body.
    Raw,
    /// `{"records":[{"value":BASE64}, ...]}`, so many of them.
    Binary(usize),
    /// One request that stays open: records one after another, an answer for each; so many are under way.
    Stream(usize),
}

impl Style {
    /// Its name in tables.
    pub fn name(self) -> String {
        match self {
            Self::Raw => "raw, one a POST".into(),
            Self::Binary(1) => "v2 binary, one a POST".into(),
            Self::Binary(count) => format!("v2 binary, {count} a POST"),
            Self::Stream(_) => "v3 stream".into(),
        }
    }
}

/// Runs the load and measures its window. The cluster's id is part of the path of v3.
pub fn run(bridge: &Bridge, cluster: &str, shape: &Shape, style: Style, watch: Watch) -> Result<Figures, Error> {
    let value = Payload::new(shape.kind).value(shape.value_bytes);
    drive(shape, watch, |_, gauge| {
        let mut connection = Connection::open(bridge)?;
        gauge.arrive();
        match style {
            Style::Raw => post_again_and_again(&mut connection, &raw(&shape.topic, &value), 1, gauge),
            Style::Binary(count) => {
                post_again_and_again(&mut connection, &binary(&shape.topic, &value, count), count, gauge)
            }
            Style::Stream(under_way) => stream(&mut connection, cluster, shape, &value, under_way, gauge),
        }
    })
}

fn post_again_and_again(
    connection: &mut Connection,
    request: &[u8],
    records: usize,
    gauge: &Gauge,
) -> Result<(), Error> {
    while !gauge.stopped() {
        connection.post(request, records)?;
        gauge.count(records as u64);
    }
    Ok(())
}

/// The cluster's id, as `/v3/clusters` tells it.
pub fn cluster_id(bridge: &Bridge) -> Result<String, Error> {
    let mut connection = Connection::open(bridge)?;
    connection.send(b"GET /v3/clusters HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n")?;
    let body = connection.body()?;
    let clusters: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let id = clusters.pointer("/data/0/cluster_id").and_then(serde_json::Value::as_str);
    id.map(str::to_owned).ok_or_else(|| Error::Mismatch("/v3/clusters names no cluster".into()))
}

/// Posts single records at a fixed rate on one connection; latency counts from the scheduled moment.
pub fn latency(bridge: &Bridge, shape: &Shape, style: Style, rate: f64) -> Result<Histogram, Error> {
    let value = Payload::new(shape.kind).value(shape.value_bytes);
    let request = match style {
        Style::Raw => raw(&shape.topic, &value),
        _ => binary(&shape.topic, &value, 1),
    };
    let mut connection = Connection::open(bridge)?;
    connection.post(&request, 1)?;
    let (begin, step) = (Instant::now(), Duration::from_secs_f64(1.0 / rate));
    let (mut histogram, mut due) = (Histogram::default(), Duration::ZERO);
    while due < shape.warm + shape.length {
        thread::sleep((begin + due).saturating_duration_since(Instant::now()));
        connection.post(&request, 1)?;
        if due >= shape.warm {
            histogram.record(begin.elapsed().saturating_sub(due));
        }
        due += step;
    }
    Ok(histogram)
}

fn raw(topic: &str, value: &[u8]) -> Vec<u8> {
    request(&format!("/v1/topics/{topic}/records"), "application/octet-stream", value)
}

fn binary(topic: &str, value: &[u8], count: usize) -> Vec<u8> {
    let record = format!("{{\"value\":\"{}\"}}", STANDARD.encode(value));
    let body = format!("{{\"records\":[{}]}}", vec![record; count].join(","));
    request(&format!("/topics/{topic}"), "application/vnd.kafka.binary.v2+json", body.as_bytes())
}

fn request(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// One chunked request; what is under way is written again as soon as it is answered.
fn stream(
    connection: &mut Connection,
    cluster: &str,
    shape: &Shape,
    value: &[u8],
    under_way: usize,
    gauge: &Gauge,
) -> Result<(), Error> {
    let head = format!(
        "POST /v3/clusters/{cluster}/topics/{}/records HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n",
        shape.topic
    );
    connection.send(head.as_bytes())?;
    let record = format!("{{\"value\":{{\"type\":\"BINARY\",\"data\":\"{}\"}}}}\n", STANDARD.encode(value));
    let chunk = |records: usize| {
        let data = record.repeat(records);
        format!("{:x}\r\n{data}\r\n", data.len())
    };
    connection.send(chunk(under_way).as_bytes())?;
    connection.head()?;
    loop {
        let data = connection.chunk()?;
        let answered = data.iter().filter(|&&byte| byte == b'\n').count();
        let sound = count(&data, b"\"error_code\":200") == answered;
        if !sound {
            return Err(Error::Mismatch(format!("the stream answers {}", String::from_utf8_lossy(&data))));
        }
        gauge.count(answered as u64);
        if gauge.stopped() {
            return Ok(());
        }
        if answered > 0 {
            connection.send(chunk(answered).as_bytes())?;
        }
    }
}

fn count(data: &[u8], needle: &[u8]) -> usize {
    data.windows(needle.len()).filter(|window| *window == needle).count()
}

/// One connection that stays open.
pub struct Connection {
    stream: Stream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Connection {
    /// Connects.
    pub fn open(bridge: &Bridge) -> Result<Self, Error> {
        let stream = Stream::open(bridge.address, bridge.tls.as_ref())?;
        Ok(Self { stream, buffer: vec![0; BUFFER], start: 0, end: 0 })
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).and_then(|()| self.stream.flush()).attempt(|| "send a request".into())
    }

    /// Sends a request and takes its answer: 200, and an offset for each record.
    fn post(&mut self, request: &[u8], records: usize) -> Result<(), Error> {
        self.send(request)?;
        let body = self.body()?;
        if count(&body, b"\"offset\":") != records || count(&body, b"\"offset\":null") != 0 {
            return Err(Error::Mismatch(format!("a post is answered {}", String::from_utf8_lossy(&body))));
        }
        Ok(())
    }

    /// The body of an answer of success.
    fn body(&mut self) -> Result<Vec<u8>, Error> {
        let length = self.head()?.ok_or_else(|| Error::Mismatch("an answer has no Content-Length".into()))?;
        while self.end - self.start < length {
            self.fill()?;
        }
        Ok(self.take(length))
    }

    /// Takes the head of an answer, which must be one of success; gives the length of the body if it is told.
    pub fn head(&mut self) -> Result<Option<usize>, Error> {
        let head = loop {
            let seen = self.buffer.get(self.start..self.end).unwrap_or_default();
            if let Some(at) = seen.windows(4).position(|window| window == b"\r\n\r\n") {
                break self.take(at + 4);
            }
            self.fill()?;
        };
        let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
        if !text.starts_with("http/1.1 200") {
            return Err(Error::Mismatch(format!("a post is answered {text}")));
        }
        Ok(text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()))
    }

    /// The data of the next chunk.
    pub fn chunk(&mut self) -> Result<Vec<u8>, Error> {
        let line = loop {
            let seen = self.buffer.get(self.start..self.end).unwrap_or_default();
            if let Some(at) = seen.windows(2).position(|window| window == b"\r\n") {
                break self.take(at + 2);
            }
            self.fill()?;
        };
        let size = usize::from_str_radix(String::from_utf8_lossy(&line).trim(), 16);
        let size = size.map_err(|_| Error::Mismatch("a chunk has no size".into()))?;
        if size == 0 || size > LARGEST {
            return Err(Error::Mismatch(format!("a chunk of {size} bytes within a stream that stays open")));
        }
        while self.end - self.start < size + 2 {
            self.fill()?;
        }
        let data = self.take(size);
        self.start += 2;
        Ok(data)
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.buffer.get(self.start..self.start + count).unwrap_or_default().to_vec();
        self.start += count;
        taken
    }

    fn fill(&mut self) -> Result<(), Error> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            if self.buffer.len() >= LARGEST {
                return Err(Error::FrameTooLong { bytes: self.buffer.len(), limit: LARGEST });
            }
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        match self.stream.read(space).attempt(|| "read an answer".into())? {
            0 => Err(Error::Short { needed: 1, left: 0 }),
            read => {
                self.end += read;
                Ok(())
            }
        }
    }
}

/// Read size; grows only when one answer is longer.
const BUFFER: usize = 16 << 10;
/// Longest answer read.
const LARGEST: usize = 16 << 20;
