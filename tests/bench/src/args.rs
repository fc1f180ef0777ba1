//! The command line. Single loads for work on one figure; `compare` and `all` bring their own broker, relays and gateways.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::batch::Codec;
use crate::error::Error;
use crate::link::Link;
use crate::load::{Shape, Target, Watch};
use crate::payload::Kind;
use crate::stage::Party;
use crate::tls;

/// Load generator and benchmark of Barnabas.
#[derive(Parser)]
#[command(version, about)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub task: Task,
}

/// The tasks.
#[derive(Subcommand)]
pub enum Task {
    /// Produce at full speed and measure a process
    Produce(Single),
    /// Fetch what `produce` wrote, at full speed, and measure a process
    Consume(Single),
    /// Send single records at a fixed rate; latency from the scheduled moment to acknowledgement and to delivery
    Latency {
        #[command(flatten)]
        single: Single,
        /// Records in a second, over all connections
        #[arg(long, default_value_t = 500.0)]
        rate: f64,
    },
    /// Post records over HTTP at full speed and measure a process; the target is a bridge
    Post {
        #[command(flatten)]
        single: Single,
        /// How they are posted
        #[arg(long, value_enum, default_value_t = Way::Raw)]
        way: Way,
        /// Records in each POST (binary), or under way on each connection (stream)
        #[arg(long, default_value_t = 1)]
        count: usize,
    },
    /// Hold idle connections and measure what they take
    Idle {
        #[command(flatten)]
        single: Single,
        /// How many to open
        #[arg(long, default_value_t = 1000)]
        count: usize,
    },
    /// Measure AEAD, CRC, copy, TLS and socket relay alone: the limit
    Parts {
        /// Bytes of each record value
        #[arg(long, default_value_t = 1024)]
        value: usize,
    },
    /// Start broker, relays and gateways, print their addresses and pids, and hold them until Enter
    Up(StageArguments),
    /// One load side by side on its own stage, alternating rounds
    Compare(Compare),
    /// Everything, as committed in RESULTS.md
    All {
        #[command(flatten)]
        stage: StageArguments,
        /// Rounds of the main loads; the others get one
        #[arg(long, default_value_t = 3)]
        rounds: usize,
        /// Window of each load
        #[arg(long, default_value_t = 3.0)]
        seconds: f64,
        /// File for the tables
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

/// One load on a target that runs already.
#[derive(Args)]
pub struct Single {
    /// Bootstrap address
    #[arg(long)]
    pub target: String,
    /// The process to measure
    #[arg(long)]
    pub pid: Option<u32>,
    /// The broker's process, for context
    #[arg(long)]
    pub broker_pid: Option<u32>,
    /// Stay on the target instead of following Metadata: for relays that do not rewrite addresses
    #[arg(long)]
    pub stay: bool,
    /// Authority of the server's certificate: turns TLS on (the server is asked for as `localhost`)
    #[arg(long, value_name = "PEM")]
    pub ca: Option<PathBuf>,
    /// Client certificate
    #[arg(long, value_name = "PEM", requires = "key")]
    pub cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "PEM", requires = "cert")]
    pub key: Option<PathBuf>,
    /// Topic; `produce` and `latency` create it when it is missing
    #[arg(long, default_value = "bench")]
    pub topic: String,
    /// The load
    #[command(flatten)]
    pub load: LoadArguments,
    /// Write the figures to a file, for a later --against
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Compare with the figures of an earlier --save
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// Print the figures as one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// How records are posted over HTTP.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Way {
    /// The body is the value
    Raw,
    /// v2, base64
    Binary,
    /// v3, one request that stays open
    Stream,
}

/// The shape of a load.
#[derive(Args, Clone)]
pub struct LoadArguments {
    /// Length of the measured window
    #[arg(long, default_value_t = 3.0)]
    pub seconds: f64,
    /// Load before the window
    #[arg(long, default_value_t = 1.0)]
    pub warm: f64,
    /// Parallel connections
    #[arg(long, default_value_t = 4)]
    pub connections: usize,
    /// Partitions of a topic that is created
    #[arg(long, default_value_t = 4)]
    pub partitions: i32,
    /// Produce requests in flight on each connection
    #[arg(long, default_value_t = 5)]
    pub in_flight: i32,
    /// Bytes of each record value
    #[arg(long, default_value_t = 1024)]
    pub value: usize,
    /// Bytes of values in each batch; less than --value gives one record for each request
    #[arg(long, default_value_t = 65_536)]
    pub batch: usize,
    /// Compression by the producer
    #[arg(long, value_enum, default_value_t = Codec::None)]
    pub codec: Codec,
    /// What values look like
    #[arg(long, value_enum, default_value_t = Kind::Random)]
    pub values: Kind,
    /// Acknowledgements that a produce waits for
    #[arg(long, value_enum, default_value_t = Acks::All)]
    pub acks: Acks,
    /// Limit of one fetch answer
    #[arg(long, default_value_t = 1 << 20)]
    pub fetch_bytes: i32,
}

