//! ApiVersions.

use kafka_protocol::messages::ApiVersionsRequest;
use kafka_protocol::messages::api_versions_response::{
    ApiVersion as OracleApi, ApiVersionsResponse as Oracle, FinalizedFeatureKey, SupportedFeatureKey,
};

use super::*;
use crate::chain::rewrite::api_versions::{OfferedApi, decode, error_response, request, rewrite, unsupported_version};

const KEY: i16 = 18;

fn offered(api_key: i16, min_version: i16, max_version: i16) -> OracleApi {
    OracleApi::default().with_api_key(api_key).with_min_version(min_version).with_max_version(max_version)
}

fn sample(version: i16) -> Oracle {
    let mut response = Oracle::default().with_api_keys(vec![
        offered(0, 0, 13),
        offered(1, 4, 99),
        offered(3, 0, 13),
        offered(7, 0, 3),
        offered(52, 0, 2),
        offered(55, 0, 2),
        offered(78, 0, 0),
        offered(93, 0, 0),
        offered(10000, 0, 1),
        offered(-1, 0, 1),
    ]);
    if version >= 1 {
        response.throttle_time_ms = 4;
    }
    if version >= 3 {
        response.api_keys[1].unknown_tagged_fields = unknown_tags(true);
        response.supported_features =
            vec![SupportedFeatureKey::default().with_name(text("kraft.version")).with_max_version(1)];
        response.finalized_features =
            vec![FinalizedFeatureKey::default().with_name(text("group.version")).with_max_version_level(1)];
        response.finalized_features_epoch = 7;
        response.unknown_tagged_fields = unknown_tags(true);
    }
    response
}

#[test]
fn only_what_the_table_serves_is_offered() {
    for version in versions::<Oracle>(KEY) {
        let frame = response_frame(KEY, &sample(version), version);
        let header = response_header(&frame, KEY, version);
        let rewritten = bytes(rewrite(frame.clone(), &header).unwrap());
        let mut expected = sample(version);
        expected.api_keys = vec![offered(0, 0, 13), offered(1, 4, 18), offered(3, 0, 13), offered(55, 0, 1)];
        if version >= 3 {
            expected.api_keys[1].unknown_tagged_fields = unknown_tags(true);
        }
        assert_eq!(decode_response::<Oracle>(KEY, &rewritten, version), expected);
        let (error_code, listed) = decode(&frame, &header).unwrap();
        assert_eq!((error_code, listed.len()), (0, 10));
        assert_eq!(listed[1], OfferedApi { key: ApiKey(1), oldest: 4, newest: 99 });
    }
}

#[test]
fn a_broker_that_does_not_know_the_version_is_read_as_version_0() {
    let old = Oracle::default().with_error_code(35).with_api_keys(vec![offered(18, 0, 3), offered(4, 0, 1)]);
    let frame = response_frame(KEY, &old, 0);
    let header = response_header(&frame, KEY, 4);
    let rewritten = bytes(rewrite(frame, &header).unwrap());
    let read = decode_response::<Oracle>(KEY, &rewritten, 0);
    assert_eq!((read.error_code, read.api_keys), (35, vec![offered(18, 0, 3)]));
}

#[test]
fn a_refusal_in_no_known_form_sends_the_client_back_to_version_0() {
    // Error code, a count of one byte, ApiVersions 0 to 2, throttle time: no version's form.
    let mut frame = 77i32.to_be_bytes().to_vec();
    frame.extend([0, 35, 1, 0, 18, 0, 0, 0, 2, 0, 0, 0, 0]);
    let frame = Bytes::from(frame);
    let header = response_header(&frame, KEY, 3);
    let rewritten = bytes(rewrite(frame.clone(), &header).unwrap());
    let read = decode_response::<Oracle>(KEY, &rewritten, 0);
    assert_eq!((read.error_code, read.api_keys), (35, vec![offered(18, 0, 0)]));
    // Without that error code nothing is made up: the answer is refused.
    let mut broken = frame.to_vec();
    broken[5] = 0;
    broken[6] = 100;
    let broken = Bytes::from(broken);
    let header = response_header(&broken, KEY, 3);
    assert!(rewrite(broken.clone(), &header).is_err());
}

#[test]
fn a_client_that_asks_in_an_unknown_version_learns_the_known_ones() {
    let read = decode_response::<Oracle>(KEY, &unsupported_version(CorrelationId(77)), 0);
    assert_eq!((read.error_code, read.api_keys), (35, vec![offered(18, 0, 4)]));
}

#[test]
fn requests_and_errors_of_our_own_are_readable() {
    for version in versions::<Oracle>(KEY) {
        let answer = error_response(call(KEY, version), 58).unwrap();
        assert_eq!(decode_response::<Oracle>(KEY, &answer, version).error_code, 58);
        let frame = request(call(KEY, version), "gateway").unwrap();
        let read = decode_request::<ApiVersionsRequest>(&frame, version);
        assert_eq!(read.client_software_name, text(if version >= 3 { "barnabas" } else { "" }));
    }
}
