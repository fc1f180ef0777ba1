//! The gateway.

pub mod frame;

pub mod chain;
