//! Environment overrides: `BARNABAS__LISTENERS__0__BIND=0.0.0.0:9192` replaces or adds one key of the tree.
//! Variables and the tree of the file arrive, the changed tree leaves. Names are parts of a path in upper case with a
//! double underscore between them. A variable that names no key is refused: a typo must never be ignored.

use super::key::{self, Kind};
use super::mistake::{Mistakes, Refusal};
use super::node::{Node, Tree};

/// Applies every variable with the prefix, in the order of their names.
pub(crate) fn apply(tree: &mut Node, env: &[(String, String)], mistakes: &Mistakes) {
    let mut ours: Vec<_> =
        env.iter().filter_map(|(name, value)| Some((name, name.strip_prefix(PREFIX)?, value))).collect();
    ours.sort();
    for (name, path, value) in ours {
        if let Err(refusal) = apply_one(tree, path, value) {
            mistakes.add(name.clone(), None, refusal);
        }
    }
}

fn apply_one(tree: &mut Node, path: &str, value: &str) -> Result<(), Refusal> {
    let parts: Vec<String> = path.split(SEPARATOR).map(str::to_ascii_lowercase).collect();
    let (steps, kind) = resolve(&parts)?;
    let written = if kind.holds_more() || (kind == Kind::SectionOrOff && value != "off") {
        // The value may hold a secret's place but never a secret, so a syntax error may quote it.
        let mut node = Node::parse(value).map_err(|(_, refusal)| refusal)?;
        forget_lines(&mut node);
        node
    } else {
        Node { line: None, tree: Tree::Scalar(value.to_owned()) }
    };
    place(tree, &steps, written)
}

/// A step down the tree.
enum Step {
    Entry(usize),
    Key(String),
}

/// The parts as steps, and the kind of the value at the last one. A variable's name has neither dots nor hyphens: a property of
/// a free mapping is written with single underscores where librdkafka has dots, a name of the operator's with single ones where
/// it has hyphens.
fn resolve(parts: &[String]) -> Result<(Vec<Step>, Kind), Refusal> {
    let mut row = String::new();
    let mut steps = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        match kind_of(&row) {
            Some(Kind::Free) => {
                steps.push(Step::Key(part.replace('_', ".")));
                steps.extend(parts.iter().skip(index + 1).cloned().map(Step::Key));
                return Ok((steps, Kind::Text));
            }
            Some(Kind::Secret) if PLACES_OF_SECRETS.contains(&part.as_str()) && index + 1 == parts.len() => {
                steps.push(Step::Key(part.clone()));
                return Ok((steps, Kind::Text));
            }
            Some(Kind::Named) => {
                steps.push(Step::Key(part.replace('_', "-")));
                row.push_str(".NAME");
                continue;
            }
            _ => {}
        }
        if let Ok(entry) = part.parse::<usize>() {
            steps.push(Step::Entry(entry));
            row.push_str("[]");
            continue;
        }
        if !row.is_empty() {
            row.push('.');
        }
        row.push_str(part);
        steps.push(Step::Key(part.clone()));
    }
    match kind_of(&row) {
        Some(kind) => Ok((steps, kind)),
        None => {
            let remedy =
                "name a key of the configuration in upper case, with __ between its parts and numbers for list entries";
            Err(Refusal::new(format!("there is no key `{}`", parts.join(".")), remedy))
        }
    }
}

/// The kind of a row of the table, or of an entry of one.
fn kind_of(row: &str) -> Option<Kind> {
    let kind = |row: &str| key::all().find(|key| key.path == row).map(|key| key.kind);
    if let Some(found) = kind(row) {
        return Some(found);
    }
    match (row.strip_suffix("[]").and_then(kind), row.strip_suffix(".NAME").and_then(kind)) {
        (Some(Kind::Entries), _) | (_, Some(Kind::Named)) => Some(Kind::Section),
        (Some(Kind::List), _) => Some(Kind::Text),
        _ => None,
    }
}

fn place(node: &mut Node, steps: &[Step], written: Node) -> Result<(), Refusal> {
    let Some((step, below)) = steps.split_first() else {
        *node = written;
        return Ok(());
    };
    let part = match step {
        Step::Entry(index) => return place_entry(node, *index, below, written),
        Step::Key(part) => part,
    };
    if !matches!(node.tree, Tree::Map(_)) {
        node.tree = Tree::Map(Vec::new());
    }
    let Tree::Map(entries) = &mut node.tree else {
        return Ok(());
    };
    if !entries.iter().any(|(name, _)| name == part) {
        entries.push((part.clone(), Node::nothing()));
    }
    match entries.iter_mut().find(|(name, _)| name == part) {
        Some((_, found)) => place(found, below, written),
        None => Ok(()),
    }
}

