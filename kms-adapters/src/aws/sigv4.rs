//! AWS Signature Version 4: shows that a request comes from who has the secret access key, without sending it.
//!
//! Arrives: a request's parts and the keys. Leaves: the value of its `Authorization` header. Every header that is sent and
//! matters is signed. Intermediate keys are wiped; the date is the only thing that the server must agree with, within
//! five minutes.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ring::{digest, hmac};
use zeroize::Zeroizing;

use super::credentials::Keys;

/// What a signature holds for.
pub(super) struct Signing<'a> {
    pub(super) keys: &'a Keys,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) moment: &'a Moment,
}

impl Signing<'_> {
    /// The `Authorization` header. `headers` are in alphabetical order, lower case, without space around the values; path
    /// and query are those of the request line, the query in alphabetical order.
    pub(super) fn authorization(
        &self,
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> String {
        let lines: String = headers.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
        let names = headers.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
        let request = Zeroizing::new(format!("{method}\n{path}\n{query}\n{lines}\n{names}\n{}", digest_of(body)));
        let scope = format!("{}/{}/{}/aws4_request", self.moment.day(), self.region, self.service);
        let text = format!("{ALGORITHM}\n{}\n{scope}\n{}", self.moment.stamp(), digest_of(request.as_bytes()));
        let signature = hex(hmac::sign(&self.key(), text.as_bytes()).as_ref());
        let id = &self.keys.access_key_id;
        format!("{ALGORITHM} Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}")
    }

    /// A key for this day, region and service only.
    fn key(&self) -> hmac::Key {
        let first = Zeroizing::new(format!("AWS4{}", self.keys.secret_access_key.expose()));
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, first.as_bytes());
        for part in [self.moment.day(), self.region, self.service, "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        key
    }
}

/// A moment as AWS writes it: `20150830T123600Z`.
pub(super) struct Moment(String);

impl Moment {
    pub(super) fn now() -> Self {
        Self::of(Timestamp::now())
    }

    fn of(time: Timestamp) -> Self {
        Self(time.to_zoned(TimeZone::UTC).strftime("%Y%m%dT%H%M%SZ").to_string())
    }

    pub(super) fn stamp(&self) -> &str {
        &self.0
    }

    fn day(&self) -> &str {
        self.0.split_once('T').map_or(&self.0, |(day, _)| day)
    }
}

fn digest_of(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::SecretText;

    /// The worked example of the AWS General Reference ("Signature Version 4 signing process").
    #[test]
    fn the_published_example_comes_out() {
        let keys = Keys {
            access_key_id: "AKIDEXAMPLE".into(),
            secret_access_key: SecretText::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into()),
            session_token: None,
            expires: None,
        };
        let moment = Moment::of("2015-08-30T12:36:00Z".parse().unwrap());
        let signing = Signing { keys: &keys, region: "us-east-1", service: "iam", moment: &moment };
        let headers = [
            ("content-type", "application/x-www-form-urlencoded; charset=utf-8"),
            ("host", "iam.amazonaws.com"),
            ("x-amz-date", moment.stamp()),
        ];
        let query = "Action=ListUsers&Version=2010-05-08";
        let authorization = signing.authorization("GET", "/", query, &headers, b"");
        assert_eq!(
            authorization,
            "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, \
             Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"
        );
    }
}
