//! `barnabas client`: identities. A principal arrives, an identity with keys of its own is registered or removed.

use std::path::{Path, PathBuf};

use barnabas_crypto::{
    Body, Custodian, Identity, IdentityId, IdentityPublic, KemPublicKey, KemSuite, Keyring, Kind, ObjectId, Slot,
    VerifyingKey,
};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use clap::{Args, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use super::desk::{self, Desk};
use super::{ConfigArg, Exit, Failure, OutputArg, Row, moment};
use crate::config::{Policy, StreamRule};
use crate::identity::Principal;
use crate::steward::Change;

/// Give a principal an identity with keys of its own, list identities, remove one
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = HELP, subcommand_required = true)]
pub enum ClientCommand {
    Add(AddArgs),
    List(ListArgs),
    Remove(RemoveArgs),
}

/// Register an identity for a principal
#[derive(Clone, Debug, Args)]
#[command(after_help = ADD_HELP)]
pub struct AddArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The principal as the listener makes it from the certificate, such as User:CN=alice
    #[arg(long, value_name = "User:NAME")]
    pub(super) principal: String,
    /// Where the private keys live
    #[arg(long, value_enum, default_value_t = CustodyChoice::Gateway)]
    pub(super) custody: CustodyChoice,
    /// The client's public identity, made by the client library; needed for custody client
    #[arg(long, value_name = "FILE", required_if_eq("custody", "client"))]
    pub(super) public_identity: Option<PathBuf>,
}

/// Where the private keys of an identity live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CustodyChoice {
    /// In the gateway, wrapped by the keystore
    Gateway,
    /// With the client; the gateway cannot read what this client reads
    Client,
}

/// List identities: principal, custody, since when
#[derive(Clone, Debug, Args)]
#[command(after_help = LIST_HELP)]
pub struct ListArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    #[command(flatten)]
    pub(super) output: OutputArg,
}

/// End all grants of a client: new epochs follow, it reads nothing sealed afterwards and writes nothing
#[derive(Clone, Debug, Args)]
#[command(after_help = REMOVE_HELP)]
pub struct RemoveArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The principal
    #[arg(long, value_name = "User:NAME")]
    pub(super) principal: String,
    /// Take the identity itself out of the keyring, too: all that the client has written becomes unreadable, for everyone
    #[arg(long)]
    pub(super) forget: bool,
}

pub(super) fn run(command: ClientCommand) -> Result<(), Failure> {
    match command {
        ClientCommand::Add(args) => add(args),
        ClientCommand::List(args) => list(args),
        ClientCommand::Remove(args) => remove(args),
    }
}

fn add(args: AddArgs) -> Result<(), Failure> {
    let principal = desk::principal(&args.principal)?;
    let public = args.public_identity.as_deref().map(read_public).transpose()?;
    if public.is_some() && args.custody == CustodyChoice::Gateway {
        let line = "--public-identity is for --custody client: with custody gateway the keys are made here";
        return Err(Failure::new(Exit::Usage, line));
    }
    let desk = Desk::to_change(args.config.load()?)?;
    desk::check_certificate(&desk)?;
    let known = desk.read(|keyring| keyring.identity_of(principal.as_str()).map(Identity::id))?;
    let change = match public {
        None if known.is_some() => {
            let known = desk.identity(&principal)?;
            println!("{principal} has identity {} already; nothing was changed", known.id());
            return Ok(());
        }
        None => Change::Enroll { principal: principal.as_str().to_owned(), by: BY.to_owned() },
        Some(public) if known == Some(public.id()) => {
            println!("{principal} has identity {} already; nothing was changed", public.id());
            return Ok(());
        }
        Some(public) => Change::Register { principal: principal.as_str().to_owned(), public, by: BY.to_owned() },
    };
    desk.make(&change)?;
    println!("{principal} has identity {}", desk.identity(&principal)?.id());
    if known.is_some() {
        desk::warn("grants of the identity that it had before are not taken over: add them anew");
    }
    if principal.is_anonymous() {
        desk::warn("every client that proves nothing shares this identity and its grants");
    }
    Ok(())
}

