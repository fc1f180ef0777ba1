//! DescribeConfigs: the settings of a topic.
//!
//! Source: message schemas of Kafka 4.2, DescribeConfigs version 1 to 4.

use bytes::{BufMut, BytesMut};

use super::{Question, put_bool, read_array};
use crate::frame::{ApiKey, Cursor, Encoding, WireError};

/// Asks for all settings of one resource.
pub struct DescribeConfigs<'a> {
    /// Which kind.
    pub kind: Resource,
    /// Its name; a node id for a broker.
    pub name: &'a str,
}

/// What has settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// A topic.
    Topic,
    /// A broker.
    Broker,
}

/// The settings of a resource.
#[derive(Debug, PartialEq, Eq)]
pub struct Settings {
    /// Kafka's error code; 0 for none.
    pub error_code: i16,
    /// What the broker says about it.
    pub error_message: Option<String>,
    /// In the broker's order.
    pub settings: Vec<Setting>,
}

/// One setting.
#[derive(Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value; `None` where it is sensitive, or has none.
    pub value: Option<String>,
    /// Whether it cannot be changed.
    pub is_read_only: bool,
    /// Where the value comes from, as the protocol numbers it.
    pub source: i8,
    /// Whether the value is kept back.
    pub is_sensitive: bool,
    /// What would apply without it, nearest first: name, value, source.
    pub synonyms: Vec<(String, Option<String>, i8)>,
}

impl Question for DescribeConfigs<'_> {
    type Answer = Settings;
    const API: ApiKey = ApiKey(32);
    const VERSIONS: std::ops::RangeInclusive<i16> = 1..=4;

    fn put(&self, out: &mut BytesMut, version: i16, encoding: Encoding) -> Result<(), WireError> {
        encoding.put_length(out, 1)?;
        out.put_i8(match self.kind {
            Resource::Topic => 2,
            Resource::Broker => 4,
        });
        encoding.put_string(out, self.name)?;
        // Null: all settings.
        encoding.put_null(out);
        encoding.put_no_tags(out);
        put_bool(out, true);
        if version >= 3 {
            put_bool(out, false);
        }
        encoding.put_no_tags(out);
        Ok(())
    }

    fn read(cursor: &mut Cursor<'_>, version: i16) -> Result<Settings, WireError> {
        cursor.i32("throttle time")?;
        let mut results = read_array(cursor, ("results", 6), |cursor| {
            let error_code = cursor.i16("error code")?;
            let error_message = cursor.nullable_string("error message")?.map(str::to_owned);
            cursor.i8("resource type")?;
            cursor.skip_string("resource name")?;
            let settings = read_array(cursor, ("configs", 6), |cursor| read_setting(cursor, version))?;
            cursor.skip_tags()?;
            Ok(Settings { error_code, error_message, settings })
        })?;
        results.pop().ok_or(WireError::BadCount { field: "results", count: 0, at: cursor.position(), remaining: 0 })
    }
}

fn read_setting(cursor: &mut Cursor<'_>, version: i16) -> Result<Setting, WireError> {
    let name = cursor.string("name")?.to_owned();
    let value = cursor.nullable_string("value")?.map(str::to_owned);
    let is_read_only = cursor.bool("read only")?;
    let source = cursor.i8("source")?;
    let is_sensitive = cursor.bool("is sensitive")?;
    let synonyms = read_array(cursor, ("synonyms", 3), |cursor| {
        let name = cursor.string("name")?.to_owned();
        let value = cursor.nullable_string("value")?.map(str::to_owned);
        let source = cursor.i8("source")?;
        cursor.skip_tags()?;
        Ok((name, value, source))
    })?;
    if version >= 3 {
        cursor.i8("type")?;
        cursor.skip_string("documentation")?;
    }
    cursor.skip_tags()?;
    Ok(Setting { name, value, is_read_only, source, is_sensitive, synonyms })
}
