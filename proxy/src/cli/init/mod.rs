//! `barnabas init`: a folder with everything that a first start needs. A path arrives; keys, certificates and a commented
//! configuration leave. Nothing that exists is ever overwritten: a lost root key cannot be made again, so a folder that
//! has any of the files is refused before anything is written.

pub(super) mod secrets;
mod certificates;
mod starter;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::output::Row;
use super::{Exit, Failure, OutputArg};

/// Make steward keys, a local keystore and a commented starter configuration
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub struct InitArgs {
    /// The folder; made with access for its owner only
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub(super) dir: PathBuf,
    /// Open the keystores by the passphrase in this file instead of a key file
    #[arg(long, value_name = "FILE")]
    pub(super) passphrase_file: Option<PathBuf>,
    /// Also make a development authority with certificates for the gateway and for clients
    #[arg(long)]
    pub(super) dev_ca: bool,
    /// A client to make a development certificate for; may be repeated
    #[arg(long = "client", value_name = "NAME", default_values = ["alice", "bob"], requires = "dev_ca")]
    pub(super) clients: Vec<String>,
    /// A further host name or address in the gateway's development certificate; may be repeated
    #[arg(long = "host", value_name = "HOST", requires = "dev_ca")]
    pub(super) hosts: Vec<String>,
    #[command(flatten)]
    pub(super) output: OutputArg,
}

pub(super) fn run(args: InitArgs) -> Result<(), Failure> {
    let made = make(&args)?;
    let mut printer = args.output.printer();
    printer.one(&made)?;
    printer.line("")?;
    printer.line(&format!("Take {}/root offline: whoever has it rules every key.", made.folder))?;
    printer
        .line(&format!("Next: barnabas check --config {0}, then barnabas serve --config {0}", made.configuration))?;
    Ok(())
}

/// What was made, for the printer.
#[derive(Debug, Serialize)]
struct Made {
    folder: String,
    configuration: String,
    keystore: String,
    root_public_key: String,
    certificates: Vec<String>,
}

impl Row for Made {
    const COLUMNS: &'static [&'static str] =
        &["folder", "configuration", "keystore", "root public key", "certificates"];

    fn cells(&self) -> Vec<String> {
        let certificates = if self.certificates.is_empty() { "none".to_owned() } else { self.certificates.join(", ") };
        vec![
            self.folder.clone(),
            self.configuration.clone(),
            self.keystore.clone(),
            self.root_public_key.clone(),
            certificates,
        ]
    }
}

/// Keys and development certificates without a configuration; gives the root's public key.
pub(super) fn make_keys(dir: &Path, clients: &[String]) -> Result<String, Failure> {
    let root_public_key = hex::encode(secrets::make(dir, None)?);
    certificates::make(&dir.join(certificates::FOLDER), clients, &[])?;
    Ok(root_public_key)
}

fn make(args: &InitArgs) -> Result<Made, Failure> {
    for name in args.clients.iter().filter(|_| args.dev_ca) {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || name.starts_with('.') || !name.chars().all(plain) {
            return Err(Failure::new(Exit::Usage, format!("`{name}` is no name for a file and a certificate")));
        }
    }
    let dir = args.dir.as_path();
    for name in [
        CONFIGURATION,
        secrets::KEYSTORE_FILE,
        secrets::KEY_FILE,
        secrets::ROOT_FOLDER,
        secrets::DELEGATE_CERTIFICATE_FILE,
        secrets::ROOT_PUBLIC_FILE,
        certificates::FOLDER,
    ] {
        let path = dir.join(name);
        if path.symlink_metadata().is_ok() {
            let line = format!("`{}` exists already; choose another folder, or take it away", path.display());
            return Err(Failure::new(Exit::CannotCreate, line));
        }
    }
    private_folder(dir)?;
    let passphrase_file = args.passphrase_file.as_deref().map(absolute).transpose()?;
    let root_public_key = hex::encode(secrets::make(dir, passphrase_file.as_deref())?);
    let certificates = if args.dev_ca {
        certificates::make(&dir.join(certificates::FOLDER), &args.clients, &args.hosts)?
    } else {
        Vec::new()
    };
    // Last: a folder with a configuration is a whole one.
    let text = starter::text(&root_public_key, passphrase_file.as_deref(), args.dev_ca);
    let configuration = dir.join(CONFIGURATION);
    write_new(&configuration, text.as_bytes(), 0o644)?;
    Ok(Made {
        folder: dir.display().to_string(),
        configuration: configuration.display().to_string(),
        keystore: dir.join(secrets::KEYSTORE_FILE).display().to_string(),
        root_public_key,
        certificates,
    })
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|error| Failure::new(Exit::Failed, format!("`{}`: {error}", path.display())))
}

pub(super) fn private_folder(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| cannot_create(path, &error))
}

pub(super) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), Failure> {
    let written = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| cannot_create(path, &error))
}

