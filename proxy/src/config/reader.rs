//! Reads one mapping of the file key by key and collects what is wrong instead of stopping at the first.
//! A [`Node`] arrives, typed values leave; a value that was refused leaves `None` and a mistake. Every key that the code
//! asks for is remembered: what is left over at [`Reader::finish`] is an unknown key and refused.

use std::cell::RefCell;

use super::mistake::{Mistakes, Refusal};
use super::node::{Node, Tree};

/// A reader of one mapping at one path.
pub(crate) struct Reader<'n> {
    mistakes: &'n Mistakes,
    path: String,
    /// The same path in the table of keys: without indices, `NAME` for a name that the operator chose.
    row: String,
    line: Option<u64>,
    entries: &'n [(String, Node)],
    asked: RefCell<Vec<String>>,
}

impl<'n> Reader<'n> {
    /// Opens the mapping at `path`. Anything else than a mapping is a mistake and `None`; nothing is an empty mapping.
    pub(crate) fn open(mistakes: &'n Mistakes, path: &str, node: &'n Node) -> Option<Self> {
        Self::open_at(mistakes, path.to_owned(), without_indices(path), node)
    }

    fn open_at(mistakes: &'n Mistakes, path: String, row: String, node: &'n Node) -> Option<Self> {
        let entries: &[(String, Node)] = match &node.tree {
            Tree::Map(entries) => entries,
            Tree::Nothing => &[],
            _ => {
                let text = format!("expected a mapping of keys, found {}", node.kind());
                mistakes.add(path, node.line, Refusal::new(text, "write `key: value` pairs below it"));
                return None;
            }
        };
        // What is missing from the whole file is missing at no line.
        let line = node.line.filter(|_| !path.is_empty());
        Some(Self { mistakes, path, row, line, entries, asked: RefCell::default() })
    }

    /// The path of a key of this mapping.
    pub(crate) fn path_of(&self, key: &str) -> String {
        below(&self.path, key)
    }

    /// The value of a key when it is there and not nothing.
    pub(crate) fn node(&self, key: &str) -> Option<&'n Node> {
        let mut asked = self.asked.borrow_mut();
        if !asked.iter().any(|known| known == key) {
            asked.push(key.to_owned());
        }
        drop(asked);
        self.mistakes.note_asked(below(&self.row, key));
        let found = self.entries.iter().find(|(name, _)| name == key)?;
        Some(&found.1).filter(|node| !matches!(node.tree, Tree::Nothing))
    }

    /// The keys of this mapping with their values, for a mapping whose keys are free (librdkafka's properties).
    pub(crate) fn free_entries(&self) -> impl Iterator<Item = (&'n str, &'n Node)> {
        self.entries.iter().map(|(name, node)| (name.as_str(), node))
    }

    /// Adds a mistake at a key, or at a path below this mapping such as `rules[2]`.
    pub(crate) fn refuse(&self, key: &str, refusal: Refusal) {
        let line = line_below(self.entries, key).or(self.line);
        self.mistakes.add(self.path_of(key), line, refusal);
    }

    /// Adds a mistake at the mapping itself.
    pub(crate) fn refuse_here(&self, refusal: Refusal) {
        self.mistakes.add(self.path.clone(), self.line, refusal);
    }

    /// A value that must be written.
    pub(crate) fn required<T>(&self, key: &str, read: impl Fn(&str) -> Result<T, Refusal>, remedy: &str) -> Option<T> {
        match self.node(key) {
            Some(node) => self.scalar(key, node, read),
            None => {
                let text = format!("`{key}` is missing");
                self.mistakes.add(self.path_of(key), self.line, Refusal::new(text, remedy));
                None
            }
        }
    }

    /// A value with a default. `None` means that what is written was refused.
    pub(crate) fn or_default<T>(&self, key: &str, read: impl Fn(&str) -> Result<T, Refusal>, default: T) -> Option<T> {
        match self.node(key) {
            Some(node) => self.scalar(key, node, read),
            None => Some(default),
        }
    }

    /// A value that may be absent. The outer `None` means that what is written was refused.
    pub(crate) fn optional<T>(&self, key: &str, read: impl Fn(&str) -> Result<T, Refusal>) -> Option<Option<T>> {
        match self.node(key) {
            Some(node) => self.scalar(key, node, read).map(Some),
            None => Some(None),
        }
    }

    /// A list of single values; a value alone counts as a list of one. `None` when any of them was refused.
    pub(crate) fn list<T>(&self, key: &str, read: impl Fn(&str) -> Result<T, Refusal>) -> Option<Vec<T>> {
        let Some(node) = self.node(key) else {
            return Some(Vec::new());
        };
        let Tree::List(items) = &node.tree else {
            return self.scalar(key, node, read).map(|value| vec![value]);
        };
        let values: Vec<Option<T>> = items
            .iter()
            .enumerate()
            .map(|(index, item)| self.scalar(&format!("{key}[{index}]"), item, &read))
            .collect();
        values.into_iter().collect()
    }

    /// The mapping below a key; `None` when absent or refused. Use [`Reader::node`] first where absence must be told apart.
    pub(crate) fn section(&self, key: &str) -> Option<Reader<'n>> {
        let node = self.node(key)?;
        Reader::open_at(self.mistakes, self.path_of(key), below(&self.row, key), node)
    }

    /// The mapping below a key, or an empty one, so that the defaults are read by the same code.
    pub(crate) fn section_or_empty(&self, key: &str, empty: &'n Node) -> Option<Reader<'n>> {
        let node = self.node(key).unwrap_or(empty);
        Reader::open_at(self.mistakes, self.path_of(key), below(&self.row, key), node)
    }

    /// The mappings of a list.
    pub(crate) fn sections(&self, key: &str) -> Vec<Reader<'n>> {
        let Some(node) = self.node(key) else {
            return Vec::new();
        };
        let Tree::List(items) = &node.tree else {
            let text = format!("expected a list, found {}", node.kind());
            self.refuse(key, Refusal::new(text, "write each entry below it behind a dash"));
            return Vec::new();
        };
        let (path, row) = (self.path_of(key), below(&self.row, key));
        let open = |(index, item)| Reader::open_at(self.mistakes, format!("{path}[{index}]"), format!("{row}[]"), item);
        items.iter().enumerate().filter_map(open).collect()
    }

    /// The names of a mapping of names.
    pub(crate) fn names(&self, key: &str) -> Vec<&'n str> {
        match self.node(key).map(|node| &node.tree) {
            Some(Tree::Map(entries)) => entries.iter().map(|(name, _)| name.as_str()).collect(),
            _ => Vec::new(),
        }
    }

    /// The mappings below names that the operator chose; an entry that is no mapping is refused and has no reader. `None` when
    /// the names themselves are no mapping.
    pub(crate) fn named(&self, key: &str) -> Option<Vec<(&'n str, Option<Reader<'n>>)>> {
        let Some(node) = self.node(key) else {
            return Some(Vec::new());
        };
        let names = Reader::open_at(self.mistakes, self.path_of(key), below(&self.row, key), node)?;
        let row = below(&names.row, "NAME");
        let open = |(name, node): &'n (String, Node)| {
            (name.as_str(), Reader::open_at(self.mistakes, names.path_of(name), row.clone(), node))
        };
        Some(names.entries.iter().map(open).collect())
    }

    /// Reads one scalar with its place for the mistake.
    pub(crate) fn scalar<T>(&self, key: &str, node: &Node, read: impl Fn(&str) -> Result<T, Refusal>) -> Option<T> {
        let refusal = match &node.tree {
            Tree::Scalar(text) => match read(text) {
                Ok(value) => return Some(value),
                Err(refusal) => refusal,
            },
            _ => Refusal::new(format!("expected a single value, found {}", node.kind()), "write one value"),
        };
        self.mistakes.add(self.path_of(key), node.line.or(self.line), refusal);
        None
    }

    /// Refuses every key that nobody asked for.
    pub(crate) fn finish(self) {
        let asked = self.asked.borrow();
        for (name, node) in self.entries.iter().filter(|(name, _)| !asked.iter().any(|known| known == name)) {
            let nearest = asked.iter().min_by_key(|known| distance(known, name));
            let remedy = match nearest.filter(|known| distance(known, name) <= 2) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", asked.join(", ")),
            };
            let text = format!("unknown key `{name}`");
            self.mistakes.add(self.path_of(name), node.line.or(self.line), Refusal::new(text, remedy));
        }
    }
}

