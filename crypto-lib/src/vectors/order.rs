//! Vectors of the order check: `vectors/order.json`.

use serde_json::{Value, json};

use super::check;
use crate::envelope::{HeaderFields, NONCE_LEN};
use crate::{Flags, Header, KeyId, OrderCheck, RecordType, Suite};

#[test]
fn order_is_as_published() {
    // Session, lane, sequence, offset.
    let seen = [
        (1, 0, 0, 10),
        (1, 0, 1, 11),
        (1, 1, 7, 12),
        (1, 0, 5, 15),
        (1, 0, 5, 16),
        (1, 0, 4, 16),
        (2, 0, 0, 17),
        (1, 0, 6, 18),
        (1, 1, 7, 19),
        (1, 1, (1 << 48) - 1, 20),
        (1, 1, 0, 21),
        (1, 0, 3, 20),
        (1, 0, 3, 21),
        (1, 0, 2, 9),
        (1, 0, 3, 10),
    ];
    let mut order = OrderCheck::default();
    let steps: Vec<Value> = seen
        .into_iter()
        .map(|(session, lane, sequence, offset)| {
            let key_id = KeyId::from_bytes([session; 16]);
            let (record_type, suite, flags) = (RecordType::Record, Suite::Aes256Gcm, Flags::BOUND);
            let fields = HeaderFields { record_type, suite, flags, key_id, lane, sequence };
            let header = Header::build(&fields, &[0; NONCE_LEN]);
            let (outcome, holes) = match order.observe(&header, offset) {
                Ok(holes) => ("ok", Some(holes)),
                Err(error) => (error.reason(), None),
            };
            json!({ "header": hex::encode(header.as_bytes()), "offset": offset, "outcome": outcome, "holes": holes })
        })
        .collect();
    let refused = steps.iter().filter(|step| step["outcome"] != "ok").count();
    assert_eq!(refused, 5);
    check("order.json", &json!({ "format": "ENVELOPE.md, section 5", "order": steps }));
}
