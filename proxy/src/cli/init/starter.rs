//! The starter configuration: what `init` made arrives, a commented YAML text leaves that `check` finds sound.
//! It refuses topics that it does not name: the first thing that an operator decides is what is sealed for whom.

use std::path::Path;

/// The text. Relative paths start at its folder.
pub(super) fn text(root_public_key: &str, passphrase_file: Option<&Path>, dev_ca: bool) -> String {
    let unlock = match passphrase_file {
        // Single quotes: nothing in a path has a meaning but the quote itself.
        Some(path) => format!("{{ passphrase: {{ file: '{}' }} }}", path.display().to_string().replace('\'', "''")),
        None => "{ key_file: keystore.key }".to_owned(),
    };
    let tls = if dev_ca { WITH_TLS } else { WITHOUT_TLS };
    TEXT.replace("{tls}", tls).replace("{unlock}", &unlock).replace("{root_public_key}", root_public_key)
}

const TEXT: &str = r#"# Barnabas: clients connect here instead of to the brokers; the brokers hold only sealed records.
# Every key is explained in the configuration's documentation. `barnabas check` tells all mistakes at once.

listeners:
  - name: main
    bind: 127.0.0.1:9192               # bootstrap.servers of the clients; 0.0.0.0:9192 for all interfaces
    advertised_host: localhost         # what clients are told to connect to
    cluster: primary
    # Broker 0 is reached at port 9193, broker 1 at 9194 ..; 64 ports, so that later brokers are reachable, too.
    brokers: { by: port, first_port: 9193, first_node_id: 0, count: 64 }
{tls}
clusters:
  - name: primary
    bootstrap_servers: ["127.0.0.1:9092"]
    tls: off                           # or { ca: path } and, for mTLS, certificate and private_key

# The topic that holds identities, epochs and grants. Export it regularly: without it nothing opens.
keyring:
  topic: _barnabas_keyring

# The keys in this gateway's custody.
keystore:
  type: local
  path: keystore
  unlock: {unlock}

# Where a key management system hides the keys of clients and streams: the keystore then keeps the delegate's own only.
# kms:
#   vault:
#     type: vault                      # or aws, gcp, azure, kmip, pkcs11
#     endpoint: https://vault.internal:8200
#     auth: { token: { file: vault-token } }
# custody:
#   kms: vault                         # `barnabas kms check` tries it, `barnabas kms rotate` moves what there is
#   max_age: 1h                        # a key that is disabled there stops its client by then
#   outage_grace: 1h                   # how much longer a system that does not answer is survived

# Whose signature counts. The root key itself is in the folder `root`: take that folder offline.
steward:
  root_public_key: "{root_public_key}"
  run: embedded                        # this gateway also enrols clients, begins epochs and gives grants
  certificate: delegate.certificate

streams:
  default: refuse                      # a topic that no rule names: pass, refuse or seal
  rules:
    - topic: orders
      seal: true
      writers: ["User:alice"]
      readers: ["User:alice", "User:bob"]

# Who gets a key of its own when it first connects.
clients:
  enroll:
    - { principal: "User:.*", custody: gateway }

admin:
  bind: 127.0.0.1:9644                 # /livez, /readyz, /metrics

# Who could read what, who did, and proof that nothing is missing. The origin is the log's name for ever: change it now.
audit:
  directory: audit
  origin: audit.localhost/gateway-1
  # Gateways witness each other, so that nobody sets a log back unnoticed; `barnabas audit keys` prints the keys.
  # witnesses: [{ url: "http://gateway-2:9644/witness", key: "NAME+ID+KEY" }]
  # witness_for: ["NAME+ID+KEY"]       # the logs that this gateway witnesses
  # sinks: [{ name: topic, type: kafka }]   # the topic by which the logs of several gateways name each other

log: { format: text, level: info }
"#;

const WITH_TLS: &str = r#"    tls:
      certificate: tls/gateway.pem
      private_key: tls/gateway.key
      client_auth: required            # without a certificate nobody has a key of its own
      client_ca: tls/ca.pem
    principal: { from: subject, mapping_rules: ["RULE:^CN=([^,]+)$/$1/", "DEFAULT"] }   # CN=alice is User:alice
"#;

const WITHOUT_TLS: &str = r#"    # Plaintext: every client is User:ANONYMOUS, and nobody can write or read a sealed stream. For certificates:
    #   tls: { certificate: p, private_key: p, client_auth: required, client_ca: p }
    tls: off
"#;
