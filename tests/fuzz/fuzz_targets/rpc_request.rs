//! Requests: what a client sends.
//!
//! Arrives: any bytes, as one frame. Every walker of a request reads it; whoever takes it must give
//! the same bytes back when nothing is edited, and must be able to refuse it.
#![no_main]

use barnabas::chain::rewrite::fetch::FetchRequest;
use barnabas::chain::rewrite::ids;
use barnabas::chain::rewrite::metadata::MetadataRequest;
use barnabas::chain::rewrite::produce::ProduceRequest;
use barnabas::chain::rewrite::refusal::refuse;
use barnabas::chain::rewrite::share_acknowledge::ShareAcknowledgeRequest;
use barnabas::chain::rewrite::share_fetch::ShareFetchRequest;
use barnabas::frame::RequestHeader;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(header) = RequestHeader::parse(input) else { return };
    if let Ok(request) = ProduceRequest::walk(input, &header) {
        let same = request.rebuild(Bytes::copy_from_slice(input), []).expect("nothing was edited");
        assert_eq!(same.into_bytes(), input);
    }
    FetchRequest::walk(input, &header).ok();
    MetadataRequest::walk(input, &header).ok();
    ShareFetchRequest::walk(input, &header).ok();
    ShareAcknowledgeRequest::walk(input, &header).ok();
    ids::of_request(input, &header).ok();
    ids::foreseen(input, &header).ok();
    refuse(input, &header, 41, Some("refused")).ok();
});
