//! The MAC ratchet: each entry of a write-ahead file is authenticated by a key of its own, from which the next is derived.
//! A key is wiped as soon as it was used: who takes over a running gateway cannot compute the MACs of what was written
//! before. Who has the root (the keystore) can check them all.

use barnabas_crypto::{Secret, Wiped};
use ring::hmac;
use zeroize::Zeroize;

use super::Error;
use super::tree::Hash;

/// Names a run of the writer: drawn anew each time that a log is opened or had to begin a new file after a failure.
pub type RunId = [u8; 16];

/// Derives the keys of the segments of one run, one after the other.
pub struct Run {
    key: Secret<32>,
    number: u32,
}

impl Run {
    /// The run's first key, before segment 0.
    pub fn new(root: &Secret<32>, origin: &Hash, run: &RunId) -> Result<Self, Error> {
        Ok(Self { key: expand(root, &[RUN, origin, run])?, number: 0 })
    }

    /// The keys of the next segment and its number. Those of earlier segments cannot be had any more.
    pub fn next_segment(&mut self) -> Result<(u32, SegmentKeys), Error> {
        let header = expand(&self.key, &[HEADER])?;
        let chain = Chain { key: expand(&self.key, &[ENTRIES])? };
        let number = self.number;
        self.key = expand(&self.key, &[NEXT])?;
        self.number = number.saturating_add(1);
        Ok((number, SegmentKeys { header, chain }))
    }

    /// The keys of the segment with a number that was read from a file, not before this run's next.
    pub fn segment(mut self, number: u32) -> Result<SegmentKeys, Error> {
        if number > MAX_SEGMENTS {
            return Err(Error::Broken(format!("a write-ahead file claims to be number {number} of its run")));
        }
        loop {
            let (found, keys) = self.next_segment()?;
            if found >= number {
                return Ok(keys);
            }
        }
    }
}

/// The keys of one write-ahead file.
pub struct SegmentKeys {
    header: Secret<32>,
    /// Those of its entries.
    pub chain: Chain,
}

impl SegmentKeys {
    /// The MAC over the file's header.
    pub fn header_mac(&self, header: &[u8]) -> Hash {
        mac(&self.header, &[header])
    }
}

/// The chain of keys of a file's entries.
pub struct Chain {
    key: Secret<32>,
}

impl Chain {
    /// The MAC of the next entry over everything that its record says; the key is gone afterwards.
    pub fn mac(&mut self, head: &[u8], entry: &[u8]) -> Result<Hash, Error> {
        let tag = mac(&self.key, &[ENTRY, head, entry]);
        self.skip()?;
        Ok(tag)
    }

    /// Passes over an entry that is not there.
    pub fn skip(&mut self) -> Result<(), Error> {
        self.key = expand(&self.key, &[NEXT])?;
        Ok(())
    }

    /// A second chain at the same place, for trying.
    pub fn fork(&self) -> Result<Self, Error> {
        Ok(Self { key: Secret::from_slice(self.key.expose()).ok_or(LENGTH)? })
    }
}

/// HKDF-Expand (RFC 5869 2.3) to 32 bytes: one HMAC over the info and a one.
pub(super) fn expand(key: &Secret<32>, info: &[&[u8]]) -> Result<Secret<32>, Error> {
    let parts = info.iter().copied().chain([&[1u8][..]]).collect::<Vec<_>>();
    let mut bytes = mac(key, &parts);
    let secret = Secret::from_slice(&bytes).ok_or(LENGTH);
    bytes.zeroize();
    secret
}

fn mac(key: &Secret<32>, parts: &[&[u8]]) -> Hash {
    let key = Wiped::new(hmac::Key::new(hmac::HMAC_SHA256, key.expose()));
    let mut context = hmac::Context::with_key(key.lend());
    for part in parts {
        context.update(part);
    }
    context.sign().as_ref().try_into().unwrap_or_default()
}

const LENGTH: Error = Error::Key("a key of the ratchet has not 32 bytes");
const RUN: &[u8] = b"barnabas audit v1 run";
const HEADER: &[u8] = b"barnabas audit v1 header";
const ENTRIES: &[u8] = b"barnabas audit v1 entries";
const ENTRY: &[u8] = b"barnabas audit v1 entry";
const NEXT: &[u8] = b"barnabas audit v1 next";

/// A file has megabytes: so many are more than a disk.
const MAX_SEGMENTS: u32 = 10_000_000;
