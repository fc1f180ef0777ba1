//! What a caller is told when something does not work: a code, an HTTP status, a sentence, and when to try again.
//!
//! Arrives: a [`Code`] with its message. Leaves: `{error_code, message}`, or the problem document of RFC 9457 where the caller
//! accepts that. The codes are those of the REST APIs that existing clients know. What must never happen here: record bytes, a
//! credential or a broker's address in a message.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// One error, as it is told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Which one.
    pub code: Code,
    /// What is wrong, and the remedy where the caller can do something.
    pub message: Cow<'static, str>,
    /// When trying again makes sense.
    pub retry_after: Option<Duration>,
    /// What is accepted instead: `WWW-Authenticate` of a 401.
    pub challenge: Option<HeaderValue>,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])* $name:ident $status:literal $code:literal;)*) => {
        /// Every code that the bridge gives.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[doc = $doc])* $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Its name in the audit log.
            pub fn word(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            /// The number in `error_code`.
            pub fn number(self) -> u32 {
                match self { $(Self::$name => $code,)* }
            }

            /// The HTTP status.
            pub fn status(self) -> StatusCode {
                let status: u16 = match self { $(Self::$name => $status,)* };
                StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        }
    };
}

codes! {
    /// A malformed request.
    BadRequest 400 400;
    /// A setting of a consumer that cannot be.
    ConsumerSetting 400 40001;
    /// Kafka finds the request wrong: a topic that exists, an invalid replication factor, a policy.
    KafkaBadRequest 400 40002;
    /// No proof of identity, or one that is not accepted.
    Unauthenticated 401 40101;
    /// Neither grant nor rule allows it.
    Forbidden 403 40301;
    /// No such path.
    NotFound 404 404;
    /// No such topic.
    TopicNotFound 404 40401;
    /// No such partition.
    PartitionNotFound 404 40402;
    /// No such consumer instance.
    ConsumerNotFound 404 40403;
    /// The partition has no leader now.
    LeaderNotAvailable 404 40404;
    /// No such consumer group.
    GroupNotFound 404 40405;
    /// The path is there, the method is not.
    MethodNotAllowed 405 405;
    /// Nothing that the caller accepts can be given.
    NotAcceptable 406 406;
    /// The consumer has another format than the caller accepts.
    FormatMismatch 406 40601;
    /// The request took too long to arrive.
    RequestTimeout 408 408;
    /// A record cannot be turned into its format, or its schema cannot be had.
    Serialization 408 40801;
    /// Something else is already there, or in the way.
    Conflict 409 409;
    /// The consumer is subscribed otherwise.
    AlreadySubscribed 409 40901;
    /// A consumer of this name is there.
    ConsumerExists 409 40902;
    /// The consumer is in no state for this.
    IllegalState 409 40903;
    /// The request, or a record, is larger than allowed.
    TooLarge 413 413;
    /// The content type is none that is taken here.
    UnsupportedMediaType 415 415;
    /// No such offset is there.
    RangeNotSatisfiable 416 416;
    /// The request is well-formed and makes no sense.
    Unprocessable 422 422;
    /// A key schema is needed.
    KeySchemaMissing 422 42201;
    /// A value schema is needed.
    ValueSchemaMissing 422 42202;
    /// JSON that does not fit the schema.
    JsonConversion 422 42203;
    /// A setting of a consumer that nobody knows.
    ConsumerConfig 422 42204;
    /// A schema that is none.
    InvalidSchema 422 42205;
    /// A record that is none.
    InvalidPayload 422 42206;
    /// A record that cannot be serialised.
    NotSerialisable 422 42207;
    /// A batch that is none.
    InvalidBatch 422 42208;
    /// The gateway has as much to do as it may hold.
    TooManyRequests 429 429;
    /// A quota of the brokers.
    QuotaExceeded 429 42901;
    /// Header fields larger than allowed.
    HeadersTooLarge 431 431;
    /// A mistake of ours.
    Internal 500 500;
    /// Kafka says no, and will say no again.
    Kafka 500 50002;
    /// Kafka does not answer, or asks to try again.
    KafkaRetriable 503 50003;
    /// Who is calling cannot be found out now.
    AuthenticationUnavailable 503 503;
    /// TLS towards the brokers.
    KafkaTls 501 50101;
    /// No coordinator.
    CoordinatorUnavailable 503 50301;
    /// No broker.
    BrokerUnavailable 503 50302;
}

impl Code {
    /// The error with a message.
    pub fn with(self, message: impl Into<Cow<'static, str>>) -> Error {
        let retry_after = matches!(self, Self::TooManyRequests | Self::QuotaExceeded).then_some(SHORTLY);
        Error { code: self, message: message.into(), retry_after, challenge: None }
    }
}

impl Error {
    /// The same, with the time after which another attempt makes sense.
    pub fn after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    /// The same, with what is accepted instead.
    pub fn challenge(mut self, schemes: HeaderValue) -> Self {
        self.challenge = Some(schemes);
        self
    }

    /// The body and headers, in the form of [`Shape`].
    pub fn response(&self, shape: Shape) -> Response {
        let status = self.code.status();
        let number = self.code.number();
        let (content_type, body) = match shape {
            Shape::Plain(content_type) => {
                (content_type, serde_json::json!({ "error_code": number, "message": self.message }))
            }
            Shape::Problem => {
                let title = status.canonical_reason().unwrap_or("Error");
                let problem = serde_json::json!({
                    "type": "about:blank", "title": title, "status": status.as_u16(), "detail": self.message,
                    "error_code": number,
                });
                ("application/problem+json", problem)
            }
        };
        let mut response = (status, [(header::CONTENT_TYPE, content_type)], body.to_string()).into_response();
        let headers = response.headers_mut();
        if let Some(after) = self.retry_after {
            // Whole seconds, at least one: RFC 9110, 10.2.3.
            let seconds = u64::try_from(after.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = &self.challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge.clone());
        }
        response
    }
}

/// The form of an error's body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `{error_code, message}` under this content type.
    Plain(&'static str),
    /// RFC 9457.
    Problem,
}

/// The error travels beside a first answer; the server gives it the form that the caller accepts.
impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let mut response = self.response(Shape::Plain("application/json"));
        response.extensions_mut().insert(self);
        response
    }
}

/// Queues empty within a second, or not soon.
const SHORTLY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_code_has_a_number_and_a_status_of_its_own_class() {
        let mut seen = HashSet::new();
        for code in Code::ALL {
            assert!(seen.insert(code.number()), "{code:?} has a number that another one has");
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
        }
    }

    #[test]
    fn the_time_to_wait_is_in_whole_seconds_and_never_none() {
        let error = Code::TooManyRequests.with("full").after(Duration::from_millis(1));
        let response = error.response(Shape::Plain("application/json"));
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers().get(header::RETRY_AFTER).unwrap(), "1");
    }
}
