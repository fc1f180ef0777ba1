//! stub
use std::time::Duration;
use std::sync::Arc;
use crate::frame::Call;
/// x
#[derive(Default)]
pub struct Metrics;
/// x
pub enum ConnectionRefusal { /// x
Limit, /// x
Handshake, /// x
Upstream, /// x
Protocol }
/// x
pub struct OpenConnection;
impl Metrics {
    /// x
    pub fn request(&self, _c: Call, _k: bool) {}
    /// x
    pub fn request_added(&self, _d: Duration) {}
    /// x
    pub fn response_added(&self, _c: Call, _d: Duration, _t: Duration) {}
    /// x
    pub fn sealed(&self, _r: u64, _b: u64) {}
    /// x
    pub fn opened(&self, _r: u64, _b: u64) {}
    /// x
    pub fn refused_record(&self, _l: &'static str) {}
    /// x
    pub fn connection_refused(&self, _r: ConnectionRefusal) {}
    /// x
    pub fn connection_opened(self: &Arc<Self>) -> OpenConnection { OpenConnection }
}