/// Whose word a produce waits for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Acks {
    /// All in-sync replicas
    All,
    /// The leader
    #[value(name = "1")]
    Leader,
}

/// Where to find what the stage consists of.
#[derive(Args, Clone)]
pub struct StageArguments {
    /// Kafka's jars
    #[arg(long, default_value = "target/kafka/libs", env = "BARNABAS_KAFKA_LIBS")]
    pub kafka_libs: PathBuf,
    /// The gateway's binary
    #[arg(long, default_value = "target/release/barnabas")]
    pub gateway: PathBuf,
    /// Configuration templates of the gateway: pass.yaml, sealed.yaml, sealed-mtls.yaml
    #[arg(long, default_value = "tests/bench/gateway")]
    pub gateway_configs: PathBuf,
    /// Who takes part; default: all that can be started
    #[arg(long, value_enum, value_delimiter = ',')]
    pub parties: Vec<Party>,
    /// Throw-away directory
    #[arg(long, default_value = "target/bench")]
    pub work: PathBuf,
}

/// One load, side by side.
#[derive(Args)]
pub struct Compare {
    /// The stage
    #[command(flatten)]
    pub stage: StageArguments,
    /// What is compared
    #[arg(long, value_enum, default_value_t = Aspect::Speed)]
    pub aspect: Aspect,
    /// The load
    #[command(flatten)]
    pub load: LoadArguments,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 3)]
    pub rounds: usize,
    /// Records in a second (latency)
    #[arg(long, default_value_t = 500.0)]
    pub rate: f64,
    /// Idle connections (idle)
    #[arg(long, default_value_t = 1000)]
    pub count: usize,
    /// Entries of the log that is verified (audit): some 700 bytes of disk each
    #[arg(long, default_value_t = 1_000_000)]
    pub entries: u64,
    /// Rotations under load (rotate), revocations (revoke)
    #[arg(long, default_value_t = 5)]
    pub times: usize,
}

/// What `compare` looks at.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Aspect {
    /// The audit log: CPU and latency with it and without, events a second, memory with a dead sink
    Audit,
    /// The HTTP bridge beside a native client: CPU for each record, latency, waiting readers
    Http,
    /// Memory of idle connections
    Idle,
    /// Latency at a fixed rate
    Latency,
    /// Grants revoked by command: until when two gateways go on delivering
    Revoke,
    /// The epoch rotated by command, under full load: silences, duplicates, gaps
    Rotate,
    /// Produce, then consume, at full speed
    Speed,
    /// Kafka's own consumer: its rate against direct
    Stock,
}

impl LoadArguments {
    /// The load on `topic`.
    pub fn shape(&self, topic: &str) -> Shape {
        Shape {
            topic: topic.to_owned(),
            connections: self.connections.max(1),
            in_flight: self.in_flight.max(1),
            value_bytes: self.value.max(1),
            records: (self.batch / self.value.max(1)).max(1),
            codec: self.codec,
            kind: self.values,
            acks: match self.acks {
                Acks::All => -1,
                Acks::Leader => 1,
            },
            fetch_bytes: self.fetch_bytes,
            warm: Duration::from_secs_f64(self.warm.max(0.0)),
            length: Duration::from_secs_f64(self.seconds.max(0.1)),
        }
    }
}

impl Single {
    /// What to connect to.
    pub fn target(&self) -> Result<Target, Error> {
        let identity = self.cert.as_deref().zip(self.key.as_deref());
        let tls = self.ca.as_deref().map(|ca| tls::client_config(ca, identity)).transpose()?;
        Ok(Target { address: Link::resolve(&self.target)?, tls, follow: !self.stay })
    }

    /// What to measure.
    pub fn watch(&self) -> Watch {
        Watch { measured: self.pid, broker: self.broker_pid }
    }
}
