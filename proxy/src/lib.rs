//! The gateway.

pub mod config;
pub mod identity;

pub mod tls;

pub mod frame;

pub mod chain;
