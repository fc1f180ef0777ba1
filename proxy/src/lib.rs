//! The gateway.
pub mod connection;
pub mod frame;
