//! Any bytes at all: errors, never a panic, and never more memory than the bytes deserve.

use proptest::prelude::*;

use super::*;
use crate::chain::rewrite::fetch::{FetchRequest, FetchResponse};
use crate::chain::rewrite::metadata::MetadataRequest;
use crate::chain::rewrite::produce::{ProduceEdit, ProduceRequest, ProduceResponse};
use crate::chain::rewrite::refusal::Refusal;
use crate::chain::rewrite::share_acknowledge::{self, ShareAcknowledgeRequest};
use crate::chain::rewrite::share_fetch::{ShareFetchRequest, ShareFetchResponse};
use crate::chain::rewrite::{api_versions, describe_cluster, find_coordinator, ids, metadata, refusal, topology};
use crate::frame::api;

/// Gives a frame to every walker of requests. Whoever takes it must be able to give it back.
fn walk_request(frame: &Bytes) {
    let Ok(header) = RequestHeader::parse(frame) else {
        return;
    };
    if let Ok(request) = ProduceRequest::walk(frame, &header) {
        assert_eq!(bytes(request.rebuild(frame.clone(), []).unwrap()), frame);
        let all = (0..request.partitions.len()).map(|entry| (entry, ProduceEdit::Drop));
        let rebuilt = bytes(request.rebuild(frame.clone(), all).unwrap());
        assert!(ProduceRequest::walk(&rebuilt, &header).unwrap().partitions.is_empty());
    }
    if let Ok(request) = FetchRequest::walk(frame, &header) {
        assert!(request.partitions.len() * 16 <= frame.len());
    }
    if let Ok(MetadataRequest { topics: Some(topics), .. }) = MetadataRequest::walk(frame, &header) {
        assert!(topics.len() * 2 <= frame.len());
    }
    if let Ok(request) = ShareFetchRequest::walk(frame, &header) {
        assert!(request.partitions.len() * 6 <= frame.len());
    }
    if let Ok(request) = ShareAcknowledgeRequest::walk(frame, &header) {
        assert!(request.partitions.len() * 6 <= frame.len());
    }
    if let Ok(Refusal::Answer(answer)) = refusal::refuse(frame, &header, 41, None) {
        assert!(ResponseHeader::parse(&answer, header.call).is_ok());
    }
}

/// Gives a frame to every walker of responses. What is rewritten must be readable by the same
/// walker.
fn walk_response(frame: &Bytes, call: Call) {
    let Ok(header) = ResponseHeader::parse(frame, call) else {
        return;
    };
    if let Ok(rebuilt) = ProduceResponse::walk(frame, &header).and_then(|r| r.rebuild(frame.clone(), &[], &Book)) {
        ProduceResponse::walk(&bytes(rebuilt), &header).unwrap();
    }
    if let Ok(rebuilt) = FetchResponse::walk(frame, &header).and_then(|r| r.rebuild(frame.clone(), [], &Book)) {
        FetchResponse::walk(&bytes(rebuilt), &header).unwrap();
    }
    if let Ok(rebuilt) = ShareFetchResponse::walk(frame, &header).and_then(|r| r.rebuild(frame.clone(), [], &[], &Book))
    {
        ShareFetchResponse::walk(&bytes(rebuilt), &header).unwrap();
    }
    type Rewrite<'r> = &'r dyn Fn(Bytes, &ResponseHeader) -> Result<Segments, RewriteError>;
    let again = |rewrite: Rewrite<'_>| {
        if let Ok(rewritten) = rewrite(frame.clone(), &header).map(bytes) {
            let header = ResponseHeader::parse(&rewritten, call).unwrap();
            rewrite(rewritten, &header).unwrap();
        }
    };
    again(&|frame, header| share_acknowledge::rewrite(frame, header, &Book));
    again(&|frame, header| metadata::rewrite(frame, header, &Book, |_, _| {}));
    again(&|frame, header| find_coordinator::rewrite(frame, header, &Book));
    again(&|frame, header| describe_cluster::rewrite(frame, header, &Book));
    // Its error answer has the oldest header, which only this API has in every version.
    if call.api_key == api::API_VERSIONS {
        again(&|frame, header| api_versions::rewrite(frame, header));
    }
    if let Ok(read) = topology::decode(frame, &header) {
        assert!(read.brokers.len() * 9 <= frame.len());
    }
    if let Ok(places) = ids::of_response(frame, &header) {
        assert!(places.len() * 16 <= frame.len());
    }
}

