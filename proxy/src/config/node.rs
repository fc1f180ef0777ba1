//! The YAML text as a tree of scalars, lists and mappings, each with its line.
//! Text arrives, a [`Node`] leaves. Scalars stay text: the reader of a key decides what they mean, so that `off`, `1.2` and
//! `007` are never turned into something else by a guess. Duplicate keys and oversized documents are refused here.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::mistake::Refusal;

/// One value of the file.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) line: Option<u64>,
    pub(crate) tree: Tree,
}

/// What a value is.
#[derive(Clone, Debug)]
pub(crate) enum Tree {
    /// Written as nothing, `~` or `null`.
    Nothing,
    /// Any scalar, as text.
    Scalar(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Reads one YAML document. The line of a syntax error comes back beside the refusal.
    pub(crate) fn parse(text: &str) -> Result<Self, (Option<u64>, Refusal)> {
        if text.trim().is_empty() {
            return Ok(Self::nothing());
        }
        let options = serde_saphyr::options! { strict_booleans: true, with_snippet: false };
        serde_saphyr::from_str_with_options::<Self>(text, options).map_err(|error| {
            let line = error.location().map(|location| location.line());
            let text = format!("the text is not well-formed YAML: {}", error.without_snippet());
            (line, Refusal::new(text, "correct the syntax; the other mistakes show after that"))
        })
    }

    pub(crate) fn nothing() -> Self {
        Self { line: None, tree: Tree::Nothing }
    }

    /// What the value is, for a message.
    pub(crate) fn kind(&self) -> &'static str {
        match self.tree {
            Tree::Nothing => "nothing",
            Tree::Scalar(_) => "a single value",
            Tree::List(_) => "a list",
            Tree::Map(_) => "a mapping",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Tree>::deserialize(deserializer)?;
        let line = Some(spanned.referenced.line()).filter(|line| *line > 0);
        Ok(Self { line, tree: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value, a list or a mapping")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Nothing)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        Tree::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Scalar(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Tree, E> {
        Ok(Tree::Scalar(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Node>()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry::<String, Node>()? {
            map.push(entry);
        }
        Ok(Tree::Map(map))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    fn scalar<'n>(node: &'n Node, key: &str) -> &'n str {
        let Tree::Map(entries) = &node.tree else { panic!("not a mapping") };
        match &entries.iter().find(|(name, _)| name == key).unwrap().1.tree {
            Tree::Scalar(text) => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn scalars_stay_text_and_lines_are_known() {
        let node =
            Node::parse("tls: off\nport: 9192\nversion: 1.2\nname: \"x\"\nyes: no\nboth: [a, {b: c}]\n").unwrap();
        assert_eq!(scalar(&node, "tls"), "off");
        assert_eq!(scalar(&node, "port"), "9192");
        assert_eq!(scalar(&node, "version"), "1.2");
        assert_eq!(scalar(&node, "yes"), "no");
        let Tree::Map(entries) = &node.tree else { panic!("not a mapping") };
        let lines: Vec<_> = entries.iter().map(|(_, node)| node.line).collect();
        assert_eq!(lines, [Some(1), Some(2), Some(3), Some(4), Some(5), Some(6)]);
        assert_eq!(entries.last().unwrap().1.kind(), "a list");
    }

    #[test]
    fn an_empty_text_is_nothing_and_broken_yaml_has_a_line() {
        assert!(matches!(Node::parse("# only a comment\n").unwrap().tree, Tree::Nothing));
        assert!(matches!(Node::parse("").unwrap().tree, Tree::Nothing));
        let (line, refusal) = Node::parse("a: 1\nb: [1, 2\n").unwrap_err();
        assert!(line.is_some());
        assert!(refusal.text.starts_with("the text is not well-formed YAML"));
        assert!(Node::parse("a: 1\na: 2\n").unwrap_err().1.text.contains("duplicate"));
    }
}
