//! `streams`: which topics are sealed, how, and who writes and reads them.
//! A mapping arrives, [`Streams`] leaves. `default` says what happens to a topic that no rule names and has no default
//! value: a typo in a topic name must never decide silently between plaintext and sealed.

use std::sync::Arc;
use std::time::Duration;

use super::key::{Key, Kind, key};
use super::mistake::Refusal;
use super::node::Node;
use super::pattern::{PrincipalPattern, TopicPattern};
use super::reader::Reader;
use super::{steward, values};
use crate::identity::Principal;

/// The rules as written, in their order.
#[derive(Clone, Debug, PartialEq)]
pub struct Streams {
    /// For a topic that no rule names.
    pub default: StreamRule,
    /// First match wins.
    pub rules: Vec<(TopicSelector, StreamRule)>,
}

/// What a rule says about its topics.
#[derive(Clone, Debug, PartialEq)]
pub enum StreamRule {
    /// Records pass as they are.
    Pass,
    /// No record passes, in either direction.
    Refuse,
    /// Records are sealed on the way in and opened on the way out.
    Seal(Arc<SealRule>),
}

/// Which topics a rule is about.
#[derive(Clone, Debug, PartialEq)]
pub enum TopicSelector {
    /// One topic.
    Name(String),
    /// Every topic whose whole name the pattern covers.
    Pattern(TopicPattern),
}

/// How a stream is sealed, and for whom.
#[derive(Clone, Debug, PartialEq)]
pub struct SealRule {
    /// The record suite.
    pub suite: RecordSuite,
    /// The KEM of wraps and grants.
    pub kem: Kem,
    /// What a reader gets in the place of a record that cannot be opened.
    pub on_unreadable: OnUnreadable,
    /// Whether a record is compressed before it is sealed.
    pub compress: Compress,
    /// How long an epoch lasts; `None` is as `steward.epoch_lifetime` says.
    pub epoch_lifetime: Option<Duration>,
    /// So long after its last session an epoch's seed is destroyed; `None` is never.
    pub destroy_after: Option<Duration>,
    /// Who may write. Nobody else.
    pub writers: Vec<PrincipalPattern>,
    /// Who may read. Nobody else.
    pub readers: Vec<PrincipalPattern>,
}

impl SealRule {
    /// Whether the policy lets a principal write this stream.
    pub fn may_write(&self, principal: &Principal) -> bool {
        self.writers.iter().any(|pattern| pattern.covers(principal))
    }

    /// Whether the policy lets a principal read this stream. The grant decides in the end: without one, nothing opens.
    pub fn may_read(&self, principal: &Principal) -> bool {
        self.readers.iter().any(|pattern| pattern.covers(principal))
    }
}

/// The AEAD of records; the numbers are in the envelope's suite table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordSuite {
    /// Suite 01: AES-256-GCM, nonce from lane and sequence.
    Aes256Gcm,
    /// Suite 04: ChaCha20-Poly1305 (RFC 8439), nonce from lane and sequence.
    ChaCha20Poly1305,
}

/// The KEM of wraps and grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kem {
    /// X25519 (RFC 7748) alone.
    X25519,
    /// X25519 with ML-KEM-768: safe while either holds.
    XWing,
}

/// What a reader gets in the place of a record that cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUnreadable {
    /// An error for that partition, at that record.
    Fail,
    /// The sealed bytes as they are.
    Opaque,
    /// Nothing: the record is left out.
    Skip,
}

/// Compression before sealing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compress {
    /// None.
    None,
    /// Each record by itself.
    Record,
}

impl Streams {
    pub(super) fn parse(reader: Reader<'_>, nothing: &Node) -> Option<Self> {
        let built_in = SealRule {
            suite: RecordSuite::Aes256Gcm,
            kem: Kem::XWing,
            on_unreadable: OnUnreadable::Fail,
            compress: Compress::None,
            epoch_lifetime: None,
            destroy_after: None,
            writers: Vec::new(),
            readers: Vec::new(),
        };
        let remedy =
            "write pass, refuse or seal: what happens to a topic that no rule names is for the operator to say";
        let default = reader.required("default", values::choice(DEFAULTS), remedy);
        let settings = reader.section_or_empty("settings", nothing).and_then(|section| {
            let settings = parse_seal(&section, &built_in);
            section.finish();
            settings
        });
        let base = settings.as_ref().unwrap_or(&built_in);
        let rules: Vec<_> = reader.sections("rules").into_iter().map(|rule| parse_rule(rule, base)).collect();
        refuse_shadowed(&reader, &rules);
        reader.finish();
        let default = match default? {
            DefaultRule::Pass => StreamRule::Pass,
            DefaultRule::Refuse => StreamRule::Refuse,
            DefaultRule::Seal => StreamRule::Seal(Arc::new(settings.clone()?)),
        };
        settings?;
        Some(Self { default, rules: rules.into_iter().collect::<Option<_>>()? })
    }

