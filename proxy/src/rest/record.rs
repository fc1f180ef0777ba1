//! One record on its way through the bridge.
//!
//! Bytes of a request leave as a [`Record`] for a producer; a record that a consumer delivered arrives as a
//! [`Delivered`] for the writers of answers. Both share buffers and copy nothing. What must never happen here: a null
//! becoming empty bytes or the reverse; compaction deletes by null.

use bytes::Bytes;

/// A record to be produced. `None` is Kafka's null: a record without a key, a tombstone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The key.
    pub key: Option<Bytes>,
    /// The value.
    pub value: Option<Bytes>,
    /// The partition, when the client chose it; zero or more.
    pub partition: Option<i32>,
    /// Milliseconds since 1970, when the client gave them; zero or more.
    pub timestamp: Option<i64>,
    /// Headers in their order; a name may occur twice.
    pub headers: Vec<(String, Option<Bytes>)>,
}

impl Record {
    /// Bytes of key, value and headers together: what the limit of a record counts.
    #[must_use]
    pub fn size(&self) -> usize {
        let length = |part: &Option<Bytes>| part.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + length(value)).sum();
        length(&self.key) + length(&self.value) + headers
    }
}

/// A record as a consumer delivered it.
#[derive(Clone, Copy, Debug)]
pub struct Delivered<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970, when the record has a timestamp.
    pub timestamp: Option<i64>,
    /// The key, opened.
    pub key: Option<&'a [u8]>,
    /// The value, opened.
    pub value: Option<&'a [u8]>,
    /// The headers in their order.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

impl<'a> Delivered<'a> {
    /// The last header of this name that has a value, as Kafka's `lastHeader` reads it.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.headers.iter().rev().find(|(key, _)| *key == name).and_then(|(_, value)| *value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_counts_names_and_values_and_no_nulls() {
        let headers = vec![("ab".to_owned(), Some(Bytes::from_static(b"xyz"))), ("c".to_owned(), None)];
        let record = Record { value: Some(Bytes::from_static(b"12345")), headers, ..Record::default() };
        assert_eq!(record.size(), 5 + 2 + 3 + 1);
        assert_eq!(Record::default().size(), 0);
    }
}
