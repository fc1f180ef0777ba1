//! Kafka's `ssl.principal.mapping.rules`: a certificate subject arrives (RFC 2253 text), the principal's name leaves.
//! `RULE:pattern/replacement/[L|U]` and `DEFAULT`, tried in order, first match wins, as Kafka's documentation describes
//! ("Customizing SSL User Name"). A subject that no rule matches is no principal: it must never fall back to another name.

use std::fmt;

use regex::{Captures, Regex, RegexBuilder};

use super::{NameRefusal, Principal};

/// The compiled rules of one listener.
#[derive(Clone, Debug, PartialEq)]
pub struct MappingRules(Vec<Rule>);

impl MappingRules {
    /// Reads rules separated by commas, as the Kafka property holds them. A comma inside a rule needs no escape, a slash
    /// does (`\/`). An empty text means `DEFAULT`.
    pub fn parse(text: &str) -> Result<Self, RuleRefusal> {
        let mut rules = Vec::new();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (rule, after) = parse_rule(rest)?;
            rules.push(rule);
            rest = after.trim_start();
            match rest.strip_prefix(',') {
                Some(next) => rest = next.trim_start(),
                None if rest.is_empty() => break,
                None => return Err(RuleRefusal::Trailing(rest.to_owned())),
            }
        }
        if rules.is_empty() {
            rules.push(Rule::Default);
        }
        Ok(Self(rules))
    }

    /// Joins rules that were written one by one.
    pub fn join(parts: Vec<Self>) -> Self {
        let rules: Vec<Rule> = parts.into_iter().flat_map(|part| part.0).collect();
        if rules.is_empty() { Self::default() } else { Self(rules) }
    }

    /// The principal for a name that was proved. It is never nobody, and never the one of clients that proved nothing.
    pub fn principal(&self, name: &str) -> Result<Principal, NameRefusal> {
        let mapped = self.apply(name).ok_or_else(|| NameRefusal::Unmapped(name.to_owned()))?;
        match mapped.as_str() {
            "" => Err(NameRefusal::Empty),
            "ANONYMOUS" => Err(NameRefusal::Reserved),
            name => Ok(Principal::user(name)),
        }
    }

    /// The principal's name for a subject, or `None` when no rule matches.
    pub fn apply(&self, subject: &str) -> Option<String> {
        self.0.iter().find_map(|rule| rule.apply(subject))
    }
}

impl Default for MappingRules {
    /// `DEFAULT`: the subject as it is.
    fn default() -> Self {
        Self(vec![Rule::Default])
    }
}

/// Why a rule is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleRefusal {
    /// The replacement refers to a group although the pattern has none, or uses a form other than `$` and digits.
    #[error("the replacement `{0}` has a `$` that refers to no group of the pattern")]
    Group(String),
    /// The pattern is no regular expression, or one that needs look-around or back-references.
    #[error("the pattern `{0}` is not a regular expression without look-around: {1}")]
    Pattern(String, String),
    /// Neither `DEFAULT` nor `RULE:pattern/replacement/[L|U]`.
    #[error("`{0}` is neither DEFAULT nor RULE:pattern/replacement/ with an optional L or U")]
    Shape(String),
    /// Text after a whole rule.
    #[error("unexpected `{0}` after a rule; rules are separated by commas")]
    Trailing(String),
}

#[derive(Clone)]
enum Rule {
    Default,
    Replace { whole: Regex, part: Regex, replacement: Vec<Piece>, case: Case },
}

impl Rule {
    /// A rule applies when its pattern matches the whole subject; then each match of the pattern is replaced, which is
    /// how Kafka's own code does it, so that existing rules give the names that existing ACLs hold.
    fn apply(&self, subject: &str) -> Option<String> {
        let Self::Replace { whole, part, replacement, case } = self else {
            return Some(subject.to_owned());
        };
        if !whole.is_match(subject) {
            return None;
        }
        let name = replace_every(part, subject, replacement);
        Some(match case {
            Case::Kept => name,
            Case::Lower => name.to_lowercase(),
            Case::Upper => name.to_uppercase(),
        })
    }
}

