//! `barnabas grant`: who may read which stream, from when to when. A principal and a topic arrive, a signed grant or its
//! end leaves.

use barnabas_crypto::{EpochNumber, Grant, Identity, Keyring, Right, Stream, StreamId, UnixMillis};
use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::desk::{self, Desk};
use super::{ConfigArg, Exit, Failure, OutputArg, Row, moment};
use crate::keyring::now;
use crate::steward::{BY_POLICY, CLOCK_SKEW_MILLIS, Change, GrantRange};

/// Let a principal read or write a stream, list grants, end one
#[derive(Clone, Debug, Subcommand)]
#[command(after_help = HELP, subcommand_required = true)]
pub enum GrantCommand {
    Add(AddArgs),
    List(ListArgs),
    Revoke(RevokeArgs),
}

/// Let a principal read or write a stream
#[derive(Clone, Debug, Args)]
#[command(after_help = ADD_HELP)]
pub struct AddArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The stream's topic
    #[arg(long)]
    pub(super) topic: String,
    /// Who may
    #[arg(long, value_name = "User:NAME")]
    pub(super) principal: String,
    /// To do what
    #[arg(long, value_enum, default_value_t = RightChoice::Read)]
    pub(super) right: RightChoice,
    /// The first epoch, by number; without it, the current one
    #[arg(long, value_name = "EPOCH", conflicts_with = "from")]
    pub(super) from_epoch: Option<u32>,
    /// The first epoch, by a time that it covers (RFC 3339)
    #[arg(long, value_name = "TIME")]
    pub(super) from: Option<Timestamp>,
    /// When the grant begins (RFC 3339); without it, now
    #[arg(long, value_name = "TIME")]
    pub(super) starts: Option<Timestamp>,
    /// When the grant ends (RFC 3339); without it, it goes on
    #[arg(long, value_name = "TIME")]
    pub(super) until: Option<Timestamp>,
}

/// What a grant allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RightChoice {
    /// To open records
    Read,
    /// To write records, from the current epoch on
    Write,
}

impl RightChoice {
    fn right(self) -> Right {
        match self {
            Self::Read => Right::Read,
            Self::Write => Right::Write,
        }
    }
}

/// List grants: principal, topic, right, epochs, end
#[derive(Clone, Debug, Args)]
#[command(after_help = LIST_HELP)]
pub struct ListArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// Only of this topic
    #[arg(long)]
    pub(super) topic: Option<String>,
    /// Only of this principal
    #[arg(long, value_name = "User:NAME")]
    pub(super) principal: Option<String>,
    #[command(flatten)]
    pub(super) output: OutputArg,
}

/// End grants: a new epoch begins at once, without this reader
#[derive(Clone, Debug, Args)]
#[command(after_help = REVOKE_HELP)]
pub struct RevokeArgs {
    #[command(flatten)]
    pub(super) config: ConfigArg,
    /// The stream's topic
    #[arg(long)]
    pub(super) topic: String,
    /// Who may no longer
    #[arg(long, value_name = "User:NAME")]
    pub(super) principal: String,
    /// Only this right; without it, both
    #[arg(long, value_enum)]
    pub(super) right: Option<RightChoice>,
}

pub(super) fn run(command: GrantCommand) -> Result<(), Failure> {
    match command {
        GrantCommand::Add(args) => add(args),
        GrantCommand::List(args) => list(args),
        GrantCommand::Revoke(args) => revoke(args),
    }
}

fn add(args: AddArgs) -> Result<(), Failure> {
    let principal = desk::principal(&args.principal)?;
    let right = args.right.right();
    if right == Right::Write && (args.from_epoch.is_some() || args.from.is_some()) {
        return Err(Failure::new(Exit::Usage, "a grant to write begins with the current epoch: leave out the start"));
    }
    let at = now();
    let valid_to = args.until.map_or(UnixMillis::NEVER, moment::read);
    if valid_to <= at {
        return Err(Failure::new(Exit::Usage, "--until is in the past"));
    }
    let valid_from = args.starts.map_or(UnixMillis::new(at.millis().saturating_sub(CLOCK_SKEW_MILLIS)), moment::read);
    if valid_to <= valid_from {
        return Err(Failure::new(Exit::Usage, "--until is before --starts"));
    }
    let desk = Desk::to_change(args.config.load()?)?;
    desk::check_certificate(&desk)?;
    let (identity, stream) = (desk.identity(&principal)?.id(), desk.stream(&args.topic)?.id);
    let first = first_epoch(&desk, stream, args.from_epoch, args.from)?;
    let range = GrantRange { first, valid_from, valid_to };
    desk.make(&Change::Grant { identity, stream, right, range })?;
    let from = desk.read(|keyring| {
        let valid = keyring
            .grants(identity, stream)
            .filter(|grant| grant.right == right && grant.is_valid(now().max(valid_from)));
        valid.map(|grant| grant.first).min()
    })?;
    let from = from.map(|epoch| format!(" from epoch {epoch} on")).unwrap_or_default();
    let until = moment::written(valid_to).map(|until| format!(" until {until}")).unwrap_or_default();
    let starts =
        args.starts.and_then(|_| moment::written(valid_from)).map(|time| format!(" from {time}")).unwrap_or_default();
    println!("{principal} may {} `{}`{from}{starts}{until}", right.name(), args.topic);
    Ok(())
}

