//! `POST /consumers/{group}` and `DELETE /consumers/{group}/instances/{instance}`.
//!
//! Arrives: the settings of an instance. Leaves: its id, and where its calls go. What must never happen here: a setting taken without
//! effect, or a property of the client library that a caller chose.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use rdkafka::config::ClientConfig;
use serde::Serialize;
use serde_json::{Map, Value};

use super::instance::Instance;
use super::{named, object};
use crate::rest::bridge::Bridge;
use crate::rest::formats::Format;
use crate::rest::replicas::{MARK, ORIGIN};
use crate::rest::v2::answer;
use crate::rest::{Caller, Code, Connection, Error};

/// Makes an instance.
pub async fn create(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    connection: axum::Extension<Connection>,
    Path(group): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Error> {
    let written = object(&bridge, &headers, body).await?;
    let settings = Settings::read(&written)?;
    if settings.format.has_schema() && bridge.settings.schema_registry.is_none() {
        return Err(Code::ConsumerConfig.with("Invalid consumer configuration: no schema registry is configured"));
    }
    let origin = match headers.get(ORIGIN).filter(|_| caller.replica.is_some()).and_then(|it| it.to_str().ok()) {
        Some(origin) => origin.to_owned(),
        None => origin(&bridge, &connection, &uri, &headers),
    };
    if let (Some(replicas), Some(name)) = (&bridge.replicas, &settings.name) {
        if name.contains(MARK) {
            return Err(invalid("name"));
        }
        let body = Value::Object(written).to_string().into();
        let known = (&caller, &connection.0);
        if let Some(made) = replicas.made_elsewhere(known, (&group, name), (&uri, &headers, &origin), body).await? {
            return Ok(made);
        }
    }
    let name = settings.name.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
    bridge.consumers.check(&caller.principal, &group, &name)?;
    let entry = bridge.pool.entry(&caller.principal)?;
    let mut config = entry.client_config();
    settings.apply(&mut config, &group, bridge.settings.consumer.idle);
    let known = (settings.request_timeout, settings.auto_commit);
    let instance = Instance::new((group.clone(), name.clone()), settings.format, known, &config, entry)?;
    bridge.consumers.add(&caller.principal, Arc::new(instance))?;
    let id = bridge.replicas.as_ref().map_or_else(|| name.clone(), |replicas| replicas.id_of(&name));
    let base_uri = format!("{origin}/consumers/{}/instances/{}", encoded(&group), encoded(&id));
    answer(&headers, &Created { instance_id: &id, base_uri: &base_uri })
}

/// Ends an instance: it leaves its group.
pub async fn delete(
    State(bridge): State<Arc<Bridge>>,
    caller: Caller,
    Path((group, instance)): Path<(String, String)>,
) -> Result<Response, Error> {
    drop(bridge.consumers.remove(&caller.principal, &group, named(&bridge, &instance))?);
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Serialize)]
struct Created<'a> {
    instance_id: &'a str,
    base_uri: &'a str,
}

/// What a caller may choose.
#[derive(Debug)]
struct Settings {
    name: Option<String>,
    format: Format,
    reset: &'static str,
    auto_commit: bool,
    committed_only: bool,
    request_timeout: Duration,
}

impl Settings {
    fn read(body: &Map<String, Value>) -> Result<Self, Error> {
        let mut settings = Self {
            name: None,
            format: Format::Binary,
            // As Kafka's own consumers begin.
            reset: "latest",
            auto_commit: true,
            committed_only: false,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
        };
        for (key, value) in body {
            let word = value.as_str();
            let wrong = || invalid(key);
            match key.as_str() {
                "name" | "id" if value.is_null() => {}
                "name" | "id" => {
                    let name = word.filter(|name| is_name(name)).ok_or_else(wrong)?;
                    settings.name = Some(name.to_owned());
                }
                "format" => settings.format = word.and_then(Format::of_name).ok_or_else(wrong)?,
                "auto.offset.reset" => {
                    settings.reset = match word.map(str::to_ascii_lowercase).as_deref() {
                        Some("earliest" | "smallest") => "earliest",
                        Some("latest" | "largest") => "latest",
                        Some("none") => "error",
                        _ => return Err(wrong()),
                    }
                }
                "auto.commit.enable" | "enable.auto.commit" => settings.auto_commit = truth(value).ok_or_else(wrong)?,
                "isolation.level" => {
                    settings.committed_only = match word {
                        Some("read_committed") => true,
                        Some("read_uncommitted") => false,
                        _ => return Err(wrong()),
                    }
                }
                // A read returns as soon as there are records, whatever is written here.
                "fetch.min.bytes" => {
                    number(value).filter(|bytes| (-1..=10_000_000).contains(bytes)).ok_or_else(wrong)?;
                }
                "consumer.request.timeout.ms" => {
                    let millis = number(value).and_then(|millis| u64::try_from(millis).ok());
                    let most = u64::try_from(MOST_REQUEST_TIMEOUT.as_millis()).unwrap_or(u64::MAX);
                    let millis = millis.filter(|millis| *millis <= most).ok_or_else(wrong)?;
                    settings.request_timeout = Duration::from_millis(millis);
                }
                _ => {
                    return Err(
                        Code::ConsumerConfig.with(format!("Invalid consumer configuration: `{key}` is not known"))
                    );
                }
            }
        }
        Ok(settings)
    }