/// Two rules are the same when they were written the same.
impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Default, Self::Default) => true,
            (
                Self::Replace { part, replacement, case, .. },
                Self::Replace { part: other_part, replacement: other_replacement, case: other_case, .. },
            ) => part.as_str() == other_part.as_str() && replacement == other_replacement && case == other_case,
            _ => false,
        }
    }
}

impl fmt::Debug for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("DEFAULT"),
            Self::Replace { part, case, .. } => write!(f, "RULE:{}/../{case:?}", part.as_str()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Kept,
    Lower,
    Upper,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Group(usize),
}

fn parse_rule(text: &str) -> Result<(Rule, &str), RuleRefusal> {
    if let Some(after) = text.strip_prefix("DEFAULT") {
        return Ok((Rule::Default, after));
    }
    let shape = || RuleRefusal::Shape(text.to_owned());
    let body = text.strip_prefix("RULE:").ok_or_else(shape)?;
    let (pattern, body) = until_slash(body).ok_or_else(shape)?;
    let (replacement, after) = until_slash(body).ok_or_else(shape)?;
    let (case, after) = match after.strip_prefix('L') {
        Some(after) => (Case::Lower, after),
        None => match after.strip_prefix('U') {
            Some(after) => (Case::Upper, after),
            None => (Case::Kept, after),
        },
    };
    let whole = compile(&format!("^(?:{pattern})$"), pattern)?;
    let part = compile(pattern, pattern)?;
    let replacement = parse_replacement(replacement, part.captures_len() - 1)?;
    Ok((Rule::Replace { whole, part, replacement, case }, after))
}

/// Splits at the first slash that no backslash precedes.
fn until_slash(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '/' => return Some((text.get(..at)?, text.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

fn compile(full: &str, shown: &str) -> Result<Regex, RuleRefusal> {
    RegexBuilder::new(full).size_limit(PATTERN_MEMORY_BYTES).build().map_err(|error| {
        let reason = error.to_string();
        let reason = reason.lines().last().unwrap_or("not parsed").trim();
        RuleRefusal::Pattern(shown.to_owned(), reason.strip_prefix("error: ").unwrap_or(reason).to_owned())
    })
}

/// `$N` takes as many digits as still name a group; a backslash makes the next character plain.
fn parse_replacement(text: &str, groups: usize) -> Result<Vec<Piece>, RuleRefusal> {
    let mut pieces = Vec::new();
    let mut plain = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\\' => plain.extend(rest.next()),
            '$' => {
                let first = rest.next().and_then(|d| d.to_digit(10)).map(|d| d as usize);
                let Some(mut group) = first.filter(|_| groups > 0) else {
                    return Err(RuleRefusal::Group(text.to_owned()));
                };
                if group > groups {
                    plain.push_str(&format!("${group}"));
                    continue;
                }
                while let Some(digit) = rest.peek().and_then(|d| d.to_digit(10)) {
                    let longer = group * 10 + digit as usize;
                    if longer > groups {
                        break;
                    }
                    group = longer;
                    rest.next();
                }
                if !plain.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut plain)));
                }
                pieces.push(Piece::Group(group));
            }
            c => plain.push(c),
        }
    }
    if !plain.is_empty() {
        pieces.push(Piece::Text(plain));
    }
    Ok(pieces)
}

/// Java's `replaceAll`: unlike this language's, it also takes an empty match that follows directly on another match.
fn replace_every(part: &Regex, subject: &str, replacement: &[Piece]) -> String {
    let mut out = String::new();
    let (mut search, mut copied) = (0, 0);
    while search <= subject.len() {
        let Some(found) = part.captures_at(subject, search) else {
            break;
        };
        let Some(all) = found.get(0) else { break };
        out.push_str(subject.get(copied..all.start()).unwrap_or_default());
        append(&mut out, &found, replacement);
        copied = all.end();
        search = if all.is_empty() { next_character(subject, all.end()) } else { all.end() };
    }
    out.push_str(subject.get(copied..).unwrap_or_default());
    out
}

