//! The gateway.

pub mod config;
pub mod identity;

pub mod frame;

pub mod chain;
