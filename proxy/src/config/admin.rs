//! `admin`: the HTTP address for liveness, readiness and metrics.
//! A mapping arrives, an [`Admin`] leaves. Without the section nothing listens.

use std::net::SocketAddr;

use super::key::{Key, Kind, key};
use super::reader::Reader;
use super::values;

/// The operations surface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Plain HTTP without authentication: bind it where only operators reach it.
    pub bind: SocketAddr,
}

impl Admin {
    pub(super) fn parse(reader: Reader<'_>) -> Option<Self> {
        let bind = reader.required("bind", values::listen_address, "write an address such as 127.0.0.1:9644");
        reader.finish();
        Some(Self { bind: bind? })
    }
}

pub(super) const KEYS: &[Key] = &[
    key("admin", Kind::Section, "nothing listens", "Liveness, readiness and metrics over HTTP."),
    key(
        "admin.bind",
        Kind::Text,
        "required",
        "Address of `/livez`, `/readyz` and `/metrics`. Plain HTTP without authentication: keep it private.",
    ),
];
