//! The demo's configuration: ports and the root's public key arrive, a commented YAML text leaves. It is what a user would
//! write for a real cluster, and stays in the folder to be read.

use super::stage::{BROKERS, Ports};

/// The text. Relative paths start at its folder.
pub(super) fn text(ports: &Ports, upstream: &str, root_public_key: &str) -> String {
    let servers: Vec<String> = upstream.split(',').map(|server| format!("\"{server}\"")).collect();
    TEXT.replace("{bootstrap}", &ports.bootstrap.to_string())
        .replace("{first_broker}", &ports.first_broker().to_string())
        .replace("{admin}", &ports.admin().to_string())
        .replace("{rest}", &ports.rest().to_string())
        .replace("{brokers}", &BROKERS.to_string())
        .replace("{servers}", &servers.join(", "))
        .replace("{root_public_key}", root_public_key)
}

const TEXT: &str = r#"# What `barnabas demo` runs with. For a cluster of your own: `barnabas init`, which writes a starter like this one.

listeners:
  - name: main
    bind: 127.0.0.1:{bootstrap}              # bootstrap.servers of the clients
    advertised_host: localhost
    cluster: demo
    # Every broker has a port here, so that no client goes round the gateway.
    brokers: { by: port, first_port: {first_broker}, first_node_id: 1, count: {brokers} }
    tls:
      certificate: tls/gateway.pem
      private_key: tls/gateway.key
      client_auth: required            # a client is who its certificate says
      client_ca: tls/ca.pem
    principal: { from: subject, mapping_rules: ["RULE:^CN=([^,]+)$/$1/", "DEFAULT"] }   # CN=alice is User:alice

rest:                                  # the same for whoever speaks HTTPS instead of Kafka's protocol
  - name: http
    bind: 127.0.0.1:{rest}
    cluster: demo
    tls: { certificate: tls/gateway.pem, private_key: tls/gateway.key, client_auth: required, client_ca: tls/ca.pem }
    principal: { from: subject, mapping_rules: ["RULE:^CN=([^,]+)$/$1/", "DEFAULT"] }

clusters:
  - name: demo
    bootstrap_servers: [{servers}]     # in the demo's own process: gone when it ends
    tls: off
    # A real broker answers a waiting fetch as soon as there is something; this one keeps it waiting to the end.
    client: { fetch.wait.max.ms: "20" }

keyring:
  topic: _barnabas_keyring             # identities, epochs, grants: signed objects in a compacted topic
  replication_factor: 1

keystore:                              # private keys in the gateway's custody, wrapped
  type: local
  path: keystore
  unlock: { key_file: keystore.key }

steward:                               # who signs what the keyring holds
  root_public_key: "{root_public_key}"
  run: embedded
  certificate: delegate.certificate

streams:
  default: refuse                      # a topic that no rule names is neither written nor read
  rules:
    - topic: orders                    # the show
      seal: true
      writers: ["User:alice"]
      readers: ["User:bob"]
    - topic: letters                   # for your own client
      seal: true
      writers: ["User:alice", "User:bob"]
      readers: ["User:alice", "User:bob"]

clients:                               # who gets keys of its own at its first connection; eve, too: keys are no rights
  enroll:
    - { principal: "User:.*", custody: gateway }

audit:                                 # who could read what, who did, what was refused: `barnabas audit verify audit`
  directory: audit
  origin: demo.example/barnabas

admin:
  bind: 127.0.0.1:{admin}

log: { format: json, level: info }
"#;
