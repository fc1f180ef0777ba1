//! What is in the gateway's custody: the seeds of clients' identities and of streams' epochs, each hidden by a key
//! management system, and the clients' secrets while they are used.
//!
//! Arrives: the keystore and the systems that the configuration names; identity objects of the keyring. Leaves: secrets,
//! each only for the identity that it belongs to. No call of a data path waits for a system that was asked before.

mod systems;
mod store;
mod repeats;

pub use store::{Changes, CustodyStore, Terms};
pub use systems::{KeySystems, LOCAL, Standing};
