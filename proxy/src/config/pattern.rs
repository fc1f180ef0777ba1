//! Patterns for topics and principals: text arrives, a compiled, anchored pattern leaves.
//! Regular expressions run in linear time (no look-around, no back-references) and always cover the whole name: a
//! pattern must never match by a part.

use std::fmt;

use regex::{Regex, RegexBuilder};

use super::mistake::Refusal;
use crate::identity::Principal;

/// A regular expression over whole topic names.
#[derive(Clone)]
pub struct TopicPattern {
    text: String,
    regex: Regex,
}

impl TopicPattern {
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        Ok(Self { text: text.to_owned(), regex: anchored(text)? })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern covers the whole name.
    pub fn covers(&self, topic: &str) -> bool {
        self.regex.is_match(topic)
    }
}

impl PartialEq for TopicPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for TopicPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.text)
    }
}

/// A principal, written as `User:NAME`, or a regular expression over the whole of it.
///
/// A text whose only special character is the dot is a plain name, so that `User:svc.a` never means `User:svcXa`. With
/// any other operator it is a regular expression. `User:*` is everyone, as in Kafka's ACLs.
#[derive(Clone)]
pub struct PrincipalPattern {
    text: String,
    form: Form,
}

impl PrincipalPattern {
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        if !text.starts_with("User:") || text == "User:" {
            let text = format!("`{text}` is not a principal or a pattern of principals");
            return Err(Refusal::new(text, "write User:NAME, such as User:CN=alice or User:CN=(a|b),.*"));
        }
        let form = if text == "User:*" {
            Form::Everyone
        } else if text.contains(OPERATORS) {
            Form::Pattern(anchored(text)?)
        } else {
            Form::Name
        };
        Ok(Self { text: text.to_owned(), form })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern covers the principal.
    pub fn covers(&self, principal: &Principal) -> bool {
        match &self.form {
            Form::Everyone => true,
            Form::Name => self.text == principal.as_str(),
            Form::Pattern(regex) => regex.is_match(principal.as_str()),
        }
    }
}

impl PartialEq for PrincipalPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Debug for PrincipalPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Clone)]
enum Form {
    Everyone,
    Name,
    Pattern(Regex),
}

fn anchored(text: &str) -> Result<Regex, Refusal> {
    // Parsed alone first: `a)(b` would become well-formed inside the anchors' parentheses.
    let build = |text: &str| RegexBuilder::new(text).size_limit(PATTERN_MEMORY_BYTES).build();
    let compiled = build(text).and_then(|_| build(&format!("^(?:{text})$")));
    compiled.map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or("not parsed").trim();
        let reason = reason.strip_prefix("error: ").unwrap_or(reason);
        Refusal::new(
            format!("`{text}` is not a regular expression: {reason}"),
            "correct it; look-around and back-references are not available",
        )
    })
}

/// What makes a principal a regular expression; the dot alone does not.
const OPERATORS: [char; 12] = ['*', '+', '?', '[', ']', '(', ')', '{', '}', '|', '^', '\\'];

/// A compiled pattern larger than this is a mistake: real patterns need a few kilobytes.
const PATTERN_MEMORY_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn covers(pattern: &str, principal: &str) -> bool {
        PrincipalPattern::parse(pattern).unwrap().covers(&Principal::parse(principal).unwrap())
    }

    #[test]
    fn a_pattern_covers_the_whole_name_or_nothing() {
        let pattern = TopicPattern::parse(r"pay\..*|bills").unwrap();
        assert!(pattern.covers("pay.eu") && pattern.covers("bills"));
        assert!(!pattern.covers("xpay.eu") && !pattern.covers("bills2") && !pattern.covers("payeu"));
        assert!(!pattern.covers("bills\n"));
        assert!(TopicPattern::parse("a)(b").is_err());
        assert!(TopicPattern::parse("(").is_err());
        assert!(TopicPattern::parse("(?=a)").is_err());
        assert!(TopicPattern::parse("(a{1000}){1000}").is_err());
    }

    #[test]
    fn dots_of_a_plain_principal_are_dots() {
        assert!(covers("User:svc.a", "User:svc.a"));
        assert!(!covers("User:svc.a", "User:svcXa"));
        assert!(covers("User:svc.*", "User:svc-7"));
        assert!(!covers("User:svc.*", "User:other"));
        assert!(covers("User:*", "User:ANONYMOUS"));
        assert!(covers(r"User:CN=(alice|bob),OU=.*", "User:CN=bob,OU=x"));
        assert!(PrincipalPattern::parse("CN=alice").is_err());
        assert!(PrincipalPattern::parse("User:").is_err());
    }
}
