//! The stage of a side-by-side run: one real broker and, each in a process of its own so that it can be measured alone, HAProxy
//! plain and with mTLS, and the gateway passing, sealing, and sealing with mTLS. All on 127.0.0.1, all ended with the run.

mod broker;
mod child;
mod gateway;
mod relay;

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use clap::ValueEnum;

use crate::args::StageArguments;
use crate::error::{Attempt, Error};
use crate::load::http::Bridge;
use crate::load::{Target, Watch};
use crate::tls::Certificates;

pub use broker::Broker;
pub use child::Child;
pub use gateway::{Console, Gateway};

/// Who can be measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Party {
    /// The broker itself
    Direct,
    /// HAProxy, relaying TCP
    Haproxy,
    /// HAProxy, ending mTLS
    HaproxyMtls,
    /// The gateway, sealing nothing
    Pass,
    /// The gateway, sealing
    Sealed,
    /// The gateway, sealing, with client mTLS
    SealedMtls,
}

/// A running stage.
pub struct Stage {
    /// The broker.
    pub broker: Broker,
    /// The run's certificates.
    pub certificates: Certificates,
    members: Vec<Member>,
    /// Who could not be started, and why.
    pub missing: Vec<(Party, String)>,
    directory: PathBuf,
    numbers: AtomicU32,
}

/// One party that runs.
pub struct Member {
    /// Who it is.
    pub party: Party,
    /// Where to send load.
    pub target: Target,
    /// Its process; none for the broker itself.
    pub child: Option<Child>,
    /// Its operator's commands; only a gateway has them.
    pub console: Option<Console>,
    /// Its HTTP bridge; only a gateway that seals has one.
    pub bridge: Option<Bridge>,
}

impl Party {
    /// Its name in tables and topics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Haproxy => "haproxy",
            Self::HaproxyMtls => "haproxy-mtls",
            Self::Pass => "pass",
            Self::Sealed => "sealed",
            Self::SealedMtls => "sealed-mtls",
        }
    }

    /// Whether its clients speak TLS.
    pub fn tls(self) -> bool {
        matches!(self, Self::HaproxyMtls | Self::SealedMtls)
    }

    /// Whether the broker may see values.
    pub fn seals(self) -> bool {
        matches!(self, Self::Sealed | Self::SealedMtls)
    }

    /// Whether it relays bytes and leaves addresses in them as they are: Metadata leads a real client past it.
    pub fn is_relay(self) -> bool {
        matches!(self, Self::Haproxy | Self::HaproxyMtls)
    }

    /// The relay whose cost is the bar for this one.
    pub fn bar(self) -> Self {
        if self.tls() { Self::HaproxyMtls } else { Self::Haproxy }
    }
}

impl Stage {
    /// Starts the broker and the wanted parties. A party asked for by name that cannot start is an error; one of the default set
    /// is noted as missing.
    pub fn start(arguments: &StageArguments) -> Result<Self, Error> {
        let directory = arguments.work.join(format!("stage-{}", std::process::id()));
        fs::create_dir_all(&directory).attempt(|| format!("create {}", directory.display()))?;
        let directory = directory.canonicalize().attempt(|| format!("find {}", directory.display()))?;
        let certificates = Certificates::create(&directory)?;
        let broker = Broker::start(&arguments.kafka_libs, &directory)?;
        let mut stage = Self {
            broker,
            certificates,
            members: Vec::new(),
            missing: Vec::new(),
            directory,
            numbers: AtomicU32::new(0),
        };
        let wanted = match arguments.parties.as_slice() {
            [] => Party::value_variants(),
            named => named,
        };
        for &party in wanted {
            match stage.member(party, arguments) {
                Ok(member) => stage.members.push(member),
                Err(error) if arguments.parties.is_empty() => stage.missing.push((party, error.to_string())),
                Err(error) => return Err(error),
            }
        }
        Ok(stage)
    }

    fn member(&self, party: Party, arguments: &StageArguments) -> Result<Member, Error> {
        let relayed = |certificates| {
            let (address, child) = relay::start(&self.directory, party, self.broker.address, certificates)?;
            Ok::<_, Error>((address, Some(child), None, None))
        };
        let (address, child, console, rest) = match party {
            Party::Direct => (self.broker.address, None, None, None),
            Party::Haproxy => relayed(None)?,
            Party::HaproxyMtls => relayed(Some(&self.certificates))?,
            Party::Pass | Party::Sealed | Party::SealedMtls => {
                let Gateway { address, rest, child, console } =
                    gateway::start(&self.directory, party, self.broker.address, &self.certificates, arguments)?;
                (address, Some(child), Some(console), Some(rest).filter(|_| party.seals()))
            }
        };
        let tls = if party.tls() { Some(self.certificates.client_config()?) } else { None };
        let follow = matches!(party, Party::Pass | Party::Sealed | Party::SealedMtls);
        crate::link::Link::await_life(address, tls.as_ref(), crate::stage::child::START)?;
        let bridge = rest.map(|address| Bridge { address, tls: tls.clone() });
        Ok(Member { party, target: Target { address, tls, follow }, child, console, bridge })
    }

    /// The run's throw-away directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The parties that run, in their order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Another number each time.
    pub fn next_number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The broker as a target, for topics.
    pub fn direct(&self) -> Target {
        Target { address: self.broker.address, tls: None, follow: false }
    }

    /// What to watch while `member` is under load.
    pub fn watch(&self, member: &Member) -> Watch {
        Watch { measured: member.child.as_ref().map(Child::pid), broker: Some(self.broker.pid()) }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.members.clear();
        self.broker.end();
        let _left_for_the_next_clean = fs::remove_dir_all(&self.directory);
    }
}

/// A port that nothing listens on at this moment.
fn free_port() -> Result<u16, Error> {
    TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .attempt(|| "find a free port".into())
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).attempt(|| format!("write {}", path.display()))
}