    /// `idle`: as long as an instance lives without a call, its group waits for it.
    fn apply(&self, config: &mut ClientConfig, group: &str, idle: Duration) {
        let poll_interval = idle.max(LEAST_POLL_INTERVAL).saturating_add(Duration::from_secs(30)).as_millis();
        for (name, value) in [
            ("group.id", group),
            ("auto.offset.reset", self.reset),
            ("enable.auto.commit", if self.auto_commit { "true" } else { "false" }),
            ("enable.auto.offset.store", "false"),
            ("isolation.level", if self.committed_only { "read_committed" } else { "read_uncommitted" }),
            ("allow.auto.create.topics", "false"),
            ("max.poll.interval.ms", &poll_interval.to_string()),
            ("fetch.wait.max.ms", "500"),
            // What lies ready for the next read; a thousand consumers must fit.
            ("queued.min.messages", "1000"),
            ("queued.max.messages.kbytes", "2048"),
            ("fetch.message.max.bytes", "1048576"),
            ("topic.metadata.refresh.interval.ms", "30000"),
            ("reconnect.backoff.ms", "50"),
            ("reconnect.backoff.max.ms", "1000"),
        ] {
            config.set(name, value);
        }
    }
}

fn invalid(key: &str) -> Error {
    Code::ConsumerConfig.with(format!("Invalid consumer configuration: `{key}` cannot have this value"))
}

/// True or false, as a word too: the API's clients send both.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(word) => word.to_ascii_lowercase().parse().ok(),
        _ => None,
    }
}

fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(word) => word.parse().ok(),
        _ => None,
    }
}

fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    !name.is_empty() && name.len() <= 249 && name.bytes().all(plain)
}

/// Where the caller reaches this bridge: as configured, or as it has come here.
fn origin(bridge: &Bridge, connection: &Connection, uri: &Uri, headers: &HeaderMap) -> String {
    if let Some(url) = &bridge.settings.advertised_url {
        return url.clone();
    }
    let scheme = if connection.encrypted { "https" } else { "http" };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str()));
    format!("{scheme}://{}", host.map_or_else(|| bridge.settings.bind.to_string(), str::to_owned))
}

/// A word as a part of a path.
fn encoded(word: &str) -> String {
    let mut out = String::with_capacity(word.len());
    for byte in word.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// As the others of this API have it.
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
/// Longer than any load balancer lets a request wait.
const MOST_REQUEST_TIMEOUT: Duration = Duration::from_secs(3600);
/// The client library wants it longer than its session timeout.
const LEAST_POLL_INTERVAL: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Result<Settings, Error> {
        Settings::read(body.as_object().unwrap())
    }

    #[test]
    fn settings_are_read_as_the_apis_clients_write_them() {
        let settings = read(&json!({
            "name": "a", "format": "json", "auto.offset.reset": "earliest", "auto.commit.enable": "false",
            "fetch.min.bytes": "1", "consumer.request.timeout.ms": 250, "isolation.level": "read_committed",
        }));
        let settings = settings.unwrap();
        assert_eq!((settings.name.as_deref(), settings.format, settings.reset), (Some("a"), Format::Json, "earliest"));
        assert!(!settings.auto_commit && settings.committed_only);
        assert_eq!(settings.request_timeout, Duration::from_millis(250));
        assert_eq!(read(&json!({})).unwrap().format, Format::Binary);
    }

    #[test]
    fn what_nobody_knows_is_refused() {
        for body in [
            json!({ "fetch.min.bytes": -10 }),
            json!({ "format": "xml" }),
            json!({ "name": "a b" }),
            json!({ "bootstrap.servers": "elsewhere" }),
            json!({ "auto.offset.reset": 1 }),
        ] {
            assert_eq!(read(&body).unwrap_err().code, Code::ConsumerConfig, "{body}");
        }
    }

    #[test]
    fn a_group_of_any_name_has_an_address() {
        assert_eq!(encoded("a b/ä"), "a%20b%2F%C3%A4");
    }
}