    /// Whether any topic can be sealed, so that keys are needed.
    pub fn may_seal(&self) -> bool {
        let seals = |rule: &StreamRule| matches!(rule, StreamRule::Seal(_));
        seals(&self.default) || self.rules.iter().any(|(_, rule)| seals(rule))
    }
}

fn parse_rule(reader: Reader<'_>, base: &SealRule) -> Option<(TopicSelector, StreamRule)> {
    let topic = reader.optional("topic", values::topic);
    let pattern = reader.optional("pattern", TopicPattern::parse);
    let selector = match (topic, pattern) {
        (Some(Some(topic)), Some(None)) => Some(TopicSelector::Name(topic)),
        (Some(None), Some(Some(pattern))) => Some(TopicSelector::Pattern(pattern)),
        (Some(_), Some(_)) => {
            let refusal = Refusal::new("a rule names its topics in exactly one way", "write `topic` or `pattern`");
            reader.refuse_here(refusal);
            None
        }
        _ => None,
    };
    let seal = reader.required("seal", values::truth, "write true, or false to let these topics pass");
    let settings = parse_seal(&reader, base);
    if seal == Some(false) {
        for key in SEAL_KEYS.iter().filter(|key| reader.node(key).is_some()) {
            let refusal =
                Refusal::new(format!("`{key}` has no effect with `seal: false`"), "remove it, or seal these topics");
            reader.refuse(key, refusal);
        }
    }
    if let (Some(TopicSelector::Name(topic)), Some(true)) = (&selector, seal)
        && INTERNAL_TOPICS.contains(&topic.as_str())
    {
        let text = format!("`{topic}` is written by the brokers themselves and cannot be sealed");
        reader.refuse_here(Refusal::new(text, "remove the rule"));
    }
    reader.finish();
    let rule = if seal? { StreamRule::Seal(Arc::new(settings?)) } else { StreamRule::Pass };
    Some((selector?, rule))
}

fn parse_seal(reader: &Reader<'_>, base: &SealRule) -> Option<SealRule> {
    let suite = reader.or_default("suite", values::choice(SUITES), base.suite);
    let kem = reader.or_default("kem", values::choice(KEMS), base.kem);
    let on_unreadable = reader.or_default("on_unreadable", values::choice(UNREADABLE), base.on_unreadable);
    let compress = reader.or_default("compress", values::choice(COMPRESS), base.compress);
    let epoch_lifetime = reader.optional("epoch_lifetime", steward::epoch_lifetime());
    let destroy_after = reader.optional("destroy_after", values::duration(SHORTEST_DESTRUCTION, LONGEST_DESTRUCTION));
    let principals = |key: &str, inherited: &[PrincipalPattern]| match reader.node(key) {
        Some(_) => reader.list(key, PrincipalPattern::parse),
        None => Some(inherited.to_vec()),
    };
    let writers = principals("writers", &base.writers);
    let readers = principals("readers", &base.readers);
    Some(SealRule {
        suite: suite?,
        kem: kem?,
        on_unreadable: on_unreadable?,
        compress: compress?,
        epoch_lifetime: epoch_lifetime?.or(base.epoch_lifetime),
        destroy_after: destroy_after?.or(base.destroy_after),
        writers: writers?,
        readers: readers?,
    })
}

/// A topic that an earlier rule already decides is a mistake: the operator believes in the later rule.
fn refuse_shadowed(reader: &Reader<'_>, rules: &[Option<(TopicSelector, StreamRule)>]) {
    for (index, rule) in rules.iter().enumerate() {
        let Some((TopicSelector::Name(topic), _)) = rule else {
            continue;
        };
        let earlier = rules.iter().take(index).position(|rule| match rule {
            Some((TopicSelector::Name(name), _)) => name == topic,
            Some((TopicSelector::Pattern(pattern), _)) => pattern.covers(topic),
            None => false,
        });
        if let Some(earlier) = earlier {
            let text = format!("rules[{earlier}] already decides about `{topic}`: the first match wins");
            reader.refuse(&format!("rules[{index}]"), Refusal::new(text, "move this rule up, or remove it"));
        }
    }
}

