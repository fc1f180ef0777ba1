//! Good and tampered logs for the second verifier (`tests/second_verifier`), each with this verifier's verdict.
//! They are written to the folder that `BARNABAS_TEST_AUDIT_CASES` names, or else to one that is thrown away.

use std::fs::{self, File};

use serde_json::json;

use super::super::folder::CHECKPOINT;
use super::super::note::{Note, NoteKey};
use super::super::reader::Reader;
use super::super::tile::hash_bytes;
use super::super::tree::leaf_hash;
use super::tampering::rewrite;
use super::*;

/// What is done to a log.
type Tamper = fn(&Path);

/// Each name says what was done.
const TAMPERED: &[(&str, Tamper)] = &[
    ("untouched", |_| {}),
    ("changed", |log| drop(rewrite(log, "001", |entries| entries[5] = b"entry 9".to_vec()))),
    ("emptied", |log| drop(rewrite(log, "001", |entries| entries[5].clear()))),
    ("removed", |log| drop(rewrite(log, "000", |entries| drop(entries.remove(200))))),
    ("inserted", |log| drop(rewrite(log, "000", |entries| entries.insert(3, b"nothing".to_vec())))),
    ("appended", |log| drop(rewrite(log, "002.p/88", |entries| entries.push(b"nothing".to_vec())))),
    ("moved", |log| drop(rewrite(log, "000", |entries| entries.swap(17, 18)))),
    ("cut", |log| drop(rewrite(log, "002.p/88", |entries| entries.truncate(80)))),
    ("torn", |log| {
        let path = log.join("tile/entries/001");
        let bytes = fs::read(&path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    }),
    ("bundle-gone", |log| fs::remove_file(log.join("tile/entries/001")).unwrap()),
    ("tile-gone", |log| fs::remove_file(log.join("tile/0/001")).unwrap()),
    ("tile-above-gone", |log| fs::remove_file(log.join("tile/1/000.p/2")).unwrap()),
    ("made-to-fit", |log| {
        let entries = rewrite(log, "001", |entries| entries[5] = b"entry 9".to_vec());
        let hashes: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        fs::write(log.join("tile/0/001"), hash_bytes(&hashes)).unwrap();
    }),
    ("last-made-to-fit", |log| {
        let entries = rewrite(log, "002.p/88", |entries| entries[5] = b"entry 9".to_vec());
        let hashes: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        fs::write(log.join("tile/0/002.p/88"), hash_bytes(&hashes)).unwrap();
    }),
    ("checkpoint-gone", |log| fs::remove_file(log.join(CHECKPOINT)).unwrap()),
    ("checkpoint-edited", |log| {
        let text = fs::read_to_string(log.join(CHECKPOINT)).unwrap();
        fs::write(log.join(CHECKPOINT), text.replace("\n600\n", "\n512\n")).unwrap();
    }),
    ("statements-forged", |log| {
        let other = Signer::from_seed(&Secret::from_slice(&[1; 32]).unwrap()).unwrap().log_pen(ORIGIN).unwrap();
        let leaf = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, leaf_hash(b"entry 599"));
        let text = format!("barnabas.audit/statements/v1\n{ORIGIN}\nexpired 0 256 599 {leaf}\n");
        fs::write(log.join("statements"), other.sign(text).to_string()).unwrap();
    }),
    ("stated", |log| {
        let pen = signer().log_pen(ORIGIN).unwrap();
        let leaf = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, leaf_hash(b"entry 599"));
        let text = format!(
            "barnabas.audit/statements/v1\n{ORIGIN}\nexpired 0 256 599 {leaf}\nunreadable 300 302 599 {leaf}\n"
        );
        fs::write(log.join("statements"), pen.sign(text).to_string()).unwrap();
        fs::remove_file(log.join("tile/entries/000")).unwrap();
        rewrite(log, "001", |entries| entries[44..46].iter_mut().for_each(Vec::clear));
    }),
    ("stated-otherwise", |log| {
        let pen = signer().log_pen(ORIGIN).unwrap();
        let leaf = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, leaf_hash(b"entry 599"));
        let text = format!("barnabas.audit/statements/v1\n{ORIGIN}\nexpired 0 256 598 {leaf}\n");
        fs::write(log.join("statements"), pen.sign(text).to_string()).unwrap();
    }),
    ("compressed", |log| {
        let path = log.join("tile/entries/001");
        fs::write(log.join("tile/entries/001.zst"), zstd::bulk::compress(&fs::read(&path).unwrap(), 3).unwrap())
            .unwrap();
        fs::remove_file(path).unwrap();
    }),
    ("compressed-changed", |log| {
        let path = log.join("tile/entries/001");
        fs::write(log.join("tile/entries/001.zst"), zstd::bulk::compress(b"\0\x01a", 3).unwrap()).unwrap();
        fs::remove_file(path).unwrap();
    }),
    ("compressed-damaged", |log| {
        fs::write(log.join("tile/entries/001.zst"), b"no frame").unwrap();
        fs::remove_file(log.join("tile/entries/001")).unwrap();
    }),
];

/// A place for cases, and the folder that goes away with it.
struct Cases {
    folder: PathBuf,
    _scratch: Option<tempfile::TempDir>,
}

impl Cases {
    fn new() -> Self {
        match std::env::var_os("BARNABAS_TEST_AUDIT_CASES") {
            Some(folder) => Self { folder: folder.into(), _scratch: None },
            None => {
                let scratch = tempfile::tempdir().unwrap();
                Self { folder: scratch.path().to_owned(), _scratch: Some(scratch) }
            }
        }
    }