fn place_entry(node: &mut Node, index: usize, below: &[Step], written: Node) -> Result<(), Refusal> {
    if matches!(node.tree, Tree::Nothing) {
        node.tree = Tree::List(Vec::new());
    }
    let kind = node.kind();
    let Tree::List(items) = &mut node.tree else {
        return Err(Refusal::new(
            format!("the file has {kind} where this variable needs a list"),
            "change one of the two",
        ));
    };
    if index == items.len() {
        items.push(Node::nothing());
    }
    let count = items.len();
    let Some(item) = items.get_mut(index) else {
        let text = format!("entry {index} is beyond the list, which has {count}");
        return Err(Refusal::new(text, "number the entries from 0 without a gap"));
    };
    place(item, below, written)
}

fn forget_lines(node: &mut Node) {
    node.line = None;
    match &mut node.tree {
        Tree::List(items) => items.iter_mut().for_each(forget_lines),
        Tree::Map(entries) => entries.iter_mut().for_each(|(_, node)| forget_lines(node)),
        Tree::Nothing | Tree::Scalar(_) => {}
    }
}

/// Two underscores, because keys have single ones.
const PREFIX: &str = "BARNABAS__";

const SEPARATOR: &str = "__";

/// See [`super::secret::SecretRef`].
const PLACES_OF_SECRETS: &[&str] = &["file", "env"];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn applied(file: &str, variables: &[(&str, &str)]) -> (String, Vec<String>) {
        let mut tree = Node::parse(file).unwrap();
        let mistakes = Mistakes::default();
        let env: Vec<_> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        apply(&mut tree, &env, &mistakes);
        (show(&tree), mistakes.into_list().iter().map(ToString::to_string).collect())
    }

    fn show(node: &Node) -> String {
        match &node.tree {
            Tree::Nothing => "~".to_owned(),
            Tree::Scalar(text) => text.clone(),
            Tree::List(items) => {
                format!("[{}]", items.iter().map(show).collect::<Vec<_>>().join(","))
            }
            Tree::Map(entries) => {
                let entries: Vec<_> = entries.iter().map(|(name, node)| format!("{name}:{}", show(node))).collect();
                format!("{{{}}}", entries.join(","))
            }
        }
    }

    #[test]
    fn a_variable_replaces_or_adds_a_key() {
        let (tree, mistakes) = applied(
            "listeners: [{name: a, bind: x}]",
            &[
                ("BARNABAS__LISTENERS__0__BIND", "127.0.0.1:1"),
                ("BARNABAS__LISTENERS__1__NAME", "b"),
                ("BARNABAS__LOG__LEVEL", "debug"),
                ("BARNABAS__CLUSTERS__0__BOOTSTRAP_SERVERS", "[a:1, b:2]"),
                ("BARNABAS__CLUSTERS__0__CLIENT__SASL_MECHANISM", "PLAIN"),
                ("BARNABAS__CLUSTERS__0__CLIENT__SASL_PASSWORD__ENV", "PW"),
                ("BARNABAS__LISTENERS__0__TLS", "off"),
                ("BARNABAS__STREAMS__RULES__0__PATTERN", "[a-z]+"),
                ("BARNABAS__KEYSTORE__UNLOCK__PASSPHRASE__ENV", "PW"),
                ("BARNABAS__KMS__VAULT_EU__NAMESPACE", "team"),
                ("BARNABAS__KMS__VAULT_EU__AUTH__TOKEN__FILE", "token"),
                ("BARNABAS__KMS__7", "{type: kmip}"),
                ("BARNABAS_BIN", "not ours"),
            ],
        );
        assert!(mistakes.is_empty(), "{mistakes:?}");
        assert_eq!(
            tree,
            "{listeners:[{name:a,bind:127.0.0.1:1,tls:off},{name:b}],\
             clusters:[{bootstrap_servers:[a:1,b:2],client:{sasl.mechanism:PLAIN,sasl.password:{env:PW}}}],\
             keystore:{unlock:{passphrase:{env:PW}}},\
             kms:{7:{type:kmip},vault-eu:{auth:{token:{file:token}},namespace:team}},log:{level:debug},streams:{rules:[{pattern:[a-z]+}]}}"
        );
    }

    #[test]
    fn a_variable_that_names_nothing_is_a_mistake() {
        let (tree, mistakes) = applied(
            "listeners: [{name: a}]",
            &[("BARNABAS__LISTENRES__0__BIND", "x"), ("BARNABAS__LISTENERS__5__NAME", "x"), ("BARNABAS__", "x")],
        );
        assert_eq!(tree, "{listeners:[{name:a}]}");
        assert_eq!(mistakes.len(), 3);
        assert!(
            mistakes.iter().any(|m| m.starts_with("BARNABAS__LISTENRES__0__BIND: there is no key")),
            "{mistakes:?}"
        );
        assert!(mistakes.iter().any(|m| m.contains("entry 5 is beyond the list")), "{mistakes:?}");
    }
}
