//! `/v3/clusters/{cluster_id}/acls`: the brokers' own access rules. The gateway's grants are another matter.
//!
//! Arrives: a rule, or what rules are to be found by. Leaves: rules. What must never happen here: a delete that says less than it must:
//! kind, pattern, operation and permission have to be named.

use axum::Json;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ask::{Ask, Cluster};
use super::envelope::{List, Metadata, Place, push_encoded};
use super::refusal;
use crate::rest::kafka::acls::{self, CreateAcls, DeleteAcls, DescribeAcls, Filter};
use crate::rest::{Code, Error};

/// Rules that a filter finds; all without one.
pub async fn list(ask: Ask, Path(cluster_id): Path<String>) -> Result<Json<List<Acl>>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let filter = filter(&cluster)?;
    let (verdict, found) = cluster.any(&DescribeAcls(&filter)).await?;
    refusal::check(&verdict, "access rules")?;
    let views = found.iter().filter_map(|acl| Acl::of(&cluster.place, acl)).collect();
    Ok(Json(List::new("KafkaAclList", cluster.place.address(&["acls"]), views)))
}

/// Makes a rule.
pub async fn create(ask: Ask, Path(cluster_id): Path<String>, body: Body) -> Result<Response, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let rule: NewAcl = cluster.ask.body(body).await?;
    let acl = rule.acl()?;
    make(&cluster, std::slice::from_ref(&acl)).await?;
    let location = Acl::of(&cluster.place, &acl).map(|view| view.metadata.address).unwrap_or_default();
    Ok((StatusCode::CREATED, [(header::LOCATION, location)]).into_response())
}

/// Makes rules.
pub async fn create_batch(ask: Ask, Path(cluster_id): Path<String>, body: Body) -> Result<StatusCode, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let batch: NewAcls = cluster.ask.body(body).await?;
    let rules = batch.data.into_iter().map(NewAcl::acl).collect::<Result<Vec<_>, _>>()?;
    if rules.is_empty() {
        return Err(Code::Unprocessable.with("data may not be empty"));
    }
    make(&cluster, &rules).await?;
    Ok(StatusCode::CREATED)
}

/// Takes away the rules that a filter finds, and tells which they were.
pub async fn delete(ask: Ask, Path(cluster_id): Path<String>) -> Result<Json<List<Acl>>, Error> {
    let cluster = ask.cluster(&cluster_id).await?;
    let filter = filter(&cluster)?;
    let named = cluster.ask.query()?;
    for needed in ["resource_type", "pattern_type", "operation", "permission"] {
        if !named.iter().any(|(name, value)| name == needed && !value.is_empty()) {
            return Err(Code::BadRequest.with(format!("{needed} must be named in the query")));
        }
    }
    let name = filter.resource_name.clone().unwrap_or_default();
    let answered = cluster.controller(&DeleteAcls(&filter)).await;
    let (verdict, deleted) = answered.map_err(|error| cluster.refused(&name, error))?;
    refusal::check(&verdict, "access rules")?;
    let views = deleted.iter().filter_map(|acl| Acl::of(&cluster.place, acl)).collect();
    Ok(Json(List::new("KafkaAclList", cluster.place.address(&["acls"]), views)))
}

async fn make(cluster: &Cluster, rules: &[acls::Acl]) -> Result<(), Error> {
    let names = rules.iter().map(|rule| rule.resource_name.as_str()).collect::<Vec<_>>().join(" ");
    let made = cluster.controller(&CreateAcls(rules)).await.map_err(|error| cluster.refused(&names, error))?;
    for verdict in made {
        refusal::check(&verdict, "access rule")?;
    }
    Ok(())
}

fn filter(cluster: &Cluster) -> Result<Filter, Error> {
    let mut filter = Filter {
        resource_type: ANY,
        resource_name: None,
        pattern_type: ANY,
        principal: None,
        host: None,
        operation: ANY,
        permission: ANY,
    };
    for (name, value) in cluster.ask.query()? {
        if value.is_empty() {
            continue;
        }
        match name.as_str() {
            "resource_type" => filter.resource_type = number(&RESOURCES, "resource_type", &value)?,
            "resource_name" => filter.resource_name = Some(value),
            "pattern_type" => filter.pattern_type = number(&PATTERNS, "pattern_type", &value)?,
            "principal" => filter.principal = Some(value),
            "host" => filter.host = Some(value),
            "operation" => filter.operation = number(&OPERATIONS, "operation", &value)?,
            "permission" => filter.permission = number(&PERMISSIONS, "permission", &value)?,
            _ => return Err(Code::BadRequest.with(format!("{name} is no word of this query"))),
        }
    }
    Ok(filter)
}

/// A word's number in the protocol.
fn number(words: &Words, name: &str, word: &str) -> Result<i8, Error> {
    let found = words.iter().find(|(_, known)| known.eq_ignore_ascii_case(word));
    let known = || words.iter().map(|(_, known)| *known).collect::<Vec<_>>().join(", ");
    found.map(|(number, _)| *number).ok_or_else(|| Code::BadRequest.with(format!("{name} is one of {}", known())))
}

fn word(words: &Words, number: i8) -> Option<&'static str> {
    words.iter().find(|(known, _)| *known == number).map(|(_, word)| *word)
}