    /// Verifies `log` as a case and writes the verdict. `known` are files beside the log.
    fn add(&self, name: &str, log: &Path, known: &[(&str, Vec<u8>)]) -> Report {
        self.add_witnessed(name, log, known, None)
    }

    /// The same, with a witness that must have cosigned.
    fn add_witnessed(&self, name: &str, log: &Path, known: &[(&str, Vec<u8>)], witness: Option<&NoteKey>) -> Report {
        let case = self.folder.join(name);
        copy(log, &case.join("log"));
        known.iter().for_each(|(name, bytes)| fs::write(case.join(name), bytes).unwrap());
        let key: NoteKey = signer().log_pen(ORIGIN).unwrap().key().clone();
        let asked = Verification {
            log: Stored::new(&case.join("log")),
            key: Some(key.clone()),
            known: known.iter().map(|(_, bytes)| bytes.clone()).collect(),
            ratchet_root: Some(signer().ratchet_root().unwrap()),
            witnesses: witness.into_iter().cloned().collect(),
            quorum: witness.into_iter().count(),
            ..Verification::default()
        };
        let report = verify(&asked, &|_, _| {}).unwrap();
        let verdict = json!({
            "key": key.to_string(),
            "known": known.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            "ratchet_root": hex::encode(signer().ratchet_root().unwrap().expose()),
            "witnesses": witness.map(ToString::to_string).into_iter().collect::<Vec<_>>(),
            "quorum": witness.into_iter().count(),
            "whole": report.is_whole(),
            "entry": report.faults.first().and_then(|fault| fault.entry),
        });
        serde_json::to_writer_pretty(File::create(case.join("verdict.json")).unwrap(), &verdict).unwrap();
        report
    }
}

#[tokio::test]
async fn cases_for_the_second_verifier() {
    let scratch = tempfile::tempdir().unwrap();
    let cases = Cases::new();
    let (good, bad) = (scratch.path().join("good"), scratch.path().join("bad"));
    log_of(&good, 300).await;
    let old = fs::read(good.join(CHECKPOINT)).unwrap();
    let rolled_back = scratch.path().join("old");
    copy(&good, &rolled_back);
    let log = open(settings(&good));
    append(&log, 300..600).await;
    log.close().await;
    open(settings(&good)).close().await;
    let last = fs::read(good.join(CHECKPOINT)).unwrap();

    for (name, tamper) in TAMPERED {
        copy(&good, &bad);
        tamper(&bad);
        let report = cases.add(name, &bad, &[]);
        assert_eq!(
            report.is_whole(),
            ["untouched", "stated", "compressed"].contains(name),
            "{name}: {:?}",
            report.faults
        );
        fs::remove_dir_all(&bad).unwrap();
    }
    let proof = Reader::open(&good, None).unwrap().prove(261).unwrap();
    fs::write(cases.folder.join("untouched/261.tlog-proof"), proof.to_string()).unwrap();
    fs::write(cases.folder.join("untouched/261.entry"), "entry 261").unwrap();

    let witness = signer().witness_pen("audit.example/gateway-2/witness").unwrap();
    let other = signer().witness_pen("audit.example/gateway-3/witness").unwrap();
    copy(&good, &bad);
    let mut note = Note::parse(&last).unwrap();
    note.signatures.push(witness.cosign(&note.text, 1_800_000_000));
    fs::write(bad.join("witnessed"), note.to_string()).unwrap();
    assert!(cases.add_witnessed("witnessed", &bad, &[], Some(witness.key())).is_whole());
    assert!(!cases.add_witnessed("witnessed-by-another", &bad, &[], Some(other.key())).is_whole());
    fs::write(bad.join("witnessed"), note.to_string().replace("\n600\n", "\n601\n")).unwrap();
    assert!(!cases.add_witnessed("witnessed-otherwise", &bad, &[], Some(witness.key())).is_whole());
    fs::remove_dir_all(&bad).unwrap();

    assert!(cases.add("known", &good, &[("old", old.clone()), ("last", last.clone())]).is_whole());
    assert!(!cases.add("rolled-back", &rolled_back, &[("last", last)]).is_whole());
    copy(&good, &bad);
    fs::write(bad.join(CHECKPOINT), old).unwrap();
    assert!(!cases.add("old-checkpoint", &bad, &[]).is_whole());
    fs::remove_dir_all(&bad).unwrap();

    let log = open(without_checkpoints(&good));
    append(&log, 600..610).await;
    copy(&good, &bad);
    log.close().await;
    assert!(cases.add("tail", &bad, &[]).is_whole());
    let whole = fs::read(segment(&bad)).unwrap();
    fs::write(segment(&bad), &whole[..whole.len() - 1]).unwrap();
    assert!(cases.add("tail-torn", &bad, &[]).is_whole());
    let mut changed = whole;
    changed[100 + 56 + 3] ^= 1;
    fs::write(segment(&bad), changed).unwrap();
    assert!(!cases.add("tail-changed", &bad, &[]).is_whole());
    fs::remove_dir_all(&bad).unwrap();

    let fork = scratch.path().join("fork");
    copy(&rolled_back, &fork);
    let log = open(settings(&fork));
    append(&log, 1_300..1_600).await;
    log.close().await;
    let forked = fs::read(fork.join(CHECKPOINT)).unwrap();
    assert!(!cases.add("forked", &good, &[("other", forked)]).is_whole());
    log_of(&bad, 0).await;
    assert!(cases.add("empty", &bad, &[]).is_whole());
}