fn append(out: &mut String, found: &Captures<'_>, replacement: &[Piece]) {
    for piece in replacement {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Group(group) => out.push_str(found.get(*group).map_or("", |m| m.as_str())),
        }
    }
}

fn next_character(text: &str, at: usize) -> usize {
    at + text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8)
}

/// A compiled pattern larger than this is a mistake or an attack on the memory: real rules need a few kilobytes.
const PATTERN_MEMORY_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn name(rules: &str, subject: &str) -> Option<String> {
        MappingRules::parse(rules).unwrap().apply(subject)
    }

    #[test]
    fn no_rule_and_default_keep_the_subject() {
        assert_eq!(name("", "CN=a,O=b").as_deref(), Some("CN=a,O=b"));
        assert_eq!(name("DEFAULT", "CN=a,O=b").as_deref(), Some("CN=a,O=b"));
        assert_eq!(MappingRules::join(Vec::new()).apply("CN=a").as_deref(), Some("CN=a"));
    }

    #[test]
    fn the_first_matching_rule_wins_and_commas_in_patterns_need_no_escape() {
        let rules = "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/, RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L,\
                     RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/U,DEFAULT";
        assert_eq!(name(rules, "CN=kafka,OU=ServiceUsers,O=X").as_deref(), Some("kafka"));
        assert_eq!(name(rules, "CN=Adm,OU=Ops,O=U,L=M,ST=Kari,C=ID").as_deref(), Some("adm@ops"));
        assert_eq!(name(rules, "cn=bob.x,dc=a").as_deref(), Some("BOB.X"));
        assert_eq!(name(rules, "O=none").as_deref(), Some("O=none"));
    }

    #[test]
    fn a_subject_without_a_matching_rule_has_no_name() {
        assert_eq!(name("RULE:^CN=(.*?),OU=x$/$1/", "CN=a,OU=y"), None);
    }

    #[test]
    fn a_pattern_must_match_the_whole_subject() {
        assert_eq!(name("RULE:CN=a/admin/", "CN=ab"), None);
        assert_eq!(name("RULE:CN=a|CN=ab/admin/", "CN=ab,OU=x"), None);
    }

    #[test]
    fn escaped_slashes_are_part_of_pattern_and_replacement() {
        assert_eq!(name(r"RULE:^CN=(.*)\/(.*)$/$1\/$2/", "CN=svc/host").as_deref(), Some("svc/host"));
    }

    #[test]
    fn group_numbers_follow_java() {
        assert_eq!(name("RULE:^CN=(.*)$/$1$9/", "CN=a").as_deref(), Some("a$9"));
        assert_eq!(name("RULE:^CN=(.*)$/$12/", "CN=a").as_deref(), Some("a2"));
        assert_eq!(name("RULE:.*/x/", "CN=a").as_deref(), Some("xx"));
        assert_eq!(name(r"RULE:^CN=(.*)$/\$1/", "CN=a").as_deref(), Some("$1"));
    }

    #[test]
    fn what_is_no_rule_is_refused_with_the_reason() {
        let refusal = |text: &str| MappingRules::parse(text).unwrap_err();
        assert!(matches!(refusal("RULE:^CN=(.*)$/$1"), RuleRefusal::Shape(_)));
        assert!(matches!(refusal("default"), RuleRefusal::Shape(_)));
        assert!(matches!(refusal("DEFAULT/L"), RuleRefusal::Trailing(_)));
        assert!(matches!(refusal("RULE:(/x/"), RuleRefusal::Pattern(..)));
        assert!(matches!(refusal("RULE:(?=a)b/x/"), RuleRefusal::Pattern(..)));
        assert!(matches!(refusal("RULE:^CN=.*$/$1/"), RuleRefusal::Group(_)));
        assert!(matches!(refusal("RULE:^CN=(.*)$/${x}/"), RuleRefusal::Group(_)));
    }
}