fn list(args: ListArgs) -> Result<(), Failure> {
    let desk = Desk::to_read(args.config.load()?)?;
    let rows = desk.read(rows)?;
    Ok(args.output.printer().list(&rows)?)
}

fn remove(args: RemoveArgs) -> Result<(), Failure> {
    let principal = desk::principal(&args.principal)?;
    let desk = Desk::to_change(args.config.load()?)?;
    desk::check_certificate(&desk)?;
    desk.identity(&principal)?;
    let identities: Vec<IdentityId> = desk.read(|keyring| {
        let theirs = |identity: &&Identity| identity.principal == principal.as_str();
        identities(keyring).filter(theirs).map(Identity::id).collect()
    })?;
    desk.make(&Change::RevokeAll { identities: identities.clone() })?;
    println!("{principal}: all grants have ended");
    if args.forget {
        for identity in &identities {
            let target = Slot { kind: Kind::Identity, id: ObjectId::from_bytes(*identity.as_bytes()) };
            desk.make(&Change::Remove { target, reason: format!("{BY}: client remove --forget") })?;
            println!("{principal}: identity {identity} is out of the keyring; what it wrote is unreadable from now on");
        }
    } else {
        println!("{principal}: its identity stays in the keyring, so that what it wrote stays readable to others");
    }
    for line in still_named(&desk.config().policy, &principal, args.forget) {
        desk::warn(&line);
    }
    Ok(())
}

/// What the configuration would give the client again: a command ends what there is, rules are for the configuration.
fn still_named(policy: &Policy, principal: &Principal, forgotten: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if forgotten && policy.enrolment(principal).is_some() {
        lines.push(format!("clients.enroll still covers {principal}: it gets a new identity when it connects again"));
    }
    let names = |rule: &StreamRule| match rule {
        StreamRule::Seal(rule) => rule.may_read(principal) || rule.may_write(principal),
        _ => false,
    };
    let streams = policy.streams();
    if names(&streams.default) || streams.rules.iter().any(|(_, rule)| names(rule)) {
        let when =
            if forgotten { "a new identity of it is granted" } else { "on topics that are sealed later it is granted" };
        lines.push(format!("`streams` still names {principal}: {when} what the rule says; take it out there"));
    }
    lines
}

fn identities(keyring: &Keyring) -> impl Iterator<Item = &Identity> {
    keyring.objects().filter_map(|object| match object.body() {
        Body::Identity(identity) => Some(identity),
        _ => None,
    })
}

fn rows(keyring: &Keyring) -> Vec<ClientRow> {
    let current = |principal: &str| keyring.identity_of(principal).map(Identity::id);
    let mut rows: Vec<ClientRow> = identities(keyring)
        .map(|identity| ClientRow {
            principal: identity.principal.clone(),
            identity: identity.id().to_string(),
            custody: match identity.custody {
                Custodian::Gateway(_) => "gateway",
                Custodian::Client => "client",
            },
            kem: kem_name(identity.public.kem.suite()),
            created: moment::written(identity.created),
            by: identity.enrolled_by.clone(),
            current: current(&identity.principal) == Some(identity.id()),
        })
        .collect();
    rows.sort_by(|a, b| (&a.principal, &a.created).cmp(&(&b.principal, &b.created)));
    rows
}

#[derive(Debug, Serialize)]
struct ClientRow {
    principal: String,
    identity: String,
    custody: &'static str,
    kem: &'static str,
    created: Option<String>,
    by: String,
    /// Of several identities of one principal the latest is the one in use.
    current: bool,
}

impl Row for ClientRow {
    const COLUMNS: &'static [&'static str] = &["principal", "identity", "custody", "kem", "created", "by", "current"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.principal.clone(),
            self.identity.clone(),
            self.custody.to_owned(),
            self.kem.to_owned(),
            self.created.clone().unwrap_or_default(),
            self.by.clone(),
            if self.current { "yes" } else { "no" }.to_owned(),
        ]
    }
}

