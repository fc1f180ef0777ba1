//! A log's round to its witnesses: each is shown the last checkpoint with a proof from what it has seen; what they cosign
//! is put into the log's folder.

use super::super::checkpoint::Checkpoint;
use super::super::note::{Note, NoteSignature};
use super::super::proof::Prover;
use super::super::stored::Stored;
use super::super::verify::WITNESSED;
use super::super::{Error, Log};
use super::client::Reply;
use super::{AddCheckpoint, WitnessClient, WitnessError};

/// Shows a log's last checkpoint to witnesses, one after the other, and keeps the cosignatures in the log's folder. Gives
/// what each witness has said, in their order. A log that has not grown is shown again: a cosignature has a time.
pub async fn gather(log: &Log, witnesses: &mut [WitnessClient]) -> Vec<Result<(), WitnessError>> {
    let text = log.checkpoint();
    let Some((checkpoint, mut note)) = Checkpoint::parse_note(text.as_bytes()) else { return Vec::new() };
    let (mut outcomes, mut lines) = (Vec::new(), Vec::new());
    for witness in witnesses {
        let asked = ask(log, witness, &checkpoint, &note).await;
        outcomes.push(asked.map(|line| lines.push(line)));
    }
    if lines.is_empty() {
        return outcomes;
    }
    note.signatures.extend(lines);
    let folder = log.folder();
    let written = tokio::task::spawn_blocking(move || folder.put(&[(WITNESSED.into(), note.to_string().into_bytes())]));
    if let Err(error) = written.await.unwrap_or_else(|_| Err(Error::Broken("a thread has panicked".to_owned()))) {
        outcomes.push(Err(error.into()));
    }
    outcomes
}

/// Asks one witness, a second time if it has seen another size than was thought.
async fn ask(
    log: &Log,
    witness: &mut WitnessClient,
    checkpoint: &Checkpoint,
    note: &Note,
) -> Result<NoteSignature, WitnessError> {
    for _ in 0..2 {
        let old = witness.last;
        if old > checkpoint.size {
            return Err(WitnessError::Longer(witness.key().name().to_owned(), old, checkpoint.size));
        }
        let proof = prove(log, checkpoint.size, old).await?;
        let asked = AddCheckpoint { old, proof, checkpoint: checkpoint.clone(), note: note.clone() };
        match witness.send(&asked).await? {
            Reply::Lines(lines) => {
                let line = witness.line(&lines, note)?;
                witness.last = checkpoint.size;
                return Ok(line);
            }
            Reply::OtherSize(size) => witness.last = size,
        }
    }
    // Somebody else shows it the same log at the same time; the next round comes.
    Err(WitnessError::Refused(witness.key().name().to_owned(), 409))
}

async fn prove(log: &Log, size: u64, old: u64) -> Result<Vec<super::super::tree::Hash>, WitnessError> {
    let folder = log.folder();
    let proved = tokio::task::spawn_blocking(move || Prover::new(&Stored::new(folder.root()), size).consistency(old));
    Ok(proved.await.unwrap_or_else(|_| Err(Error::Broken("a thread has panicked".to_owned())))?)
}
