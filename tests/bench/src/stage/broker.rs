//! One combined broker and controller of Apache Kafka with a 1 GB heap. It also knows its segment files, which tell how many
//! bytes a record takes on disk and whether its value can be read there.

use std::fs::{self, File};
use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::child::{Child, START};
use super::{free_port, write};
use crate::error::{Attempt, Error};
use crate::link::Link;

/// A running broker.
pub struct Broker {
    /// Its plaintext listener.
    pub address: SocketAddr,
    child: Child,
    data: PathBuf,
    classes: String,
}

impl Broker {
    /// Formats a new data directory, starts the broker and waits for its first answer.
    pub fn start(libs: &Path, directory: &Path) -> Result<Self, Error> {
        let libs = libs.canonicalize().map_err(|_| {
            Error::Setup(format!(
                "no Kafka jars in {}: run tests/kafka/fetch.sh or name them with --kafka-libs",
                libs.display()
            ))
        })?;
        let (client, controller) = (free_port()?, free_port()?);
        let data = directory.join("broker");
        let properties = directory.join("server.properties");
        write(&properties, &settings(client, controller, &data))?;
        let logging = directory.join("log4j2.xml");
        write(&logging, LOGGING)?;

        let java = Path::new("java");
        let classes = format!("{}/*", libs.display());
        let file = properties.display().to_string();
        let logged = format!("-Dlog4j2.configurationFile={}", logging.display());
        let arguments = |rest: &[&str]| rest.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>();
        Child::output(
            java,
            &arguments(&["-cp", &classes, "kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", &file]),
        )?;
        let child = Child::start(
            java,
            &arguments(&["-Xms1g", "-Xmx1g", &logged, "-cp", &classes, "kafka.Kafka", &file]),
            directory.join("broker.log"),
        )?;
        let address = SocketAddr::from(([127, 0, 0, 1], client));
        Link::await_life(address, None, START).map_err(|error| child.complaint(&error))?;
        Ok(Self { address, child, data, classes })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Class path of Kafka and its tools.
    pub fn classes(&self) -> &str {
        &self.classes
    }

    /// Ends it.
    pub fn end(&mut self) {
        self.child.end();
    }

    /// Bytes in the topic's segment files.
    pub fn stored_bytes(&self, topic: &str) -> Result<u64, Error> {
        let mut bytes = 0;
        for segment in self.segments(topic)? {
            bytes += fs::metadata(&segment).attempt(|| format!("look at {}", segment.display()))?.len();
        }
        Ok(bytes)
    }

    /// Whether `needle` stands in the first bytes of any segment of the topic.
    pub fn stores(&self, topic: &str, needle: &[u8]) -> Result<bool, Error> {
        for segment in self.segments(topic)? {
            let mut start = Vec::new();
            File::open(&segment)
                .and_then(|file| file.take(LOOKED_THROUGH).read_to_end(&mut start))
                .attempt(|| format!("read {}", segment.display()))?;
            if start.windows(needle.len()).any(|window| window == needle) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn segments(&self, topic: &str) -> Result<Vec<PathBuf>, Error> {
        let list = |path: &Path| fs::read_dir(path).attempt(|| format!("list {}", path.display()));
        let mut segments = Vec::new();
        for partition in list(&self.data)?.flatten() {
            let name = partition.file_name();
            let of_topic = name.to_str().and_then(|name| name.rsplit_once('-')).is_some_and(|(of, _)| of == topic);
            if of_topic {
                let files = list(&partition.path())?.flatten().map(|file| file.path());
                segments.extend(files.filter(|file| file.extension().is_some_and(|extension| extension == "log")));
            }
        }
        Ok(segments)
    }
}

fn settings(client: u16, controller: u16, data: &Path) -> String {
    format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\n\
         listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{client}\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         inter.broker.listener.name=PLAINTEXT\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         share.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\n\
         auto.create.topics.enable=false\n",
        data.display()
    )
}

/// Warnings only: a log line for each segment would be load of its own.
const LOGGING: &str = r#"<Configuration><Appenders><Console name="out"><PatternLayout pattern="%d %p %c %m%n"/></Console></Appenders>
<Loggers><Root level="warn"><AppenderRef ref="out"/></Root></Loggers></Configuration>
"#;
/// Any 16 bytes in URL-safe base 64 are a cluster id.
const CLUSTER: &str = "YmFybmFiYXMtYmVuY2gtMQ";
const LOOKED_THROUGH: u64 = 4 << 20;
