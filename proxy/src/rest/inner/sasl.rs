//! The first requests of an inner connection: ApiVersions, then SASL/PLAIN, and nothing else.
//!
//! Arrives: a connection that nobody knows, and one to a broker. Leaves: a principal, with every byte of the exchange read. What must
//! never happen here: a request passed on before the password was right, other than ApiVersions.
//!
//! Source: KIP-43, KIP-152 (SaslAuthenticate), KIP-368 (session lifetime); RFC 4616 (PLAIN).

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::tokens::Tokens;
use crate::chain::rewrite::RewriteError;
use crate::chain::rewrite::api_versions::{self, OfferedApi};
use crate::chain::rewrite::refusal::{self, Refusal};
use crate::connection::read::{FrameReader, ReadError};
use crate::frame::{ApiKey, Call, RequestHeader, ResponseHeader, Segments, WireError, api};
use crate::identity::Principal;
use crate::stream::{Reading, Writing};

/// Why an inner connection is not served.
#[derive(Debug, thiserror::Error)]
pub enum SaslError {
    /// The stream broke.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// The exchange took too long.
    #[error("no password came in time")]
    Late,
    /// A message that is none.
    #[error(transparent)]
    Message(#[from] RewriteError),
    /// A frame that is none.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The password is nobody's.
    #[error("the password is nobody's")]
    Unknown,
    /// Something else than SASL/PLAIN.
    #[error("the exchange is not the one of SASL/PLAIN")]
    Unexpected,
}

impl From<WireError> for SaslError {
    fn from(error: WireError) -> Self {
        Self::Message(error.into())
    }
}

/// Runs the exchange.
pub async fn authenticate<R, W>(
    (read, write): (R, &mut W),
    broker: &mut (Reading, Writing),
    tokens: &Tokens,
) -> Result<Principal, SaslError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut frames = FrameReader::new(read, MOST_REQUEST_BYTES);
    let mut agreed = false;
    for _ in 0..MOST_REQUESTS {
        let frame = frames.next().await?.ok_or(SaslError::Unexpected)?.freeze();
        let call = Call::peek(&frame)?;
        if !call.api().is_some_and(|api| api.knows(call.version)) {
            match refusal::refuse_unknown(call) {
                Refusal::Answer(answer) => send(write, Segments::whole(answer)).await?,
                Refusal::Silence | Refusal::Close => return Err(SaslError::Unexpected),
            }
            continue;
        }
        match call.api_key {
            api::API_VERSIONS => send(write, ask(broker, frame, call).await?).await?,
            api::SASL_HANDSHAKE => {
                let header = RequestHeader::parse(&frame)?;
                agreed = header.cursor(&frame).string("mechanism")? == PLAIN;
                send(write, Segments::whole(handshake(call, agreed)?)).await?;
            }
            api::SASL_AUTHENTICATE if agreed => {
                let header = RequestHeader::parse(&frame)?;
                let bytes = header.cursor(&frame).nullable_bytes("auth bytes")?.ok_or(SaslError::Unexpected)?;
                let principal = principal(bytes.of(&frame)?, tokens);
                send(write, Segments::whole(authenticated(call, principal.is_some())?)).await?;
                // What came along with the password was sent before it was known to be right.
                return principal.filter(|_| frames.is_empty()).ok_or(SaslError::Unknown);
            }
            _ => return Err(SaslError::Unexpected),
        }
    }
    Err(SaslError::Unexpected)
}

/// What a broker answers to ApiVersions, cut to what the gateway serves; with the exchange that is ours, whatever the broker has.
async fn ask((read, write): &mut (Reading, Writing), frame: Bytes, call: Call) -> Result<Segments, SaslError> {
    send(write, Segments::whole(frame)).await?;
    let mut frames = FrameReader::new(read, MOST_ANSWER_BYTES);
    let answer = frames.next().await?.ok_or(SaslError::Unexpected)?.freeze();
    let header = ResponseHeader::parse(&answer, call)?;
    match api_versions::decode(&answer, &header) {
        Ok((0, offered)) => Ok(Segments::whole(versions(call, &offered)?)),
        // The client is to ask in an older version, in which this answer is.
        _ => Ok(api_versions::rewrite(answer, &header)?),
    }
}

fn versions(call: Call, offered: &[OfferedApi]) -> Result<Bytes, SaslError> {
    let own = |key: ApiKey| api::find(key).and_then(api::Api::offered);
    let both = |theirs: &OfferedApi| {
        let own = own(theirs.key)?;
        let (oldest, newest) = (theirs.oldest.max(*own.start()), theirs.newest.min(*own.end()));
        (oldest <= newest).then_some((theirs.key, oldest, newest))
    };
    let is_ours = |key: ApiKey| key == api::SASL_HANDSHAKE || key == api::SASL_AUTHENTICATE;
    let theirs = offered.iter().filter(|offered| !is_ours(offered.key)).filter_map(both);
    let ours = [api::SASL_HANDSHAKE, api::SASL_AUTHENTICATE].into_iter();
    let ours = ours.filter_map(|key| own(key).map(|versions| (key, *versions.start(), *versions.end())));
    let all: Vec<(ApiKey, i16, i16)> = theirs.chain(ours).collect();
    let mut out = BytesMut::new();
    let encoding = call.encoding()?;
    call.put_response_header(&mut out)?;
    out.put_i16(0);
    encoding.put_length(&mut out, all.len())?;
    for (key, oldest, newest) in all {
        out.put_i16(key.0);
        out.put_i16(oldest);
        out.put_i16(newest);
        encoding.put_no_tags(&mut out);
    }
    if call.version.0 >= 1 {
        out.put_i32(0);
    }
    encoding.put_no_tags(&mut out);
    Ok(out.freeze())
}

