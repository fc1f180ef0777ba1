//! Logs as one file: what comes out is what went in, and whatever was done to the file is refused or named.

use std::io::Read;

use tar::{EntryType, Header};

use super::super::export::{Archive, Export, write};
use super::super::note::NoteKey;
use super::super::reader::Reader;
use super::super::rebuild::Rebuilt;
use super::*;

fn key() -> NoteKey {
    signer().log_pen(ORIGIN).unwrap().key().clone()
}

fn export(log: &Path, bundles: Vec<std::ops::Range<u64>>) -> Export {
    let begun = Export::begin(Stored::new(log), key()).unwrap();
    let note = fs::read_to_string(log.join("checkpoint")).unwrap();
    let (checkpoint, _) = Checkpoint::parse_note(note.as_bytes()).unwrap();
    Export { note, checkpoint, bundles, ..begun }
}

/// An export of a log of so many entries, with all of its bundles.
async fn exported(folder: &Path, entries: u64) -> PathBuf {
    let (log, path) = (folder.join("log"), folder.join("bundle"));
    log_of(&log, entries).await;
    let pen = signer().log_pen(ORIGIN).unwrap();
    write(
        &path,
        &[export(&log, std::iter::once(0..entries.div_ceil(256)).collect())],
        (None, None),
        &[pen],
        &|_, _| {},
    )
    .unwrap();
    path
}

fn look(archive: &Arc<Archive>) -> Report {
    let log = Stored::exported(archive.clone(), 0);
    verify(&Verification { log, key: Some(key()), ..Verification::default() }, &|_, _| {}).unwrap()
}

fn open_archive(path: &Path) -> Result<Arc<Archive>, String> {
    Archive::open(path).map(Arc::new).map_err(|error| error.to_string())
}

/// What is wrong, wherever it is noticed.
fn wrong(path: &Path) -> Vec<String> {
    let archive = match open_archive(path) {
        Ok(archive) => archive,
        Err(error) => return vec![error],
    };
    let checked = archive.check(&|_, _| {}).unwrap();
    let unsigned = checked.signed_by.is_empty().then(|| "unsigned".to_owned());
    checked.faults.into_iter().chain(unsigned).collect()
}

#[tokio::test]
async fn an_export_is_verified_read_and_proved_from_as_the_log_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = exported(folder.path(), 1_000).await;
    let archive = open_archive(&path).unwrap();
    let checked = archive.check(&|_, _| {}).unwrap();
    assert_eq!((checked.signed_by, checked.faults), (vec![ORIGIN.to_owned()], vec![]));
    let report = look(&archive);
    assert!(report.is_whole() && report.size == 1_000 && report.left_out.is_empty(), "{:?}", report.faults);
    let of_folder = Reader::open(&folder.path().join("log"), Some(&key())).unwrap();
    let of_export = Reader::over(Stored::exported(archive, 0), None).unwrap();
    let all = |reader: &Reader| reader.entries(0..1_000).map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(all(&of_folder).len(), 1_000);
    assert_eq!(all(&of_folder), all(&of_export));
    for index in [0, 255, 256, 999] {
        let proof = of_export.prove(index).unwrap();
        proof.verify(&key(), &of_folder.entry(index).unwrap()).unwrap();
    }
    // Who is there first keeps the name.
    let again = write(&path, &[export(&folder.path().join("log"), vec![])], (None, None), &[], &|_, _| {});
    assert!(again.unwrap_err().to_string().contains("exists"));
    assert!(path.exists());
}

#[tokio::test]
async fn what_was_left_out_is_told_and_every_known_checkpoint_still_fits() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    log_of(&log, 700).await;
    let known = fs::read(log.join("checkpoint")).unwrap();
    let opened = open(settings(&log));
    append(&opened, 700..1_500).await;
    opened.close().await;
    let path = folder.path().join("bundle");
    write(&path, &[export(&log, vec![1..2, 5..6])], (None, None), &[], &|_, _| {}).unwrap();
    let archive = open_archive(&path).unwrap();
    let asked = Verification {
        log: Stored::exported(archive.clone(), 0),
        key: Some(key()),
        known: vec![known],
        ..Verification::default()
    };
    let report = verify(&asked, &|_, _| {}).unwrap();
    assert!(report.is_whole() && report.known == 1, "{:?}", report.faults);
    assert_eq!(report.left_out, [(0, 256), (512, 1_280)]);
    let reader = Reader::over(asked.log, None).unwrap();
    let indices: Vec<u64> = reader.entries(0..1_500).map(|entry| entry.unwrap().0).collect();
    assert!(indices.into_iter().eq((256..512).chain(1_280..1_500)));
    reader.prove(300).unwrap().verify(&key(), b"entry 300").unwrap();
    assert!(reader.prove(3).is_err());
    assert_eq!(wrong(&path), ["unsigned"]);
}

