//! Key management adapters of Barnabas: where the keys that wrap client identities and epoch seeds live.
//!
//! Each adapter implements [`barnabas_crypto::Custody`]. This crate has the local keystore, a file on the gateway's own
//! disk; adapters to vendors' services stand beside it, one file each. No adapter may ever give a key out of its
//! keeping: what leaves is what was wrapped by it before.

mod error;

mod file;

mod format;

mod local;

pub use error::Error;
pub use file::create_key_file;
pub use local::{EntryKind, LocalKeystore, Passphrase, Unlock};
