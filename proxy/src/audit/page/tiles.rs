//! The log as C2SP tlog-tiles over HTTP, read-only: a path below `/audit/log/` arrives, the bytes of a file leave.
//! Paths are parsed to coordinates and written anew from them: no byte of a path ever becomes a part of a file's name.
//! Partial tiles that were dropped are cut from the full ones, as the specification allows.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::{CHECKPOINT, PUBLIC_KEY, Page, STATEMENTS, Trouble, What};
use crate::audit::event::Peer;
use crate::audit::log::tile::{Content, Tile, add_to_bundle, hash_bytes};
use crate::audit::log::tree::{MAX_LEVELS, TILE_WIDTH};

/// Answers `checkpoint`, `vkey`, `statements` and `tile/...`.
pub(super) async fn file(
    State(page): State<Arc<Page>>,
    Extension(peer): Extension<Arc<Peer>>,
    Path(path): Path<String>,
) -> Result<Response, Trouble> {
    let tile = path.strip_prefix("tile/").map(|path| parse(path).ok_or(Trouble::Nothing)).transpose()?;
    let (reading, is_list) = (page.clone(), path == STATEMENTS);
    let read = move || match (tile, path.as_str()) {
        (Some(tile), _) => read_tile(&reading, tile),
        (None, CHECKPOINT | PUBLIC_KEY | STATEMENTS) => Ok(reading.stored.file(&path)?),
        (None, _) => Ok(None),
    };
    let bytes = tokio::task::spawn_blocking(read).await.map_err(|_| Trouble::Stopped)??;
    let Some(bytes) = bytes else {
        // A log without statements is an ordinary one.
        return if is_list { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(Trouble::Nothing) };
    };
    let (what, range) = match tile {
        Some(tile) if tile.content == Content::Entries => {
            let first = tile.index * TILE_WIDTH as u64;
            (What::Entries, (first, first + tile.width as u64 - 1))
        }
        _ => (What::Tree, (0, 0)),
    };
    page.reads.audited_read(&peer, what, range, "");
    let content_type = if tile.is_some() { "application/octet-stream" } else { "text/plain; charset=utf-8" };
    Ok(([(header::CONTENT_TYPE, content_type)], bytes).into_response())
}

fn read_tile(page: &Page, tile: Tile) -> Result<Option<Vec<u8>>, Trouble> {
    if tile.content == Content::Entries {
        let Some(bytes) = page.stored.bundle(tile)? else { return Ok(None) };
        // A bundle that was torn is shown as it is: what is wrong with it is for the verifier to say.
        let cut = (!tile.is_full()).then(|| cut(&bytes, tile.width)).flatten();
        return Ok(Some(cut.unwrap_or(bytes)));
    }
    Ok(page.stored.hashes(tile)?.map(|hashes| hash_bytes(&hashes)))
}

/// The first entries of a bundle.
fn cut(bytes: &[u8], width: usize) -> Option<Vec<u8>> {
    let entries = crate::audit::log::tile::parse_bundle(bytes)?;
    let mut bundle = Vec::new();
    entries.iter().take(width).for_each(|entry| add_to_bundle(&mut bundle, entry));
    Some(bundle)
}

/// The coordinates of `0/x001/234.p/17` or `entries/000`; only the form that the specification writes.
fn parse(path: &str) -> Option<Tile> {
    let (level, rest) = path.split_once('/')?;
    let content = match level {
        "entries" => Content::Entries,
        level => Content::Hashes(level.parse().ok().filter(|level| *level < MAX_LEVELS)?),
    };
    let (index, width) = match rest.split_once(".p/") {
        Some((index, width)) => (index, width.parse().ok().filter(|width| (1..TILE_WIDTH).contains(width))?),
        None => (rest, TILE_WIDTH),
    };
    let mut number: u64 = 0;
    for group in index.split('/') {
        let digits = group.strip_prefix('x').unwrap_or(group);
        let value: u64 = digits.parse().ok()?;
        number = number.checked_mul(1000)?.checked_add(value)?;
    }
    // Entries are fewer than 2^63, so tiles of 256 of them are far fewer.
    let tile = Tile { content, index: number, width };
    (number < 1 << 55 && tile.path().to_str() == Some(&format!("tile/{path}"))).then_some(tile)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_paths_of_the_specification_are_tiles() {
        let tile = |content, index, width| Some(Tile { content, index, width });
        assert_eq!(parse("0/x001/x234/067"), tile(Content::Hashes(0), 1_234_067, 256));
        assert_eq!(parse("3/005.p/7"), tile(Content::Hashes(3), 5, 7));
        assert_eq!(parse("entries/000.p/255"), tile(Content::Entries, 0, 255));
        for wrong in [
            "",
            "0",
            "0/",
            "0/0",
            "0/1",
            "8/000",
            "-1/000",
            "00/000",
            "+0/000",
            "0/x000/001",
            "0/000.p/0",
            "0/000.p/256",
            "0/000.p/07",
            "0/001/002",
            "entries/../../vkey",
            "entries/000/..",
            "entries/000.zst",
            "0/x999/x999/x999/x999/x999/x999/999",
            "data/000",
            "0/000.p/7/8",
            "0/ 00",
            "0/x001/234/",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
    }
}
