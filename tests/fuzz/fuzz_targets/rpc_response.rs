//! Responses: what a broker sends.
//!
//! Arrives: API key and version in four bytes, then any bytes as one frame. Every walker of a response
//! reads it; what was rewritten must be readable again, and holds no address but the gateway's.
#![no_main]

use barnabas::chain::rewrite::fetch::FetchResponse;
use barnabas::chain::rewrite::produce::ProduceResponse;
use barnabas::chain::rewrite::share_fetch::ShareFetchResponse;
use barnabas::chain::rewrite::{
    AddressBook, RewriteError, api_versions, describe_cluster, find_coordinator, ids, metadata,
    share_acknowledge, topology,
};
use barnabas::frame::{ApiKey, ApiVersion, Call, CorrelationId, ResponseHeader, Segments};
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

/// One address for every broker.
struct OneAddress;

impl AddressBook for OneAddress {
    fn advertised(&self, _: i32, _: &str, _: i32) -> Result<(String, u16), RewriteError> {
        Ok(("gateway".to_owned(), 9092))
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((call, frame)) = input.split_first_chunk::<4>() else { return };
    let call = Call {
        api_key: ApiKey(i16::from_be_bytes([call[0], call[1]])),
        version: ApiVersion(i16::from_be_bytes([call[2], call[3]])),
        correlation_id: CorrelationId(0),
    };
    let frame = Bytes::copy_from_slice(frame);
    type Rewrite<'r> = &'r dyn Fn(Bytes, &ResponseHeader) -> Result<Segments, RewriteError>;
    let twice = |rewrite: Rewrite<'_>| {
        let Ok(header) = ResponseHeader::parse(&frame, call) else { return };
        let Ok(once) = rewrite(frame.clone(), &header).map(Segments::into_bytes) else { return };
        let header = ResponseHeader::parse(&once, call).expect("the header was read before");
        let again = rewrite(once.clone(), &header).expect("the message was read before");
        assert_eq!(again.into_bytes(), once, "a second rewrite changed something");
    };
    twice(&|frame, header| ProduceResponse::walk(&frame, header)?.rebuild(frame, &[], &OneAddress));
    twice(&|frame, header| FetchResponse::walk(&frame, header)?.rebuild(frame, [], &OneAddress));
    twice(&|frame, header| ShareFetchResponse::walk(&frame, header)?.rebuild(frame, [], &[], &OneAddress));
    twice(&|frame, header| share_acknowledge::rewrite(frame, header, &OneAddress));
    twice(&|frame, header| metadata::rewrite(frame, header, &OneAddress, |_, _| {}));
    twice(&|frame, header| find_coordinator::rewrite(frame, header, &OneAddress));
    twice(&|frame, header| describe_cluster::rewrite(frame, header, &OneAddress));
    twice(&|frame, header| api_versions::rewrite(frame, header));
    if let Ok(header) = ResponseHeader::parse(&frame, call) {
        topology::decode(&frame, &header).ok();
        ids::of_response(&frame, &header).ok();
    }
});
