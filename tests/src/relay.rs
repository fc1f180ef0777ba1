//! Presents a client certificate for a program that has none: plain connections to a port of 127.0.0.1 arrive, the same bytes leave over TLS
//! with the certificate. A browser takes 127.0.0.1 for a safe place, so that what it may do over HTTPS it may do here.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsConnector;

use crate::certs::{ClientFiles, client_config};

/// A relay that works until it is dropped.
pub struct Relay {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Relay {
    /// To a port of this machine, as the client of these files.
    pub fn start(port: u16, files: &ClientFiles) -> Self {
        let connector = TlsConnector::from(Arc::new(client_config(files)));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime can be made");
        let socket = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port is free");
        let address = socket.local_addr().expect("a bound socket has an address");
        runtime.spawn(async move {
            while let Ok((client, _)) = socket.accept().await {
                tokio::spawn(relay(client, port, connector.clone()));
            }
        });
        Self { address, _runtime: runtime }
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Status and body of a path.
    pub fn ask(&self, path: &str) -> (u16, String) {
        crate::gateway::http(self.address.port(), path)
    }
}

async fn relay(mut client: TcpStream, port: u16, connector: TlsConnector) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let name = ServerName::try_from("localhost").expect("a name");
    let Ok(mut server) = connector.connect(name, server).await else { return };
    copy_bidirectional(&mut client, &mut server).await.ok();
}