/// The file with a client's public identity: JSON with the KEM suite and both public keys in base64.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublicFile {
    kem: String,
    kem_key: String,
    signing_key: String,
}

fn read_public(path: &Path) -> Result<IdentityPublic, Failure> {
    let unfit = |reason: String| Failure::new(Exit::Data, format!("{}: {reason}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| unfit(error.to_string()))?;
    parse_public(&text).map_err(unfit)
}

fn parse_public(text: &str) -> Result<IdentityPublic, String> {
    let file: PublicFile = serde_json::from_str(text).map_err(|error| format!("not a public identity: {error}"))?;
    let bytes = |name: &str, text: &str| BASE64_STANDARD.decode(text).map_err(|error| format!("{name}: {error}"));
    let suite = KEMS.iter().find(|(_, name)| *name == file.kem).map(|(suite, _)| *suite);
    let suite = suite.ok_or_else(|| format!("kem: `{}` is unknown; write x-wing or x25519", file.kem))?;
    let kem = KemPublicKey::from_bytes(suite, &bytes("kem_key", &file.kem_key)?);
    let signing = <[u8; 32]>::try_from(bytes("signing_key", &file.signing_key)?);
    Ok(IdentityPublic {
        signing: VerifyingKey::from_bytes(signing.map_err(|_| "signing_key: an Ed25519 key has 32 bytes".to_owned())?),
        kem: kem.map_err(|error| format!("kem_key: {error}"))?,
    })
}

fn kem_name(suite: KemSuite) -> &'static str {
    KEMS.iter().find(|(known, _)| *known == suite).map_or("unknown", |(_, name)| name)
}

const KEMS: &[(KemSuite, &str)] = &[(KemSuite::XWing, "x-wing"), (KemSuite::X25519, "x25519")];

/// Who asked for a change, for the auditor.
const BY: &str = "command";

const HELP: &str = "\
Example:
  barnabas client list --output json

Principals that match `clients.enroll` get an identity by themselves when they first connect.";

const ADD_HELP: &str = "\
Examples:
  barnabas client add --principal User:CN=alice
  barnabas client add --principal User:billing --custody client --public-identity billing.identity

The file of a public identity is JSON, keys in base64:
  {\"kem\": \"x-wing\", \"kem_key\": \"...\", \"signing_key\": \"...\"}";

const LIST_HELP: &str = "\
Examples:
  barnabas client list
  barnabas client list --output json";

const REMOVE_HELP: &str = "\
Examples:
  barnabas client remove --principal User:CN=alice
  barnabas client remove --principal User:CN=alice --forget

What the client could read before, it may have copied; nothing sealed after the removal opens for it. Its identity
stays in the keyring as long as its records are kept: it is what they are verified by. No rule gives it a right on
the streams of today again, only `grant add`; take it out of `streams` and `clients.enroll` for those of tomorrow.";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use barnabas_crypto::IdentitySecret;

    use super::*;

    #[test]
    fn a_public_identity_reads_back_and_each_mistake_has_its_own_message() {
        for (suite, name) in KEMS {
            let secret = IdentitySecret::draw(*suite).unwrap();
            let kem_key = BASE64_STANDARD.encode(secret.public().kem.as_bytes());
            let signing_key = BASE64_STANDARD.encode(secret.public().signing.as_bytes());
            let good = serde_json::json!({ "kem": name, "kem_key": kem_key, "signing_key": signing_key });
            assert_eq!(parse_public(&good.to_string()).unwrap(), *secret.public());
            for (field, value, text) in [
                ("kem", "rsa", "unknown"),
                ("kem_key", "AAAA", "kem_key"),
                ("signing_key", "AAAA", "32 bytes"),
                ("signing_key", "!", "signing_key"),
            ] {
                let mut bad = good.clone();
                bad.as_object_mut().unwrap().insert(field.to_owned(), value.into());
                let error = parse_public(&bad.to_string()).unwrap_err();
                assert!(error.contains(text), "{field}={value}: {error}");
            }
        }
        assert!(parse_public("{}").unwrap_err().contains("not a public identity"));
    }
}
