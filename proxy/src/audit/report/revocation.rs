//! How fast revocations took effect: revocations and what followed them arrive, for each a measurement leaves. It counts from the
//! moment that the steward signed; until then the right was a right.

use jiff::Timestamp;

use super::occurrence::{Occurrence, Place};

/// One revocation, and what the log says of the time after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// The grant's place in the keyring.
    pub object: String,
    /// Whose right it was.
    pub principal: String,
    /// On which topic.
    pub topic: String,
    /// `read` or `write`.
    pub right: String,
    /// When it was signed.
    pub signed: Timestamp,
    /// When this gateway enforced it.
    pub heard: Timestamp,
    /// The first epoch that began after it: what is sealed from then on has another seed.
    pub rotated: Option<Timestamp>,
    /// The first refusal after it.
    pub refused: Option<Timestamp>,
    /// Records that were used after the gateway had heard of it. None is right.
    pub used_after: u64,
    /// The entry that says so.
    pub entry: Place,
    is_over: bool,
}

/// All revocations of a log.
#[derive(Clone, Debug, Default)]
pub struct Revocations(Vec<Revocation>);

impl Revocations {
    /// Takes the next event of the log.
    pub fn take(&mut self, event: &Occurrence) {
        match event.kind() {
            "grant.revoked" => self.revoked(event),
            "grant.given" => {
                let object = event.data.keyring.object.as_deref();
                self.each(|one| Some(one.object.as_str()) == object, |one| one.is_over = true);
            }
            "epoch.begun" => {
                let (topic, time) = (event.topic().unwrap_or_default(), signed(event));
                self.each(
                    |one| one.topic == topic && one.rotated.is_none() && time >= one.signed,
                    |one| one.rotated = Some(time),
                );
            }
            "records" if event.went_well() => self.used(event),
            "authorization" | "records.refused" if !event.went_well() => {
                let asked = event.data.authorization_info.as_ref().and_then(|asked| asked.operation.as_deref());
                let right = if asked == Some("Write") { "write" } else { "read" };
                self.concerned(event, right, |one| {
                    one.refused.get_or_insert(event.time);
                });
            }
            _ => {}
        }
    }

    /// Those that were signed between two moments.
    pub fn within(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = &Revocation> {
        self.0.iter().filter(move |one| from <= one.signed && one.signed < to)
    }

    fn revoked(&mut self, event: &Occurrence) {
        let data = &event.data;
        let object = data.keyring.object.clone().unwrap_or_default();
        let signed = data.grant.revoked_at.unwrap_or_else(|| signed(event));
        // Told again by a gateway that was away, or what stood there before the log began.
        let is_known = self.0.iter().any(|one| one.object == object && one.signed == signed);
        if is_known || data.keyring.found.as_deref() == Some("baseline") {
            return;
        }
        self.0.push(Revocation {
            object,
            principal: data.crypto.client.clone().unwrap_or_else(|| data.crypto.identity.clone().unwrap_or_default()),
            topic: event.topic().unwrap_or(&data.resource_name).to_owned(),
            right: data.grant.right.clone().unwrap_or_default(),
            signed,
            heard: event.time,
            rotated: None,
            refused: None,
            used_after: 0,
            entry: event.place,
            is_over: false,
        });
    }

    /// A window that began after the revocation was heard of has nothing from before it.
    fn used(&mut self, event: &Occurrence) {
        let began = event.data.window.from.unwrap_or(event.time);
        let records = event.data.crypto.records.unwrap_or_default();
        let right = if event.data.method_name == "kafka.Produce" { "write" } else { "read" };
        self.concerned(event, right, |one| {
            if began > one.heard {
                one.used_after += records;
            }
        });
    }

    fn concerned(&mut self, event: &Occurrence, right: &str, change: impl FnMut(&mut Revocation)) {
        let (principal, topic) = (event.principal().unwrap_or_default(), event.topic().unwrap_or_default());
        let is_meant = |one: &Revocation| one.principal == principal && one.topic == topic && one.right == right;
        self.each(|one| is_meant(one) && event.time >= one.heard, change);
    }

    fn each(&mut self, is_meant: impl Fn(&Revocation) -> bool, change: impl FnMut(&mut Revocation)) {
        self.0.iter_mut().filter(|one| !one.is_over && is_meant(one)).for_each(change);
    }
}

fn signed(event: &Occurrence) -> Timestamp {
    event.data.keyring.issued_at.unwrap_or(event.time)
}
