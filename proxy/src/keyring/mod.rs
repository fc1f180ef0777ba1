//! Keys and policy as the data path sees them.
mod access;
pub use access::{ReadAccess, WriteAccess};

use std::sync::Arc;
use barnabas_crypto::{KeyId, SessionReader, StreamId};
use crate::chain::refusal::Reason;
use crate::identity::Principal;

/// Stub.
pub struct Keys;
impl Keys {
    /// x
    pub fn generation(&self) -> u64 { 0 }
    /// x
    pub async fn writer(&self, _p: &Principal, _t: &str) -> Result<WriteAccess, Reason> { Ok(WriteAccess::Pass) }
    /// x
    pub async fn rotated(&self, _p: &Principal, _t: &str, _k: KeyId) -> Result<WriteAccess, Reason> { Ok(WriteAccess::Pass) }
    /// x
    pub async fn reader(&self, _p: &Principal, _t: &str) -> Result<ReadAccess, Reason> { Ok(ReadAccess::Pass) }
    /// x
    pub async fn session(&self, _p: &Principal, _s: StreamId, _k: KeyId) -> Result<Arc<SessionReader>, Reason> { Err(Reason::NoGrant) }
}