#[derive(Clone, Copy)]
enum DefaultRule {
    Pass,
    Refuse,
    Seal,
}

const DEFAULTS: &[(&str, DefaultRule)] =
    &[("pass", DefaultRule::Pass), ("refuse", DefaultRule::Refuse), ("seal", DefaultRule::Seal)];

const SUITES: &[(&str, RecordSuite)] =
    &[("aes-256-gcm", RecordSuite::Aes256Gcm), ("chacha20-poly1305", RecordSuite::ChaCha20Poly1305)];

const KEMS: &[(&str, Kem)] = &[("x-wing", Kem::XWing), ("x25519", Kem::X25519)];

const UNREADABLE: &[(&str, OnUnreadable)] =
    &[("fail", OnUnreadable::Fail), ("skip", OnUnreadable::Skip), ("opaque", OnUnreadable::Opaque)];

const COMPRESS: &[(&str, Compress)] = &[("none", Compress::None), ("record", Compress::Record)];

const SEAL_KEYS: &[&str] =
    &["suite", "kem", "on_unreadable", "compress", "epoch_lifetime", "destroy_after", "writers", "readers"];

/// Whoever wants less can destroy by command.
const SHORTEST_DESTRUCTION: Duration = Duration::from_secs(60);

const LONGEST_DESTRUCTION: Duration = Duration::from_secs(36_500 * 86_400);

/// The topics that Kafka's brokers write themselves: nothing in them is an application's record.
pub const INTERNAL_TOPICS: &[&str] =
    &["__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata"];

pub(super) const KEYS: &[Key] = &[
    key("streams", Kind::Section, "required", "Which topics are sealed, how, and for whom."),
    key(
        "streams.default",
        Kind::Choice,
        "required: there is no default",
        "For a topic that no rule names: `pass`, `refuse` or `seal`.",
    ),
    key("streams.settings", Kind::Section, "its defaults", "What rules inherit, and what `default: seal` uses."),
    key("streams.settings.suite", Kind::Choice, "`aes-256-gcm`", "`aes-256-gcm` or `chacha20-poly1305`."),
    key("streams.settings.kem", Kind::Choice, "`x-wing`", "`x-wing` (X25519 with ML-KEM-768) or `x25519`."),
    key(
        "streams.settings.on_unreadable",
        Kind::Choice,
        "`fail`",
        "In the place of a record that cannot be opened: `fail` that partition, `skip` it, or the sealed bytes (`opaque`).",
    ),
    key(
        "streams.settings.compress",
        Kind::Choice,
        "`none`",
        "`none` or `record`: compress each record before it is sealed.",
    ),
    key(
        "streams.settings.epoch_lifetime",
        Kind::Duration,
        "`steward.epoch_lifetime`",
        "The delegate starts a new epoch after this time. A shorter one holds for the epoch that there is.",
    ),
    key(
        "streams.settings.destroy_after",
        Kind::Duration,
        "never",
        "The delegate destroys an epoch so long after its last session: more than the topic's retention, and never for a compacted topic.",
    ),
    key("streams.settings.writers", Kind::List, "nobody", "Principals or patterns of them that may write."),
    key("streams.settings.readers", Kind::List, "nobody", "Principals or patterns of them that may read."),
    key("streams.rules", Kind::Entries, "none", "First match wins."),
    key("streams.rules[].topic", Kind::Text, "this or `pattern`", "One topic."),
    key("streams.rules[].pattern", Kind::Text, "this or `topic`", "A regular expression over whole topic names."),
    key("streams.rules[].seal", Kind::Choice, "required", "`true`, or `false` to let these topics pass."),
    key("streams.rules[].suite", Kind::Choice, "from `settings`", "As in `settings`."),
    key("streams.rules[].kem", Kind::Choice, "from `settings`", "As in `settings`."),
    key("streams.rules[].on_unreadable", Kind::Choice, "from `settings`", "As in `settings`."),
    key("streams.rules[].compress", Kind::Choice, "from `settings`", "As in `settings`."),
    key("streams.rules[].epoch_lifetime", Kind::Duration, "from `settings`", "As in `settings`."),
    key("streams.rules[].destroy_after", Kind::Duration, "from `settings`", "As in `settings`."),
    key("streams.rules[].writers", Kind::List, "from `settings`", "As in `settings`; replaces, does not add."),
    key("streams.rules[].readers", Kind::List, "from `settings`", "As in `settings`; replaces, does not add."),
];