#[tokio::test]
async fn an_export_that_was_cut_or_changed_anywhere_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = exported(folder.path(), 300).await;
    let whole = fs::read(&path).unwrap();
    assert_eq!(wrong(&path), [""; 0]);
    let bad = folder.path().join("bad");
    for cut in (0..whole.len()).step_by(251).chain([whole.len() - 1, whole.len() - 512, whole.len() - 1024]) {
        fs::write(&bad, &whole[..cut]).unwrap();
        let error = open_archive(&bad).err().unwrap_or_else(|| panic!("{cut} bytes are taken"));
        assert!(error.contains("cut off") || error.contains("two empty blocks"), "{cut}: {error}");
    }
    fs::write(&bad, [&whole[..], &[0; 512]].concat()).unwrap();
    assert!(wrong(&bad)[0].contains("two empty blocks"));
    for place in (0..whole.len()).step_by(97) {
        let mut bytes = whole.clone();
        bytes[place] ^= 1;
        fs::write(&bad, bytes).unwrap();
        assert!(!wrong(&bad).is_empty(), "byte {place} can be changed");
    }
}

/// A member: name, kind, bytes.
type Packed = (String, EntryType, Vec<u8>);

/// Members of a file as they stand there.
fn members(path: &Path) -> Vec<Packed> {
    let mut archive = tar::Archive::new(fs::File::open(path).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), EntryType::Regular, bytes)
    });
    entries.collect()
}

