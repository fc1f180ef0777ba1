//! HAProxy as the bar: it relays the same bytes and knows nothing of Kafka. Defaults throughout; threads as many as cores.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::child::Child;
use super::{Party, free_port, write};
use crate::error::Error;
use crate::tls::Certificates;

/// Starts a HAProxy in front of `broker`; with certificates it demands mTLS.
pub fn start(
    directory: &Path,
    party: Party,
    broker: SocketAddr,
    certificates: Option<&Certificates>,
) -> Result<(SocketAddr, Child), Error> {
    let program = ["/usr/sbin/haproxy", "/usr/local/sbin/haproxy"]
        .iter()
        .map(PathBuf::from)
        .find(|path| path.exists())
        .ok_or_else(|| Error::Setup("haproxy is missing: apt-get install -y haproxy".into()))?;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
    let tls = certificates.map_or(String::new(), |files| {
        format!(" ssl crt {} ca-file {} verify required", files.server_both.display(), files.ca.display())
    });
    let configuration = format!(
        "global\n    maxconn 4096\n\
         defaults\n    mode tcp\n    timeout connect 5s\n    timeout client 1h\n    timeout server 1h\n\
         listen kafka\n    bind {address}{tls}\n    server broker {broker}\n"
    );
    let file = directory.join(format!("{}.cfg", party.name()));
    write(&file, &configuration)?;
    let log = directory.join(format!("{}.log", party.name()));
    let child = Child::start(&program, &["-db".into(), "-f".into(), file.display().to_string()], log)?;
    Ok((address, child))
}