/// A rule to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAcl {
    /// TOPIC, GROUP, CLUSTER, TRANSACTIONAL_ID, DELEGATION_TOKEN or USER.
    resource_type: String,
    /// The resource, or its begin.
    resource_name: String,
    /// LITERAL or PREFIXED.
    pattern_type: String,
    /// `User:name`.
    principal: String,
    /// An address, or `*`.
    host: String,
    /// ALL, READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE and others of Kafka.
    operation: String,
    /// ALLOW or DENY.
    permission: String,
}

/// Rules to be made.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewAcls {
    /// The rules.
    data: Vec<NewAcl>,
}

impl NewAcl {
    fn acl(self) -> Result<acls::Acl, Error> {
        let acl = acls::Acl {
            resource_type: number(&RESOURCES, "resource_type", &self.resource_type)?,
            pattern_type: number(&PATTERNS, "pattern_type", &self.pattern_type)?,
            operation: number(&OPERATIONS, "operation", &self.operation)?,
            permission: number(&PERMISSIONS, "permission", &self.permission)?,
            resource_name: self.resource_name,
            principal: self.principal,
            host: self.host,
        };
        let filters_only = [acl.resource_type, acl.pattern_type, acl.operation, acl.permission].contains(&ANY);
        if filters_only || acl.pattern_type == MATCH {
            return Err(Code::BadRequest.with("ANY and MATCH find rules, and cannot be in one"));
        }
        Ok(acl)
    }
}

/// A rule as the API shows it.
#[derive(Serialize, JsonSchema)]
pub struct Acl {
    kind: &'static str,
    metadata: Metadata,
    cluster_id: String,
    resource_type: &'static str,
    resource_name: String,
    pattern_type: &'static str,
    principal: String,
    host: String,
    operation: &'static str,
    permission: &'static str,
}

impl Acl {
    /// `None` for what Kafka has and we have no word for.
    fn of(place: &Place, acl: &acls::Acl) -> Option<Self> {
        let mut view = Self {
            kind: "KafkaAcl",
            metadata: Metadata { address: place.address(&["acls"]), resource_name: None },
            cluster_id: place.cluster_id.clone(),
            resource_type: word(&RESOURCES, acl.resource_type)?,
            resource_name: acl.resource_name.clone(),
            pattern_type: word(&PATTERNS, acl.pattern_type)?,
            principal: acl.principal.clone(),
            host: acl.host.clone(),
            operation: word(&OPERATIONS, acl.operation)?,
            permission: word(&PERMISSIONS, acl.permission)?,
        };
        // The filter that finds this rule and no other.
        let address = &mut view.metadata.address;
        for (index, (name, value)) in [
            ("resource_type", view.resource_type),
            ("resource_name", &view.resource_name),
            ("pattern_type", view.pattern_type),
            ("principal", &view.principal),
            ("host", &view.host),
            ("operation", view.operation),
            ("permission", view.permission),
        ]
        .into_iter()
        .enumerate()
        {
            address.push(if index == 0 { '?' } else { '&' });
            address.push_str(name);
            address.push('=');
            push_encoded(address, value);
        }
        Some(view)
    }
}

/// The words of operations that Kafka gives as bits (KIP-430).
pub(super) fn operations_of(bits: u32) -> Vec<&'static str> {
    let has = |code: i8| u32::try_from(code).is_ok_and(|code| code > 2 && bits >> code & 1 == 1);
    OPERATIONS.iter().filter(|(code, _)| has(*code)).map(|(_, word)| *word).collect()
}

type Words = [(i8, &'static str)];

const ANY: i8 = 1;
const MATCH: i8 = 2;

/// `org.apache.kafka.common.resource.ResourceType`.
const RESOURCES: [(i8, &str); 7] = [
    (ANY, "ANY"),
    (2, "TOPIC"),
    (3, "GROUP"),
    (4, "CLUSTER"),
    (5, "TRANSACTIONAL_ID"),
    (6, "DELEGATION_TOKEN"),
    (7, "USER"),
];

/// `org.apache.kafka.common.resource.PatternType`.
const PATTERNS: [(i8, &str); 4] = [(ANY, "ANY"), (MATCH, "MATCH"), (3, "LITERAL"), (4, "PREFIXED")];

/// `org.apache.kafka.common.acl.AclOperation`.
const OPERATIONS: [(i8, &str); 15] = [
    (ANY, "ANY"),
    (2, "ALL"),
    (3, "READ"),
    (4, "WRITE"),
    (5, "CREATE"),
    (6, "DELETE"),
    (7, "ALTER"),
    (8, "DESCRIBE"),
    (9, "CLUSTER_ACTION"),
    (10, "DESCRIBE_CONFIGS"),
    (11, "ALTER_CONFIGS"),
    (12, "IDEMPOTENT_WRITE"),
    (13, "CREATE_TOKENS"),
    (14, "DESCRIBE_TOKENS"),
    (15, "TWO_PHASE_COMMIT"),
];

/// `org.apache.kafka.common.acl.AclPermissionType`.
const PERMISSIONS: [(i8, &str); 3] = [(ANY, "ANY"), (2, "DENY"), (3, "ALLOW")];
