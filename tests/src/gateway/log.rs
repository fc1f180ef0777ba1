//! The gateway's log: one JSON object a line. A line that is none (a panic's text) counts as an error.

use serde_json::Value;

/// One line of the log.
#[derive(Clone, Debug)]
pub struct Event {
    /// `TRACE` to `ERROR`.
    pub level: String,
    /// The whole object, empty for a line that is no JSON.
    pub fields: Value,
    /// The line.
    pub line: String,
}

impl Event {
    /// True for warnings, errors, and lines that are no event at all.
    pub fn is_alarm(&self) -> bool {
        matches!(self.level.as_str(), "WARN" | "ERROR")
    }

    /// A field, wherever the log's shape puts it: at the top or under `fields`.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields.get(name).or_else(|| self.fields.get("fields")?.get(name))
    }
}

/// All events of a log.
pub fn read(text: &str) -> Vec<Event> {
    let lines = text.lines().filter(|line| !line.trim().is_empty());
    lines
        .map(|line| {
            let fields: Value = serde_json::from_str(line).unwrap_or(Value::Null);
            let level = fields.get("level").and_then(Value::as_str).unwrap_or("ERROR").to_uppercase();
            Event { level, fields, line: line.to_owned() }
        })
        .collect()
}
