//! The gateway: what the binary is made of, in the order in which a byte meets it.

pub mod config;
pub mod gateway;
pub mod listener;
pub mod tls;
pub mod identity;
pub mod stream;
pub mod connection;
pub mod frame;
pub mod router;
pub mod chain;
pub mod upstream;
pub mod keyring;
pub mod custody;
pub mod steward;
pub mod audit;
pub mod rest;
pub mod metrics;
pub mod admin;
pub mod logging;
pub mod cli;
pub mod pause;
pub mod reload;
