//! A copy of an audit log's folder, to do harm to: what somebody can do who may write to the disk, and with tools as good as the
//! auditor's own. Written from the document of the format alone (proxy/src/audit/README.md), so nothing of the gateway's code is used.

use std::fs;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};
use ring::signature::{Ed25519KeyPair, KeyPair};

/// The folder.
pub struct LogCopy(PathBuf);

/// SHA-256 of a leaf or a subtree.
pub type Hash = [u8; 32];

impl LogCopy {
    /// Copies a log that is not being written.
    pub fn of(log: &Path, to: &Path) -> Self {
        copy(log, to);
        Self(to.to_owned())
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// How many entries the checkpoint covers.
    pub fn size(&self) -> u64 {
        size_of(&fs::read_to_string(self.0.join("checkpoint")).expect("a checkpoint"))
    }

    /// The path of the bundle, or the tile of level 0, in which an entry stands; `kind` is `entries` or `0`.
    pub fn part(&self, kind: &str, entry: u64) -> PathBuf {
        let (index, size) = (entry / WIDTH, self.size());
        assert!(index < 1_000, "the logs of tests are small");
        let full = (index + 1) * WIDTH <= size;
        let width = if full { String::new() } else { format!(".p/{}", size % WIDTH) };
        self.0.join("tile").join(kind).join(format!("{index:03}{width}"))
    }

    /// The entries of the bundle in which an entry stands.
    pub fn bundle(&self, entry: u64) -> Vec<Vec<u8>> {
        let bytes = fs::read(self.part("entries", entry)).expect("a bundle");
        let (mut rest, mut entries) = (bytes.as_slice(), Vec::new());
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let (entry, after) = after.split_at(usize::from(u16::from_be_bytes(*length)));
            entries.push(entry.to_vec());
            rest = after;
        }
        entries
    }

    /// Changes the bundle in which an entry stands; `edit` is told the entry's place in it. Gives what the bundle has now.
    pub fn edit(&self, entry: u64, edit: impl FnOnce(&mut Vec<Vec<u8>>, usize)) -> Vec<Vec<u8>> {
        let mut entries = self.bundle(entry);
        edit(&mut entries, usize::try_from(entry % WIDTH).expect("a place in a bundle"));
        let length = |entry: &Vec<u8>| u16::try_from(entry.len()).expect("an entry").to_be_bytes();
        let bundle: Vec<u8> = entries.iter().flat_map(|entry| [&length(entry)[..], entry].concat()).collect();
        fs::write(self.part("entries", entry), bundle).expect("a bundle can be written");
        entries
    }

    /// Makes the tile of hashes fit the bundle in which an entry stands. Gives the hashes.
    pub fn hash_anew(&self, entry: u64) -> Vec<Hash> {
        let hashes: Vec<Hash> = self.bundle(entry).iter().map(|entry| leaf(entry)).collect();
        fs::write(self.part("0", entry), hashes.concat()).expect("a tile can be written");
        hashes
    }

    /// Makes everything fit the bundles, up to a checkpoint that another key signs; the key is put beside it. Gives the other key.
    pub fn forge(&self) -> String {
        let (size, mut leaves, mut above) = (self.size(), Vec::new(), Vec::new());
        for first in (0..size).step_by(usize::try_from(WIDTH).expect("small")) {
            let hashes = self.hash_anew(first);
            if hashes.len() as u64 == WIDTH {
                above.push(root(&hashes));
            }
            leaves.extend(hashes);
        }
        let top = self.0.join(format!("tile/1/000.p/{}", above.len()));
        fs::write(top, above.concat()).expect("a tile can be written");
        let text = fs::read_to_string(self.0.join("checkpoint")).expect("a checkpoint");
        let origin = text.lines().next().expect("an origin");
        let text = format!("{origin}\n{size}\n{}\n", STANDARD.encode(root(&leaves)));
        let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("a key");
        let public = [&[1], key.public_key().as_ref()].concat();
        let id = digest(&SHA256, &[origin.as_bytes(), b"\n", &public].concat());
        let id = &id.as_ref()[..4];
        let signature = STANDARD.encode([id, key.sign(text.as_bytes()).as_ref()].concat());
        fs::write(self.0.join("checkpoint"), format!("{text}\n\u{2014} {origin} {signature}\n")).expect("writable");
        let vkey = format!("{origin}+{}+{}", hex::encode(id), STANDARD.encode(public));
        fs::write(self.0.join("vkey"), format!("{vkey}\n")).expect("writable");
        vkey
    }

    /// The newest write-ahead file.
    pub fn write_ahead_file(&self) -> PathBuf {
        let files = fs::read_dir(self.0.join("wal")).expect("write-ahead files").flatten().map(|file| file.path());
        files.max().expect("a write-ahead file")
    }
}

/// The size in the text of a checkpoint.
pub fn size_of(checkpoint: &str) -> u64 {
    checkpoint.lines().nth(1).and_then(|line| line.parse().ok()).expect("a size")
}

/// RFC 6962, 2.1.
fn leaf(entry: &[u8]) -> Hash {
    sha256(&[&[0], entry].concat())
}

fn root(hashes: &[Hash]) -> Hash {
    match hashes {
        [] => sha256(b""),
        [one] => *one,
        _ => {
            let (left, right) = hashes.split_at(hashes.len().next_power_of_two() / 2);
            sha256(&[&[1], &root(left)[..], &root(right)[..]].concat())
        }
    }
}

fn sha256(bytes: &[u8]) -> Hash {
    digest(&SHA256, bytes).as_ref().try_into().expect("32 bytes")
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap_or_else(|e| panic!("cannot make {}: {e}", to.display()));
    for path in fs::read_dir(from).expect("a folder").flatten().map(|entry| entry.path()) {
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap_or_else(|e| panic!("cannot copy {}: {e}", path.display()));
        }
    }
}

/// Entries of a full bundle (C2SP tlog-tiles).
pub const WIDTH: u64 = 256;
