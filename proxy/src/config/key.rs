//! The table of all keys: what the documentation shows, what environment overrides consult, what a test compares with
//! the code. A key that is not in the table must not be readable, and the other way round.

/// One key of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The path, with `[]` for an entry of a list: `listeners[].bind`.
    pub path: &'static str,
    /// What is written there.
    pub kind: Kind,
    /// The default, `required`, or when it is required.
    pub default: &'static str,
    /// What it does, in a sentence or two.
    pub meaning: &'static str,
}

/// The shape of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A number of bytes: plain or with KiB, MiB, GiB.
    Bytes,
    /// One word of a closed list; the words are in the meaning.
    Choice,
    /// A duration: a number with ms, s, m, h or d.
    Duration,
    /// A list of mappings.
    Entries,
    /// A mapping whose keys are free.
    Free,
    /// A list of single values.
    List,
    /// A mapping of names that the operator chooses; `NAME` stands for each in the paths below it.
    Named,
    /// A whole number.
    Number,
    /// A path; relative paths start at the folder of the configuration file.
    Path,
    /// A mapping.
    Section,
    /// Either the word `off` or a mapping.
    SectionOrOff,
    /// A reference to a secret: `{ file: path }` or `{ env: NAME }`.
    Secret,
    /// Any text; the meaning says which.
    Text,
}

impl Kind {
    /// The name in the documentation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Choice => "choice",
            Self::Duration => "duration",
            Self::Entries => "list of mappings",
            Self::Free => "mapping of properties",
            Self::List => "list",
            Self::Named => "mapping of names",
            Self::Number => "number",
            Self::Path => "path",
            Self::Section => "mapping",
            Self::SectionOrOff => "`off` or mapping",
            Self::Secret => "secret reference",
            Self::Text => "text",
        }
    }

    /// Whether an environment override of this key is read as YAML rather than as one plain value.
    pub(crate) fn holds_more(self) -> bool {
        matches!(self, Self::Entries | Self::Free | Self::List | Self::Named | Self::Section | Self::Secret)
    }
}

/// Every key, section by section, in the order of the documentation.
pub fn all() -> impl Iterator<Item = &'static Key> {
    let sections: [&'static [Key]; 26] = [
        super::listeners::KEYS,
        super::rest::KEYS,
        super::rest::auth::KEYS,
        super::rest::registry::KEYS,
        super::rest::replicas::KEYS,
        super::rest::idempotency::KEYS,
        super::clusters::KEYS,
        super::keyring::KEYS,
        super::keystore::KEYS,
        super::kms::KEYS,
        super::kms::vault::KEYS,
        super::kms::aws::KEYS,
        super::kms::gcp::KEYS,
        super::kms::azure::KEYS,
        super::kms::pkcs11::KEYS,
        super::kms::kmip::KEYS,
        super::custody::KEYS,
        super::steward::KEYS,
        super::streams::KEYS,
        super::clients::KEYS,
        super::admin::KEYS,
        super::audit::KEYS,
        super::sinks::KEYS,
        super::witnesses::KEYS,
        super::limits::KEYS,
        super::log::KEYS,
    ];
    sections.into_iter().flatten()
}

/// A short way to write a row.
pub(super) const fn key(path: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Key {
    Key { path, kind, default, meaning }
}