fn any_call() -> impl Strategy<Value = Call> {
    let served: Vec<_> = api::all().filter_map(|api| api.offered().map(|range| (api.key.0, *range.end()))).collect();
    prop::sample::select(served)
        .prop_flat_map(|(key, newest)| (Just(key), 0..=newest))
        .prop_map(|(key, version)| call(key, version))
}

proptest! {
    #[test]
    fn any_bytes_are_an_error_or_a_message(call in any_call(), body in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut frame = BytesMut::new();
        if call.put_request_header(&mut frame, "c").is_ok() {
            frame.extend_from_slice(&body);
            walk_request(&frame.freeze());
        }
        let mut frame = BytesMut::new();
        if call.put_response_header(&mut frame).is_ok() {
            frame.extend_from_slice(&body);
            walk_response(&frame.freeze(), call);
        }
    }

    #[test]
    fn a_message_with_some_bytes_changed_is_an_error_or_a_message(
        version in 0i16..=18,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let change = |frame: Bytes| {
            let mut changed = frame.to_vec();
            for (place, value) in &changes {
                let place = place.index(changed.len());
                changed[place] = *value;
            }
            Bytes::from(changed)
        };
        let (produce, fetch) = (version.clamp(3, 13), version.max(4));
        walk_request(&change(request_frame(&super::produce::sample(produce), produce)));
        walk_request(&change(request_frame(&super::fetch::sample(fetch), fetch)));
        walk_request(&change(request_frame(&super::share::fetch_sample(), 1)));
        let (metadata, cluster) = (version.min(13), version.min(2));
        let produced = response_frame(0, &super::produce::response_sample(produce), produce);
        walk_response(&change(produced), call(0, produce));
        let fetched = response_frame(1, &super::fetch::response_sample(fetch), fetch);
        walk_response(&change(fetched), call(1, fetch));
        let described = response_frame(3, &super::addresses::metadata_sample(metadata), metadata);
        walk_response(&change(described), call(3, metadata));
        let cluster_frame = response_frame(60, &super::addresses::cluster_sample(cluster), cluster);
        walk_response(&change(cluster_frame), call(60, cluster));
        walk_response(&change(response_frame(78, &super::share::response_sample(), 1)), call(78, 1));
    }
}

#[test]
fn a_count_is_not_believed() {
    for (key, version) in [(0, 3), (0, 12), (1, 4), (1, 12), (3, 0), (3, 13), (10, 4), (60, 0), (78, 1), (79, 1)] {
        let call = call(key, version);
        for huge in [[0xff, 0xff, 0xff, 0xff, 0x07], [0x7f, 0xff, 0xff, 0xff, 0x00]] {
            let mut frame = BytesMut::new();
            call.put_response_header(&mut frame).unwrap();
            for _ in 0..4 {
                frame.extend_from_slice(&huge);
            }
            let frame = frame.freeze();
            let header = ResponseHeader::parse(&frame, call).unwrap();
            assert!(ProduceResponse::walk(&frame, &header).is_err());
            assert!(FetchResponse::walk(&frame, &header).is_err());
            assert!(topology::decode(&frame, &header).is_err());
        }
    }
}

#[test]
fn a_message_with_more_partitions_than_we_keep_is_refused() {
    use kafka_protocol::messages::ProduceRequest as Oracle;
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
    let many = vec![PartitionProduceData::default(); crate::chain::rewrite::MAX_ENTRIES + 1];
    let message = Oracle::default().with_topic_data(vec![TopicProduceData::default().with_partition_data(many)]);
    let frame = request_frame(&message, 3);
    assert!(ProduceRequest::walk(&frame, &request_header(&frame)).is_err());
}
