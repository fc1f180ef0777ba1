//! Logs that witness each other: what is cosigned, what is refused, and that a rolled-back log is found out.

use std::fs;

use super::super::note::{Note, NoteKey};
use super::super::witness::{AddCheckpoint, Answer, Witness, WitnessClient, WitnessError, gather, router};
use super::*;

fn key() -> NoteKey {
    signer().log_pen(ORIGIN).unwrap().key().clone()
}

fn witness(folder: &Path) -> Witness {
    let seed = Secret::from_slice(&[77; 32]).unwrap();
    let pen = Signer::from_seed(&seed).unwrap().witness_pen("audit.example/gateway-2/witness").unwrap();
    Witness::open(folder.join("witness"), pen, vec![key()], Box::new(|_, _| {})).unwrap()
}

/// Serves a witness, and gives its address.
async fn serve(witness: Arc<Witness>) -> String {
    let socket = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/witness/", socket.local_addr().unwrap());
    let routes = axum::Router::new().nest("/witness", router(witness));
    tokio::spawn(async move { axum::serve(socket, routes).await });
    address
}

fn is_witnessed(directory: &Path, witness: &NoteKey) -> Report {
    let asked = Verification {
        log: Stored::new(directory),
        key: Some(key()),
        witnesses: vec![witness.clone()],
        quorum: 1,
        ..Verification::default()
    };
    verify(&asked, &|_, _| {}).unwrap()
}

#[tokio::test]
async fn a_log_that_grows_is_cosigned_and_one_that_was_rolled_back_or_forked_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let (path, old) = (folder.path().join("log"), folder.path().join("old"));
    let witness = Arc::new(witness(folder.path()));
    let address = serve(witness.clone()).await;
    let client = || WitnessClient::new(&address, witness.key().clone(), None).unwrap();
    let mut clients = [client()];

    let log = open(settings(&path));
    assert!(gather(&log, &mut clients).await.iter().all(Result::is_ok), "an empty log");
    log.close().await;
    log_of(&path, 300).await;
    let log = open(settings(&path));
    assert!(gather(&log, &mut clients).await.iter().all(Result::is_ok));
    assert!(gather(&log, &mut clients).await.iter().all(Result::is_ok), "the same again");
    log.close().await;
    assert_eq!(is_witnessed(&path, witness.key()).witnesses, ["audit.example/gateway-2/witness"]);
    assert!(is_witnessed(&path, witness.key()).is_whole());
    copy(&path, &old);
    let log = open(settings(&path));
    append(&log, 300..700).await;
    log.close().await;
    // A gateway that was started again does not know what the witness has seen.
    let mut clients = [client()];
    let log = open(settings(&path));
    assert!(gather(&log, &mut clients).await.iter().all(Result::is_ok));
    log.close().await;
    assert!(is_witnessed(&path, witness.key()).is_whole());
    let origin = hex::encode(super::super::tree::sha256(ORIGIN.as_bytes()));
    let latest = Note::parse(witness.latest(&origin).unwrap().as_bytes()).unwrap();
    assert!(latest.is_signed_by(witness.key()) && latest.is_signed_by(&key()));

    // The old folder comes back, and goes on as if nothing had happened.
    let log = open(settings(&old));
    let outcome = gather(&log, &mut [client()]).await;
    assert!(matches!(outcome[0], Err(WitnessError::Longer(_, 700, 300))), "{outcome:?}");
    append(&log, 5_000..5_900).await;
    log.close().await;
    let log = open(settings(&old));
    let outcome = gather(&log, &mut [client()]).await;
    assert!(matches!(outcome[0], Err(WitnessError::Forked(_))), "{outcome:?}");
    log.close().await;
    fs::remove_file(path.join("witnessed")).unwrap();
    assert!(!is_witnessed(&path, witness.key()).is_whole(), "nobody has cosigned");
}

#[tokio::test]
async fn a_witness_answers_as_the_specification_says_and_remembers_over_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    log_of(&path, 300).await;
    let note = Note::parse(&fs::read(path.join("checkpoint")).unwrap()).unwrap();
    let body = |old: u64, note: &Note| format!("old {old}\n\n{note}");
    let first = witness(folder.path());
    let ask = |witness: &Witness, body: &str| witness.add_checkpoint(body.as_bytes());
    for wrong in ["", "old 0\n", "new 0\n\n", "old 00\n\nx"] {
        assert_eq!(ask(&first, wrong), Answer::Malformed, "{wrong:?}");
    }
    assert_eq!(ask(&first, &body(301, &note)), Answer::Malformed);
    assert_eq!(ask(&first, &body(5, &note)), Answer::OtherSize(0));
    let stranger = Signer::from_seed(&Secret::from_slice(&[1; 32]).unwrap()).unwrap();
    let unsigned = stranger.log_pen(ORIGIN).unwrap().sign(note.text.clone());
    assert_eq!(ask(&first, &body(0, &unsigned)), Answer::NotSigned);
    let mut damaged = note.clone();
    damaged.signatures[0].signature.reverse();
    assert_eq!(ask(&first, &body(0, &damaged)), Answer::NotSigned);
    let unknown = stranger.log_pen("audit.example/stranger").unwrap();
    let unknown = unknown.sign(note.text.replace(ORIGIN, "audit.example/stranger"));
    assert_eq!(ask(&first, &body(0, &unknown)), Answer::UnknownLog);
    let pen = signer().log_pen(ORIGIN).unwrap();
    let nonsense = pen.sign(format!("{ORIGIN}\n0\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"));
    assert_eq!(ask(&first, &body(0, &nonsense)), Answer::Inconsistent);
    let Answer::Cosigned(line) = ask(&first, &body(0, &note)) else { panic!("not cosigned") };
    let cosigned = Note::parse(format!("{note}{line}").as_bytes()).unwrap();
    assert!(cosigned.is_signed_by(first.key()));
    drop(first);
    let again = witness(folder.path());
    assert_eq!(ask(&again, &body(0, &note)), Answer::OtherSize(300));
    let other = pen.sign(note.text.replace("\n300\n", "\n301\n"));
    assert_eq!(ask(&again, &body(300, &other)), Answer::Inconsistent);
    // A memory that was tampered with is not believed, and nothing is signed.
    let name = hex::encode(super::super::tree::sha256(ORIGIN.as_bytes()));
    fs::write(folder.path().join("witness").join(name), note.to_string()).unwrap();
    assert_eq!(ask(&again, &body(0, &note)), Answer::Unwritable);
}

#[test]
fn requests_read_back() {
    let folder = tempfile::tempdir().unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(log_of(folder.path(), 3));
    let note = fs::read_to_string(folder.path().join("checkpoint")).unwrap();
    let hash = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=";
    let body = format!("old 2\n{hash}\n{hash}\n\n{note}");
    assert_eq!(AddCheckpoint::parse(body.as_bytes()).unwrap().to_string(), body);
    let many = format!("old 2\n{}\n{note}", format!("{hash}\n").repeat(64));
    assert!(AddCheckpoint::parse(many.as_bytes()).is_none());
}
