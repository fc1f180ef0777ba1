//! What one replica tells another of the caller: a field of the request's head.
//!
//! Arrives: a caller and its connection, or the field. Leaves: the field, or the caller. Whether the field is believed is decided before it is
//! read, by the certificate of who sends it. What must never happen here: a credential in it.

use std::net::SocketAddr;

use axum::http::{HeaderMap, HeaderValue};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::super::auth::Ground;
use super::super::{Caller, Code, Connection, Error, Proof};
use crate::identity::Principal;

/// The field: how the caller showed who it is, where it comes from, and the base64 of its principal.
pub(super) const FIELD: &str = "barnabas-caller";

/// Whether a request says for whom it is made.
pub(super) fn is_made(headers: &HeaderMap) -> bool {
    headers.contains_key(FIELD)
}

/// Writes the field.
pub(super) fn write(headers: &mut HeaderMap, caller: &Caller, connection: &Connection) -> Result<(), Error> {
    let principal = BASE64_STANDARD.encode(caller.principal.as_str());
    let text = format!("{} {} {principal}", caller.proof.word(), connection.peer);
    let value = HeaderValue::from_str(&text).map_err(|_| Code::Internal.with("a principal cannot be passed on"))?;
    headers.insert(FIELD, value);
    Ok(())
}

/// Reads the field.
pub(super) fn read(headers: &HeaderMap) -> Result<Caller, Error> {
    let mut values = headers.get_all(FIELD).iter();
    let value = values.next().filter(|_| values.next().is_none());
    let caller = value.and_then(|value| parsed(value.to_str().ok()?));
    caller.ok_or_else(|| Code::BadRequest.with(format!("{FIELD} is not what a replica writes")))
}

fn parsed(text: &str) -> Option<Caller> {
    let mut words = text.split(' ');
    let (proof, peer, principal) = (words.next()?, words.next()?, words.next()?);
    let proof = Proof::ALL.iter().copied().find(|one| one.word() == proof)?;
    let peer: SocketAddr = peer.parse().ok()?;
    let principal = String::from_utf8(BASE64_STANDARD.decode(principal).ok()?).ok()?;
    let principal = Principal::parse(&principal).filter(|one| one.is_anonymous() == (proof == Proof::Nothing))?;
    let caller =
        Caller { principal, proof, expires: None, ground: Ground::Connection, replica: None, peer: Some(peer) };
    words.next().is_none().then_some(caller)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let peer: SocketAddr = "[::1]:4711".parse().unwrap();
        let connection = Connection { peer, certificate: None, thumbprint: None, encrypted: true };
        for caller in [Caller::certified(Principal::user("CN=ä, O=x y")), Caller::anonymous()] {
            let mut headers = HeaderMap::new();
            write(&mut headers, &caller, &connection).unwrap();
            assert_eq!(read(&headers).unwrap(), Caller { peer: Some(peer), ..caller });
            headers.append(FIELD, HeaderValue::from_static("nothing 127.0.0.1:1 VXNlcjpBTk9OWU1PVVM="));
            assert!(read(&headers).is_err(), "two of them");
        }
    }

    #[test]
    fn what_no_replica_writes_is_refused() {
        for text in [
            "",
            "certificate 127.0.0.1:1",
            "certificate 127.0.0.1:1 ?",
            "certificate 127.0.0.1:1 YWxpY2U=",
            "nothing 127.0.0.1:1 VXNlcjphbGljZQ==",
            "basic 127.0.0.1:1 VXNlcjpBTk9OWU1PVVM=",
            "magic 127.0.0.1:1 VXNlcjphbGljZQ==",
            "basic here VXNlcjphbGljZQ==",
            "basic 127.0.0.1:1 VXNlcjphbGljZQ== more",
        ] {
            assert!(parsed(text).is_none(), "{text}");
        }
        assert_eq!(parsed("basic 127.0.0.1:1 VXNlcjphbGljZQ==").unwrap().principal.as_str(), "User:alice");
    }
}