/// The path of a key below a path.
fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The line of the deepest value that a path reaches.
fn line_below(entries: &[(String, Node)], path: &str) -> Option<u64> {
    let (key, rest) = path.split_once(['[', '.']).unwrap_or((path, ""));
    // A key of a free mapping has dots of its own.
    let (name, rest) = if entries.iter().any(|(name, _)| name == path) { (path, "") } else { (key, rest) };
    let node = &entries.iter().find(|(found, _)| found == name)?.1;
    let (index, below) = rest.split_once(']').unwrap_or((rest, ""));
    let entry = match &node.tree {
        Tree::List(items) => index.parse::<usize>().ok().and_then(|index| items.get(index)),
        Tree::Map(entries) if !rest.is_empty() => return line_below(entries, rest).or(node.line),
        _ => None,
    };
    let deeper = entry.and_then(|entry| match &entry.tree {
        Tree::Map(entries) => line_below(entries, below.trim_start_matches('.')).or(entry.line),
        _ => entry.line,
    });
    deeper.or(node.line)
}

/// `listeners[0].bind` -> `listeners[].bind`: the name of a key in the table of keys.
pub(crate) fn without_indices(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    let mut inside = false;
    for c in path.chars() {
        inside = inside && c != ']';
        if !inside {
            out.push(c);
        }
        inside = inside || c == '[';
    }
    out
}

/// Levenshtein distance, for "did you mean". Keys are short.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, above) in b.chars().zip(row.iter().skip(1)) {
            let cost = usize::from(x != y);
            left = (diagonal + cost).min(above + 1).min(left + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn all_mistakes_of_a_mapping_are_collected_with_their_lines() {
        let node = Node::parse("size: x\nnmae: a\nlist: [1, b, c]\nother: {}\n").unwrap();
        let mistakes = Mistakes::default();
        let number = |text: &str| text.parse::<u8>().map_err(|_| Refusal::new("no number", "write one"));
        let reader = Reader::open(&mistakes, "top", &node).unwrap();
        assert_eq!(reader.required("size", number, ""), None);
        assert_eq!(reader.required("name", number, "write it"), None);
        assert_eq!(reader.list("list", number), None);
        assert_eq!(reader.or_default("absent", number, 7), Some(7));
        assert_eq!(reader.optional("other", number), None);
        reader.finish();
        let texts: Vec<String> = mistakes.into_list().iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "top.size (line 1): no number; write one",
                "top.name (line 1): `name` is missing; write it",
                "top.nmae (line 2): unknown key `nmae`; did you mean `name`?",
                "top.list[1] (line 3): no number; write one",
                "top.list[2] (line 3): no number; write one",
                "top.other (line 4): expected a single value, found a mapping; write one value",
            ]
        );
    }

    #[test]
    fn distances_and_names() {
        assert_eq!(distance("nmae", "name"), 2);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("bind", "bind"), 0);
        assert_eq!(without_indices("listeners[12].tls.crls[0]"), "listeners[].tls.crls[]");
    }
}
