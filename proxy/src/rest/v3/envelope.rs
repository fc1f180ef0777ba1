//! What stands around every resource of the v3 API: its kind, its address, its name, links to what belongs to it.
//!
//! Arrives: parts of addresses as they are in Kafka. Leaves: addresses that a caller can follow, every part encoded (RFC 3986, 2.3).

use std::fmt::Write;

use schemars::JsonSchema;
use serde::Serialize;

/// Where a resource is, and what it is called.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Metadata {
    /// Its address.
    #[serde(rename = "self")]
    pub address: String,
    /// Its name in all clusters.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    pub resource_name: Option<String>,
}

/// A link to what belongs to a resource.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Related {
    /// The address.
    pub related: String,
}

/// Where a list is. There is one page only.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ListMetadata {
    /// Its address.
    #[serde(rename = "self")]
    pub address: String,
    /// The next page: none.
    pub next: Option<String>,
}

/// A list of resources.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "{T}List")]
pub struct List<T> {
    /// `Kafka…List`.
    pub kind: &'static str,
    /// Where it is.
    pub metadata: ListMetadata,
    /// The resources.
    pub data: Vec<T>,
}

impl<T> List<T> {
    /// A list at an address.
    pub fn new(kind: &'static str, address: String, data: Vec<T>) -> Self {
        Self { kind, metadata: ListMetadata { address, next: None }, data }
    }
}

/// Where a cluster's resources are.
#[derive(Clone, Debug)]
pub struct Place {
    /// The cluster's id.
    pub cluster_id: String,
    address: String,
}

impl Place {
    /// Below `root`, which is the address of the API and has no slash at its end.
    pub fn new(root: &str, cluster_id: &str) -> Self {
        let mut address = format!("{root}/clusters/");
        push_encoded(&mut address, cluster_id);
        Self { cluster_id: cluster_id.to_owned(), address }
    }

    /// The address of what these parts lead to.
    pub fn address(&self, parts: &[&str]) -> String {
        let mut address = self.address.clone();
        for part in parts {
            address.push('/');
            push_encoded(&mut address, part);
        }
        address
    }

    /// A link to it.
    pub fn related(&self, parts: &[&str]) -> Related {
        Related { related: self.address(parts) }
    }

    /// Where a resource is, and its name: kinds with names, which may be empty.
    pub fn metadata(&self, parts: &[&str], names: &[(&str, &str)]) -> Metadata {
        let mut name = format!("crn:///kafka={}", self.cluster_id);
        for (kind, own) in names {
            let _ = if own.is_empty() { write!(name, "/{kind}") } else { write!(name, "/{kind}={own}") };
        }
        Metadata { address: self.address(parts), resource_name: Some(name) }
    }
}

/// Appends a part of an address; what is not unreserved is encoded.
pub fn push_encoded(address: &mut String, part: &str) {
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':') {
            address.push(char::from(byte));
        } else {
            let _ = write!(address, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_lead_back_and_names_are_as_they_are() {
        let place = Place::new("https://h/kafka/v3", "c-1");
        assert_eq!(place.address(&[]), "https://h/kafka/v3/clusters/c-1");
        assert_eq!(
            place.address(&["consumer-groups", "a/b ü", "lags"]),
            "https://h/kafka/v3/clusters/c-1/consumer-groups/a%2Fb%20%C3%BC/lags"
        );
        let metadata = place.metadata(&["topics", "t"], &[("topic", "t"), ("partition", "0")]);
        assert_eq!(metadata.resource_name.as_deref(), Some("crn:///kafka=c-1/topic=t/partition=0"));
        let json = serde_json::json!({ "kind": "L", "metadata": { "self": "x", "next": null }, "data": [1] });
        assert_eq!(serde_json::to_value(List::new("L", "x".to_owned(), vec![1])).ok(), Some(json));
    }
}