/// The first epoch by number, or the one that covers a time, or none for the current one.
fn first_epoch(
    desk: &Desk,
    stream: StreamId,
    number: Option<u32>,
    from: Option<Timestamp>,
) -> Result<Option<EpochNumber>, Failure> {
    desk.read(|keyring| match (number, from) {
        (Some(number), _) if keyring.epoch(stream, EpochNumber::new(number)).is_some() => {
            Ok(Some(EpochNumber::new(number)))
        }
        (Some(number), _) => Err(Failure::new(Exit::Failed, format!("the stream has no epoch {number}"))),
        (None, Some(from)) => {
            let from = moment::read(from);
            let covering = keyring.epochs(stream).rev().find(|epoch| epoch.not_before <= from);
            Ok(covering.or_else(|| keyring.epochs(stream).next()).map(|epoch| epoch.number))
        }
        (None, None) => Ok(None),
    })?
}

fn list(args: ListArgs) -> Result<(), Failure> {
    let principal = args.principal.as_deref().map(desk::principal).transpose()?;
    let desk = Desk::to_read(args.config.load()?)?;
    let stream = args.topic.as_deref().map(|topic| desk.stream(topic)).transpose()?.map(|stream| stream.id);
    let mut rows = desk.read(|keyring| rows(keyring, stream, now()))?;
    if let Some(principal) = principal {
        rows.retain(|row| row.principal == principal.as_str());
    }
    Ok(args.output.printer().list(&rows)?)
}

fn revoke(args: RevokeArgs) -> Result<(), Failure> {
    let principal = desk::principal(&args.principal)?;
    let desk = Desk::to_change(args.config.load()?)?;
    desk::check_certificate(&desk)?;
    let (identity, stream) = (desk.identity(&principal)?.id(), desk.stream(&args.topic)?.id);
    let right = args.right.map(RightChoice::right);
    desk.make(&Change::Revoke { identity, stream, right })?;
    let right = right.map_or("neither read nor write", |right| match right {
        Right::Read => "not read",
        Right::Write => "not write",
    });
    let epoch = desk.read(|keyring| keyring.minimum_epoch(stream))?;
    println!("{principal} may {right} `{}` any more; sealing goes on in epoch {epoch} or later", args.topic);
    Ok(())
}

/// All grants, or those of one stream. Neighbouring epochs of one grant are one row.
pub(super) fn rows(keyring: &Keyring, stream: Option<StreamId>, at: UnixMillis) -> Vec<GrantRow> {
    let mut grants: Vec<&Grant> =
        keyring.all_grants().filter(|grant| stream.is_none_or(|stream| grant.stream == stream)).collect();
    grants.sort_by_key(|grant| (grant.identity, grant.stream, grant.right.name(), grant.first));
    let mut merged: Vec<Grant> = Vec::new();
    for grant in grants {
        match merged.last_mut() {
            Some(last) if follows(last, grant) => last.last = last.last.max(grant.last),
            // The wrapped seeds are of no use here, and of any length.
            _ => merged.push(Grant { wrapped_seeds: Vec::new(), ..grant.clone() }),
        }
    }
    let mut rows: Vec<GrantRow> = merged.iter().map(|grant| GrantRow::new(keyring, grant, at)).collect();
    rows.sort_by(|a, b| {
        (&a.topic, &a.principal, a.right, a.first_epoch).cmp(&(&b.topic, &b.principal, b.right, b.first_epoch))
    });
    rows
}

fn follows(last: &Grant, next: &Grant) -> bool {
    let whose = |grant: &Grant| (grant.identity, grant.stream, grant.right, grant.valid_to, grant.revoked_at);
    whose(last) == whose(next) && last.last.next().is_none_or(|epoch| next.first <= epoch)
}

