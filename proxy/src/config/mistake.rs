//! What is wrong with a configuration, collected until the end: one run shows all of it.
//! Readers of values arrive here with a refusal and leave a [`Mistake`] with its place. A mistake never repeats the text
//! of a secret: values are quoted only by the readers that know theirs to be public.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

/// One mistake: where, what, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The path in the tree, `listeners[0].bind`, or the name of an environment variable; empty for the whole file.
    pub path: String,
    /// The line in the file, from 1; `None` when the value came from the environment or is missing altogether.
    pub line: Option<u64>,
    /// What is wrong.
    pub text: String,
    /// What the operator can do.
    pub remedy: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}", self.path)?;
            if let Some(line) = self.line {
                write!(f, " (line {line})")?;
            }
            f.write_str(": ")?;
        }
        f.write_str(&self.text)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// Why a value was refused, before its place is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) text: String,
    pub(crate) remedy: String,
}

impl Refusal {
    pub(crate) fn new(text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { text: text.into(), remedy: remedy.into() }
    }
}

/// The collection of one run. Shared by all readers of a tree, which live on one thread.
#[derive(Default)]
pub(crate) struct Mistakes {
    found: RefCell<Vec<Mistake>>,
    asked: RefCell<BTreeSet<String>>,
}

impl Mistakes {
    pub(crate) fn add(&self, path: impl Into<String>, line: Option<u64>, refusal: Refusal) {
        let mistake = Mistake { path: path.into(), line, text: refusal.text, remedy: refusal.remedy };
        self.found.borrow_mut().push(mistake);
    }

    /// Remembers that the code knows a key, so that the table of keys can be compared with the code.
    pub(crate) fn note_asked(&self, key: String) {
        self.asked.borrow_mut().insert(key);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.found.borrow().is_empty()
    }

    /// All mistakes, in the order of the file.
    pub(crate) fn into_list(self) -> Vec<Mistake> {
        let mut found = self.found.into_inner();
        found.sort_by_key(|mistake| mistake.line.unwrap_or(u64::MAX));
        found
    }

    #[cfg(test)]
    pub(crate) fn asked(&self) -> BTreeSet<String> {
        self.asked.borrow().clone()
    }
}
