//! The gateway: what the binary is made of, in the order in which a byte meets it.

pub mod connection;
pub mod frame;

pub mod chain;