fn cannot_create(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Exit::CannotCreate, format!("`{}` cannot be made: {error}", path.display()))
}

/// The starter configuration.
const CONFIGURATION: &str = "barnabas.yaml";

const HELP: &str = "\
Examples:
  barnabas init --dir gateway
  barnabas init --dir gateway --dev-ca --client alice --client billing --host kafka.example.com

The folder `root` in it holds the root key: it signs nothing but delegates. Keep it offline, and keep a copy.";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::cli::load_sound;
    use crate::identity::Principal;
    use crate::tls::ServerTls;

    fn args(dir: &Path, dev_ca: bool) -> InitArgs {
        let output = OutputArg { output: crate::cli::Format::Json };
        let (clients, hosts) = (vec!["alice".to_owned(), "bob".to_owned()], vec!["kafka.example.com".to_owned()]);
        InitArgs { dir: dir.to_owned(), passphrase_file: None, dev_ca, clients, hosts, output }
    }

    #[test]
    fn what_init_makes_is_a_sound_configuration() {
        for dev_ca in [false, true] {
            let parent = tempfile::tempdir().unwrap();
            let dir = parent.path().join("gateway");
            let made = make(&args(&dir, dev_ca)).unwrap_or_else(|f| panic!("{:?}", f.lines));
            let config = load_sound(&dir.join(CONFIGURATION)).unwrap_or_else(|m| panic!("{m:#?}"));
            assert_eq!(config.steward.root_public_key.map(hex::encode), Some(made.root_public_key));
            assert!(config.policy.may_seal());
            assert_eq!(config.listeners.first().unwrap().tls.is_some(), dev_ca);
            assert_eq!(made.certificates.len(), if dev_ca { 4 } else { 0 });
        }
    }

    #[test]
    fn the_delegate_is_certified_by_the_root_that_the_configuration_pins() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("gateway");
        make(&args(&dir, false)).unwrap();
        let config = load_sound(&dir.join(CONFIGURATION)).unwrap();
        let keystore = crate::gateway::open_keystore(config.keystore.as_ref().unwrap()).unwrap();
        let seed = keystore.secret(crate::gateway::DELEGATE_SECRET).unwrap();
        let key = barnabas_crypto::SigningKey::from_seed(&seed).unwrap();
        let wire = fs::read(config.steward.certificate.unwrap()).unwrap();
        let object = barnabas_crypto::SignedObject::parse(&wire).unwrap();
        let root = barnabas_crypto::VerifyingKey::from_bytes(config.steward.root_public_key.unwrap());
        object.verify(&root).unwrap();
        let barnabas_crypto::Body::Delegate(delegate) = object.body() else { panic!("not a delegate") };
        assert_eq!(delegate.key, *key.public());
        assert!(keystore.secret("steward-root").is_err(), "the root's key must not lie in the gateway's keystore");
    }

    #[test]
    fn secrets_are_for_their_owner_only() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("gateway");
        make(&args(&dir, true)).unwrap();
        let mode = |name: &str| fs::metadata(dir.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(""), 0o700);
        for name in ["keystore", "keystore.key", "root/keystore", "root/keystore.key", "tls/ca.key", "tls/alice.key"] {
            assert_eq!(mode(name), 0o600, "{name}");
        }
    }

    #[test]
    fn nothing_is_ever_overwritten() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("gateway");
        make(&args(&dir, false)).unwrap();
        let before = fs::read(dir.join("root/keystore")).unwrap();
        let failure = make(&args(&dir, false)).unwrap_err();
        assert_eq!(failure.exit, Exit::CannotCreate);
        assert_eq!(fs::read(dir.join("root/keystore")).unwrap(), before);
        fs::remove_file(dir.join(CONFIGURATION)).unwrap();
        assert_eq!(make(&args(&dir, false)).unwrap_err().exit, Exit::CannotCreate);
    }

    #[test]
    fn development_certificates_have_the_names_that_they_should() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("gateway");
        make(&args(&dir, true)).unwrap();
        let config = load_sound(&dir.join(CONFIGURATION)).unwrap();
        let listener = config.listeners.first().unwrap();
        let tls = ServerTls::new(listener.tls.clone().unwrap(), listener.principal.clone()).unwrap().snapshot();
        assert!(tls.covers("localhost") && tls.covers("kafka.example.com") && !tls.covers("other.example.com"));
        let pem = fs::read(dir.join("tls/alice.pem")).unwrap();
        let (_, pem) = x509_parser::pem::parse_x509_pem(&pem).unwrap();
        assert_eq!(listener.principal.principal(&pem.contents), Ok(Principal::user("alice")));
        let mut wrong = args(&dir.join("other"), true);
        wrong.clients = vec!["../alice".to_owned()];
        assert_eq!(make(&wrong).unwrap_err().exit, Exit::Usage);
    }
}