/// One grant as `list` prints it.
#[derive(Debug, Serialize)]
pub(super) struct GrantRow {
    pub(super) principal: String,
    topic: String,
    pub(super) right: &'static str,
    first_epoch: u32,
    /// Null: no end.
    last_epoch: Option<u32>,
    valid_from: Option<String>,
    /// Null: no end.
    valid_to: Option<String>,
    revoked_at: Option<String>,
    /// `policy`: it ends when no rule names the principal any more. `command`: it ends by command.
    by: &'static str,
    pub(super) state: &'static str,
    identity: String,
    stream: String,
}

impl GrantRow {
    fn new(keyring: &Keyring, grant: &Grant, at: UnixMillis) -> Self {
        let principal = keyring.identity(grant.identity).map(|identity: &Identity| identity.principal.clone());
        let topic = keyring.stream(grant.stream).map(|stream: &Stream| stream.topic.clone());
        let state = match grant {
            _ if grant.is_valid(at) => "valid",
            Grant { revoked_at: Some(_), .. } => "revoked",
            _ if at < grant.valid_from => "to come",
            _ => "ended",
        };
        Self {
            principal: principal.unwrap_or_else(|| "(removed)".to_owned()),
            topic: topic.unwrap_or_else(|| "(removed)".to_owned()),
            right: grant.right.name(),
            first_epoch: grant.first.number(),
            last_epoch: Some(grant.last.number()).filter(|last| *last != u32::MAX),
            valid_from: moment::written(grant.valid_from),
            valid_to: moment::written(grant.valid_to),
            revoked_at: grant.revoked_at.and_then(moment::written),
            by: if grant.valid_to == BY_POLICY { "policy" } else { "command" },
            state,
            identity: grant.identity.to_string(),
            stream: grant.stream.to_string(),
        }
    }
}

impl Row for GrantRow {
    const COLUMNS: &'static [&'static str] = &["principal", "topic", "right", "epochs", "until", "by", "state"];

    fn cells(&self) -> Vec<String> {
        let last = self.last_epoch.map(|last| last.to_string()).unwrap_or_default();
        vec![
            self.principal.clone(),
            self.topic.clone(),
            self.right.to_owned(),
            format!("{}-{last}", self.first_epoch),
            self.revoked_at.clone().or_else(|| self.valid_to.clone()).unwrap_or_else(|| "-".to_owned()),
            self.by.to_owned(),
            self.state.to_owned(),
        ]
    }
}

const HELP: &str = "\
Examples:
  barnabas grant add --topic orders --principal User:CN=billing
  barnabas grant add --topic orders --principal User:CN=till --right write

Readers and writers that a rule of `streams` names get their grant by themselves; this is for everyone else.";

const ADD_HELP: &str = "\
Examples:
  barnabas grant add --topic orders --principal User:CN=billing
  barnabas grant add --topic orders --principal User:CN=till --right write
  barnabas grant add --topic orders --principal User:audit --from 2026-01-01T00:00:00Z --until 2026-12-31T00:00:00Z
  barnabas grant add --topic orders --principal User:audit --starts 2027-01-01T00:00:00Z --until 2027-02-01T00:00:00Z";

const LIST_HELP: &str = "\
Examples:
  barnabas grant list --topic orders
  barnabas grant list --principal User:audit --output json";

const REVOKE_HELP: &str = "\
Examples:
  barnabas grant revoke --topic orders --principal User:CN=billing
  barnabas grant revoke --topic orders --principal User:CN=till --right write

What the reader could read before, it may have copied; nothing sealed from now on opens for it. A right that was
revoked is not given again by a rule of `streams`, only by `grant add`. What a revoked writer wrote stays readable.";

#[cfg(test)]
mod tests {
    use barnabas_crypto::IdentityId;

    use super::*;

    fn grant(first: u32, last: u32, valid_to: UnixMillis) -> Grant {
        let range = (EpochNumber::new(first), EpochNumber::new(last));
        let (who, what) = (IdentityId::from_bytes([1; 16]), StreamId::from_bytes([2; 16]));
        Grant::to_write(who, what, range, (UnixMillis::new(1), valid_to))
    }

    #[test]
    fn neighbouring_epochs_are_one_row_and_others_are_not() {
        let one = grant(0, 3, BY_POLICY);
        assert!(follows(&one, &grant(4, 4, BY_POLICY)));
        assert!(follows(&one, &grant(2, 9, BY_POLICY)));
        assert!(!follows(&one, &grant(5, 5, BY_POLICY)));
        assert!(!follows(&one, &grant(4, 4, UnixMillis::NEVER)));
        let revoked = Grant { revoked_at: Some(UnixMillis::new(9)), ..grant(4, 4, BY_POLICY) };
        assert!(!follows(&one, &revoked));
        assert!(follows(&grant(0, u32::MAX, BY_POLICY), &grant(7, u32::MAX, BY_POLICY)));
    }
}