/// Writes what no exporter writes.
fn pack(path: &Path, members: &[Packed]) {
    let mut out = Vec::new();
    for (name, kind, bytes) in members {
        let mut header = Header::new_ustar();
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        out.extend_from_slice(header.as_bytes());
        out.extend_from_slice(bytes);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend_from_slice(&[0; 1024]);
    fs::write(path, out).unwrap();
}

#[tokio::test]
async fn hostile_exports_are_refused_by_the_name_of_the_member() {
    let folder = tempfile::tempdir().unwrap();
    let path = exported(folder.path(), 600).await;
    let good = members(&path);
    let bad = folder.path().join("bad");
    pack(&bad, &good);
    assert_eq!(wrong(&bad), [""; 0]);
    let refused = |change: &dyn Fn(&mut Vec<Packed>), expected: &str| {
        let mut members = good.clone();
        change(&mut members);
        pack(&bad, &members);
        let found = wrong(&bad);
        assert!(found.iter().any(|what| what.contains(expected)), "{expected}: {found:?}");
    };
    let at = |name: &str| good.iter().position(|(found, ..)| found == name).unwrap();
    let file = |name: &str, bytes: &[u8]| (name.to_owned(), EntryType::Regular, bytes.to_vec());
    refused(&|m| m.insert(0, file("../../etc/passwd", b"x")), "`../../etc/passwd` is not a member");
    refused(&|m| m.insert(0, file("/etc/passwd", b"x")), "`/etc/passwd` is not a member");
    refused(&|m| m.insert(1, file("log/0/../0/vkey", b"x")), "is not a member");
    refused(&|m| m[0].1 = EntryType::Symlink, "`log/0/vkey` is not a plain file");
    refused(&|m| m[0].1 = EntryType::Directory, "`log/0/vkey` is not a plain file");
    refused(&|m| m.insert(1, m[0].clone()), "`log/0/vkey` stands twice");
    refused(&|m| m.swap(0, 1), "`log/0/vkey` stands twice, or in the wrong place");
    refused(&|m| m[0].2 = vec![b'x'; 2_000], "`log/0/vkey` has 2000 bytes, more than it can have");
    refused(&|m| m[at("log/0/tile/0/000")].2.truncate(32), "its digest is another");
    refused(&|m| drop(m.remove(at("log/0/tile/1/000.p/2"))), "its manifest speaks of");
    refused(&|m| drop(m.remove(at("digests"))), "`digests` is missing");
    refused(&|m| drop(m.pop()), "its last member is not `manifest`");
    refused(&|m| drop(m.remove(0)), "its manifest speaks of");
    refused(&|m| m[0].2 = b"other+00000000+AAAA\n".to_vec(), "`log/0/vkey` is not that of the log");
    let entries = [at("log/0/tile/entries/000.zst"), at("log/0/tile/entries/001.zst")];
    refused(
        &|m| {
            let first = std::mem::take(&mut m[entries[0]].2);
            m[entries[0]].2 = std::mem::replace(&mut m[entries[1]].2, first);
        },
        "`log/0/tile/entries/000.zst` is not what was exported",
    );
    // A bundle that grows without end when it is unpacked is as good as a changed one.
    let bomb = zstd::bulk::compress(&vec![0; 200 << 20], 19).unwrap();
    refused(&|m| m[entries[0]].2.clone_from(&bomb), "`log/0/tile/entries/000.zst` is not what was exported");
    let archive = open_archive(&bad).unwrap();
    assert!(look(&archive).faults.iter().any(|fault| fault.entry == Some(0)));
    fs::write(&bad, b"no tar").unwrap();
    assert!(wrong(&bad)[0].contains("cut off"));
    fs::write(&bad, [b'x'; 4_096]).unwrap();
    assert!(wrong(&bad)[0].contains("not an export"));
}

#[tokio::test]
async fn a_log_is_put_together_again_out_of_its_entries() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    log_of(&path("log"), 300).await;
    let first = fs::read_to_string(path("log").join("checkpoint")).unwrap();
    let log = open(settings(&path("log")));
    append(&log, 300..1_000).await;
    log.close().await;
    let last = fs::read_to_string(path("log").join("checkpoint")).unwrap();
    let reader = Reader::open(&path("log"), None).unwrap();
    let entries: Vec<(u64, Vec<u8>)> = reader.entries(0..1_000).map(Result::unwrap).collect();
    let judged = |name: &str| {
        let asked = Verification { log: Stored::new(&path(name)), key: Some(key()), ..Verification::default() };
        verify(&asked, &|_, _| {}).unwrap()
    };
    // In pieces; one comes twice, a checkpoint comes before its entries, and the newest entries have none yet.
    let mut rebuilt = Rebuilt::new(path("again"));
    for (index, entry) in &entries[..512] {
        rebuilt.entry(*index, entry).unwrap();
    }
    rebuilt.checkpoint(&first);
    rebuilt.checkpoint(&last);
    for (index, entry) in &entries[256..] {
        rebuilt.entry(*index, entry).unwrap();
    }
    rebuilt.entry(1_000, b"not under a checkpoint yet").unwrap();
    assert!(rebuilt.finish().unwrap() && rebuilt.faults.is_empty(), "{:?}", rebuilt.faults);
    assert_eq!(rebuilt.known.len(), 2);
    let report = judged("again");
    assert!(report.is_whole() && report.size == 1_000, "{:?}", report.faults);

    // One entry is another, one is missing.
    let mut rebuilt = Rebuilt::new(path("changed"));
    for (index, entry) in &entries {
        rebuilt.entry(*index, if *index == 7 { b"other" } else { entry }).unwrap();
    }
    rebuilt.checkpoint(&last);
    rebuilt.entry(300, b"another").unwrap();
    assert!(rebuilt.finish().unwrap());
    assert_eq!(rebuilt.faults, ["entry 300 is there twice, and not the same"]);
    assert!(!judged("changed").is_whole());
    let mut rebuilt = Rebuilt::new(path("missing"));
    for (index, entry) in entries.iter().filter(|(index, _)| *index != 40) {
        rebuilt.entry(*index, entry).unwrap();
    }
    rebuilt.checkpoint(&last);
    assert!(!rebuilt.finish().unwrap());
    assert_eq!(rebuilt.faults, ["entries 40 to 40 are not there"]);
}
