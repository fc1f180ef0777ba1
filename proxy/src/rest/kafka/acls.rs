//! DescribeAcls, CreateAcls, DeleteAcls: the brokers' own access rules.
//!
//! Source: message schemas of Kafka 4.2, versions 1 (KIP-290: pattern types) to 3; enumerations of `org.apache.kafka.common.acl`.

use bytes::{BufMut, BytesMut};

use super::verdict::Verdict;
use super::{Question, read_array};
use crate::frame::{ApiKey, Cursor, Encoding, WireError};

/// One rule. Numbers are the protocol's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    /// What it is about.
    pub resource_type: i8,
    /// The resource's name, or its begin.
    pub resource_name: String,
    /// Which of both.
    pub pattern_type: i8,
    /// `User:name`.
    pub principal: String,
    /// An address, or `*`.
    pub host: String,
    /// What it lets do, or forbids.
    pub operation: i8,
    /// Which of both.
    pub permission: i8,
}

/// Which rules. `None` is any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// What they are about.
    pub resource_type: i8,
    /// The resource.
    pub resource_name: Option<String>,
    /// How the resource is named.
    pub pattern_type: i8,
    /// For whom.
    pub principal: Option<String>,
    /// From where.
    pub host: Option<String>,
    /// For what.
    pub operation: i8,
    /// Whether they allow or deny.
    pub permission: i8,
}

impl Filter {
    fn put(&self, out: &mut BytesMut, encoding: Encoding) -> Result<(), WireError> {
        out.put_i8(self.resource_type);
        encoding.put_nullable_string(out, self.resource_name.as_deref())?;
        out.put_i8(self.pattern_type);
        encoding.put_nullable_string(out, self.principal.as_deref())?;
        encoding.put_nullable_string(out, self.host.as_deref())?;
        out.put_i8(self.operation);
        out.put_i8(self.permission);
        encoding.put_no_tags(out);
        Ok(())
    }
}

/// Asks for rules.
pub struct DescribeAcls<'a>(pub &'a Filter);

impl Question for DescribeAcls<'_> {
    type Answer = (Verdict, Vec<Acl>);
    const API: ApiKey = ApiKey(29);
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=3;

    fn put(&self, out: &mut BytesMut, _: i16, encoding: Encoding) -> Result<(), WireError> {
        self.0.put(out, encoding)
    }

    fn read(cursor: &mut Cursor<'_>, _: i16) -> Result<Self::Answer, WireError> {
        cursor.i32("throttle time")?;
        let verdict = Verdict::read(cursor)?;
        let mut acls = Vec::new();
        read_array(cursor, ("resources", 4), |cursor| {
            let resource_type = cursor.i8("resource type")?;
            let resource_name = cursor.string("resource name")?;
            let pattern_type = cursor.i8("pattern type")?;
            read_array(cursor, ("acls", 4), |cursor| {
                let (principal, host) = (cursor.string("principal")?.to_owned(), cursor.string("host")?.to_owned());
                let (operation, permission) = (cursor.i8("operation")?, cursor.i8("permission type")?);
                cursor.skip_tags()?;
                let resource_name = resource_name.to_owned();
                acls.push(Acl { resource_type, resource_name, pattern_type, principal, host, operation, permission });
                Ok(())
            })?;
            cursor.skip_tags()
        })?;
        Ok((verdict, acls))
    }
}

/// Makes rules.
pub struct CreateAcls<'a>(pub &'a [Acl]);

impl Question for CreateAcls<'_> {
    /// One for each rule.
    type Answer = Vec<Verdict>;
    const API: ApiKey = ApiKey(30);
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=3;

    fn put(&self, out: &mut BytesMut, _: i16, encoding: Encoding) -> Result<(), WireError> {
        encoding.put_length(out, self.0.len())?;
        for acl in self.0 {
            out.put_i8(acl.resource_type);
            encoding.put_string(out, &acl.resource_name)?;
            out.put_i8(acl.pattern_type);
            encoding.put_string(out, &acl.principal)?;
            encoding.put_string(out, &acl.host)?;
            out.put_i8(acl.operation);
            out.put_i8(acl.permission);
            encoding.put_no_tags(out);
        }
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, _: i16) -> Result<Vec<Verdict>, WireError> {
        cursor.i32("throttle time")?;
        read_array(cursor, ("results", 3), |cursor| {
            let verdict = Verdict::read(cursor)?;
            cursor.skip_tags()?;
            Ok(verdict)
        })
    }
}

/// Takes rules away.
pub struct DeleteAcls<'a>(pub &'a Filter);

impl Question for DeleteAcls<'_> {
    /// The first refusal, or none; and what was deleted.
    type Answer = (Verdict, Vec<Acl>);
    const API: ApiKey = ApiKey(31);
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=3;

    fn put(&self, out: &mut BytesMut, _: i16, encoding: Encoding) -> Result<(), WireError> {
        encoding.put_length(out, 1)?;
        self.0.put(out, encoding)?;
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, _: i16) -> Result<Self::Answer, WireError> {
        cursor.i32("throttle time")?;
        let mut refused = Verdict::default();
        let mut note = |verdict: Verdict| {
            let is_fine = verdict.error_code == 0;
            if !is_fine && refused.error_code == 0 {
                refused = verdict;
            }
            is_fine
        };
        let mut deleted = Vec::new();
        read_array(cursor, ("filter results", 4), |cursor| {
            note(Verdict::read(cursor)?);
            read_array(cursor, ("matching acls", 10), |cursor| {
                let is_deleted = note(Verdict::read(cursor)?);
                let acl = Acl {
                    resource_type: cursor.i8("resource type")?,
                    resource_name: cursor.string("resource name")?.to_owned(),
                    pattern_type: cursor.i8("pattern type")?,
                    principal: cursor.string("principal")?.to_owned(),
                    host: cursor.string("host")?.to_owned(),
                    operation: cursor.i8("operation")?,
                    permission: cursor.i8("permission type")?,
                };
                cursor.skip_tags()?;
                if is_deleted {
                    deleted.push(acl);
                }
                Ok(())
            })?;
            cursor.skip_tags()
        })?;
        Ok((refused, deleted))
    }
}
