//! `barnabas kms`: the key management systems that hide what is in the gateway's custody. What is hidden where arrives
//! from the keyring; what the systems say leaves. No command here shows a secret, or moves one without its public half
//! staying what it was.

mod check;
mod inventory;
mod rotate;

use barnabas_crypto::{Custodian, Keyring, WrappedSeed};
use clap::Subcommand;

use super::Failure;
use crate::custody::KeySystems;
use crate::steward::Seed;

/// Check key management systems, list what they hide, hide it anew
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = HELP, subcommand_required = true)]
pub enum KmsCommand {
    Check(check::CheckArgs),
    Inventory(inventory::InventoryArgs),
    Rotate(rotate::RotateArgs),
}

pub(super) fn run(command: KmsCommand) -> Result<(), Failure> {
    match command {
        KmsCommand::Check(args) => check::run(args),
        KmsCommand::Inventory(args) => inventory::run(args),
        KmsCommand::Rotate(args) => rotate::run(args),
    }
}

/// A seed in custody, and how it is hidden.
struct Hidden {
    seed: Seed,
    /// `client` or `epoch`.
    kind: &'static str,
    /// Whose: a principal, or a topic and its epoch.
    of: String,
    /// Since when the secret itself is there.
    created: barnabas_crypto::UnixMillis,
    wrapped: WrappedSeed,
}

/// Everything that a KMS hides, as the keyring has it: clients first, by their names.
fn hidden(keyring: &Keyring) -> Vec<Hidden> {
    let mut all: Vec<Hidden> = keyring
        .identities()
        .filter_map(|identity| match &identity.custody {
            Custodian::Gateway(wrapped) => Some(Hidden {
                seed: Seed::Identity(identity.id()),
                kind: "client",
                of: identity.principal.clone(),
                created: identity.created,
                wrapped: wrapped.clone(),
            }),
            Custodian::Client => None,
        })
        .collect();
    for stream in keyring.streams() {
        let kept = |epoch: &barnabas_crypto::Epoch| {
            let wrapped = epoch.custody.clone()?;
            let of = format!("{} epoch {}", stream.topic, epoch.number);
            let seed = Seed::Epoch(stream.id, epoch.number);
            Some(Hidden { seed, kind: "epoch", of, created: epoch.not_before, wrapped })
        };
        all.extend(keyring.epochs(stream.id).filter_map(kept));
    }
    all.sort_by(|a, b| (a.kind, &a.of).cmp(&(b.kind, &b.of)));
    all
}

/// The version of the key that hides a seed, in its system's words.
fn version(systems: &KeySystems, wrapped: &WrappedSeed) -> Option<String> {
    let (system, _) = systems.parts(&wrapped.key);
    systems.system(system)?.version_of(&wrapped.blob)
}

const HELP: &str = "\
Examples:
  barnabas kms check                       each system: reachable, allowed, round trip, latency
  barnabas kms inventory                   which client is under which key, version, age
  barnabas kms rotate --dry-run            what is not under the newest version of its key
  barnabas kms rotate --to cloud           move everything to the system `cloud` of `kms:`";
