//! What needs no server: settings, blobs, and what the codes of AWS mean. The rest runs on a server in the conformance suite.

#![allow(clippy::unwrap_used)]

use hyper::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::SecretSource;

fn aws(keys: AwsKeys) -> Result<Aws, Error> {
    let secret = || SecretSource::Environment("UNSET".into());
    let credentials =
        AwsCredentials::Static { access_key_id: secret(), secret_access_key: secret(), session_token: None };
    Aws::new(AwsSettings::new("eu-central-1", credentials, keys))
}

fn response(status: u16, body: &str) -> Response {
    Response { status, headers: HeaderMap::new(), body: Zeroizing::new(body.as_bytes().to_vec()) }
}

#[test]
fn settings_that_cannot_be_are_named() {
    assert!(aws(AwsKeys::One { key_id: String::new() }).is_err());
    assert!(aws(AwsKeys::One { key_id: "a b".into() }).is_err());
    assert!(aws(AwsKeys::PerClient { alias_prefix: "barnabas-".into() }).is_err());
    let one = aws(AwsKeys::One { key_id: "mrk-1".into() }).unwrap();
    assert_eq!(one.client.endpoint(), "https://kms.eu-central-1.amazonaws.com");
    assert_eq!(service_endpoint("sts", "cn-north-1"), "https://sts.cn-north-1.amazonaws.com.cn");
    let region = AwsSettings { region: "EU/1".into(), ..one.settings };
    assert!(Aws::new(region).is_err());
}

#[test]
fn each_client_has_its_alias() {
    let aws = aws(AwsKeys::PerClient { alias_prefix: "alias/barnabas-".into() }).unwrap();
    assert_eq!(aws.key_id("client-1").unwrap(), "alias/barnabas-client-1");
    assert!(aws.key_id("").is_err() && aws.key_id("a\"b").is_err());
}

#[test]
fn replicas_of_a_multi_region_key_are_one_version() {
    let arn = |region: &str, id: &str| format!("arn:aws:kms:{region}:1:key/{id}");
    assert_eq!(version(&arn("eu-central-1", "mrk-7")), version(&arn("us-east-1", "mrk-7")));
    assert_ne!(version(&arn("eu-central-1", "7")), version(&arn("us-east-1", "7")));
}

#[test]
fn codes_become_causes() {
    let aws = aws(AwsKeys::One { key_id: "1".into() }).unwrap();
    for (status, code, cause) in [
        (400, "InvalidCiphertextException", CustodyCause::Corrupt),
        (400, "IncorrectKeyException", CustodyCause::Corrupt),
        (400, "DisabledException", CustodyCause::Disabled),
        (400, "KMSInvalidStateException", CustodyCause::Disabled),
        (400, "com.amazonaws.kms#NotFoundException", CustodyCause::NotFound),
        (400, "AccessDeniedException", CustodyCause::Denied),
        (400, "ThrottlingException", CustodyCause::Throttled),
        (400, "ExpiredTokenException", CustodyCause::Unauthenticated),
        (400, "UnrecognizedClientException", CustodyCause::Unauthenticated),
        (500, "KMSInternalException", CustodyCause::Unreachable),
        (500, "KeyUnavailableException", CustodyCause::Unreachable),
        (503, "", CustodyCause::Unreachable),
        (400, "ValidationException", CustodyCause::Invalid),
    ] {
        let error = aws.refusal("k", &response(status, &format!(r#"{{"__type":"{code}","message":"words"}}"#)));
        assert_eq!(error.cause, cause, "{code}");
        assert!(error.to_string().contains("words"), "{error}");
    }
    let xml = "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>no</Message></Error></ErrorResponse>";
    let error = aws.refusal("k", &response(403, xml));
    assert_eq!(error.cause, CustodyCause::Unauthenticated);
    assert!(error.to_string().contains("clock"), "{error}");
}

proptest! {
    #[test]
    fn a_blob_is_read_as_it_was_written(arn in "[a-z0-9:/-]{1,255}", ciphertext in prop::collection::vec(any::<u8>(), 1..600)) {
        let bytes = Blob { arn: &arn, ciphertext: &ciphertext }.encode().unwrap();
        let read = Blob::parse(&bytes).unwrap();
        prop_assert_eq!((read.arn, read.ciphertext), (arn.as_str(), ciphertext.as_slice()));
    }

    #[test]
    fn no_bytes_break_the_reading(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        if let Some(blob) = Blob::parse(&bytes) {
            prop_assert_eq!(blob.encode().unwrap(), bytes);
        }
    }
}