/// `authorization identity, 0, user, 0, password`: the first must be empty or the user.
fn principal(bytes: &[u8], tokens: &Tokens) -> Option<Principal> {
    let mut parts = bytes.splitn(3, |byte| *byte == 0);
    let (identity, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    if !identity.is_empty() && identity != user {
        return None;
    }
    tokens.principal(std::str::from_utf8(user).ok()?, password)
}

fn handshake(call: Call, agreed: bool) -> Result<Bytes, SaslError> {
    let mut out = BytesMut::new();
    let encoding = call.encoding()?;
    call.put_response_header(&mut out)?;
    out.put_i16(if agreed { 0 } else { UNSUPPORTED_SASL_MECHANISM });
    encoding.put_length(&mut out, 1)?;
    encoding.put_string(&mut out, PLAIN)?;
    Ok(out.freeze())
}

fn authenticated(call: Call, right: bool) -> Result<Bytes, SaslError> {
    let mut out = BytesMut::new();
    let encoding = call.encoding()?;
    call.put_response_header(&mut out)?;
    out.put_i16(if right { 0 } else { SASL_AUTHENTICATION_FAILED });
    encoding.put_nullable_string(&mut out, (!right).then_some("the password is nobody's"))?;
    encoding.put_length(&mut out, 0)?;
    if call.version.0 >= 1 {
        // No end of the session: the connection ends when the bridge closes it.
        out.put_i64(0);
    }
    encoding.put_no_tags(&mut out);
    Ok(out.freeze())
}

async fn send(to: &mut (impl AsyncWrite + Unpin), segments: Segments) -> Result<(), SaslError> {
    let mut framed = segments.framed()?;
    to.write_all_buf(&mut framed).await?;
    Ok(to.flush().await?)
}

/// The one mechanism.
const PLAIN: &str = "PLAIN";

/// Kafka's error codes.
const UNSUPPORTED_SASL_MECHANISM: i16 = 33;
const SASL_AUTHENTICATION_FAILED: i16 = 58;

/// ApiVersions and a user name with a password are some hundred bytes.
const MOST_REQUEST_BYTES: usize = 4096;

/// A client asks for versions twice at most, then names the mechanism, then sends the password.
const MOST_REQUESTS: usize = 6;

/// A hundred APIs and their feature tags.
const MOST_ANSWER_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    #[test]
    fn only_the_password_of_its_own_user_is_right() {
        let tokens = Arc::new(Tokens::default());
        let alice = Tokens::admit(&tokens, Principal::user("alice")).unwrap();
        let plain = |identity: &str, user: &str, password: &str| {
            principal(format!("{identity}\0{user}\0{password}").as_bytes(), &tokens)
        };
        let (user, password) = (alice.user(), alice.password());
        assert_eq!(plain("", user, password), Some(Principal::user("alice")));
        assert_eq!(plain(user, user, password), Some(Principal::user("alice")));
        assert_eq!(plain("other", user, password), None);
        assert_eq!(plain("", user, &password.to_uppercase()), None);
        assert_eq!(plain("", user, &format!("{password}\0")), None);
        assert_eq!(principal(b"", &tokens), None);
        assert_eq!(principal(format!("\0{user}").as_bytes(), &tokens), None);
    }

    async fn exchange(requests: &[Bytes]) -> Result<Principal, SaslError> {
        let (mut near, far) = tokio::io::duplex(64 * 1024);
        for request in requests {
            send(&mut near, Segments::whole(request.clone())).await.unwrap();
        }
        near.shutdown().await.unwrap();
        let (read, mut write) = tokio::io::split(far);
        let (broker, _kept) = tokio::io::duplex(1024);
        let (broker_read, broker_write) = tokio::io::split(broker);
        let mut broker: (Reading, Writing) = (Box::new(broker_read), Box::new(broker_write));
        authenticate((read, &mut write), &mut broker, &Tokens::default()).await
    }

    #[tokio::test]
    async fn no_other_request_comes_first() {
        let request = |key: i16, version: i16| {
            let mut out = BytesMut::new();
            out.put_i16(key);
            out.put_i16(version);
            out.put_i32(1);
            out.put_i16(-1);
            out.freeze()
        };
        // Produce, Metadata, and a password before its mechanism.
        for first in [request(0, 3), request(3, 1), request(36, 1)] {
            assert!(matches!(exchange(&[first]).await, Err(SaslError::Unexpected)));
        }
    }
}
