//! The access matrix of a moment: the log is read forward once, what it says of grants is kept, and the matrix of any moment
//! is made of that. What one question may read is bounded; a long log is read in several, and the answer says how far it is.

use std::sync::{Arc, PoisonError};

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::{Extension, Json};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Page, Trouble, What};
use crate::audit::event::Peer;
use crate::audit::log::tile::{Content, Tile};
use crate::audit::log::tree::TILE_WIDTH;
use crate::audit::report::{Grants, Matrix, Occurrence};

/// What the log says of grants, as far as it was read.
#[derive(Default)]
pub(super) struct History {
    grants: Grants,
    next: u64,
}

/// The moment that is asked for; now, when none is.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    at: Option<Timestamp>,
}

/// The answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    at: Timestamp,
    /// Entries that were read for it.
    read: u64,
    /// Entries of the log. When fewer were read, ask again.
    size: u64,
    #[serde(flatten)]
    matrix: Matrix,
}

/// Answers `/audit/access`.
pub(super) async fn answer(
    State(page): State<Arc<Page>>,
    Extension(peer): Extension<Arc<Peer>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Answer>, Trouble> {
    let Query(asked) = asked.map_err(|refused| Trouble::Asked(refused.body_text()))?;
    let at = asked.at.unwrap_or_else(|| Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default());
    // Held by the reading itself: who hangs up does not make room for another one.
    let turn = page.scans.clone().acquire_owned().await.map_err(|_| Trouble::Stopped)?;
    let reading = page.clone();
    let read = move || -> Result<Answer, Trouble> {
        let _turn = turn;
        let size = reading.size()?;
        let mut history = reading.history.lock().unwrap_or_else(PoisonError::into_inner);
        history.read_on(&reading, size)?;
        Ok(Answer { at, read: history.next, size, matrix: history.grants.at(at) })
    };
    let answer = tokio::task::spawn_blocking(read).await.map_err(|_| Trouble::Stopped)??;
    page.reads.audited_read(&peer, What::Access, (0, answer.read.saturating_sub(1)), &format!("at={at}"));
    Ok(Json(answer))
}

impl History {
    fn read_on(&mut self, page: &Page, size: u64) -> Result<(), Trouble> {
        let end = size.min(self.next.saturating_add(MAX_READ));
        while self.next < end {
            let index = self.next / TILE_WIDTH as u64;
            let Some(tile) = Tile::of(Content::Entries, index, size) else { break };
            let first = index * TILE_WIDTH as u64;
            let entries = page.stored.entries(tile)?.unwrap_or_default();
            for (place, entry) in (first..).zip(&entries).filter(|(place, _)| *place >= self.next) {
                if speaks_of_grants(entry)
                    && let Some(event) = Occurrence::parse(place, entry)
                {
                    self.grants.take(&event);
                }
            }
            // What has expired is passed over: the statement about it says so.
            self.next = first + tile.width as u64;
        }
        Ok(())
    }
}

/// Most entries tell of use; looking for a word is many times faster than reading them.
fn speaks_of_grants(entry: &[u8]) -> bool {
    WORDS.iter().any(|word| entry.windows(word.len()).any(|window| window == *word))
}

const WORDS: [&[u8]; 3] = [b"barnabas.grant.", b"barnabas.keyring.removed", b"barnabas.client.enrolled"];

/// A second or two of reading.
const MAX_READ: u64 = 1_000_000;
