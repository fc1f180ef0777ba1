//! Proofs over the tree (RFC 6962 2.1.1 and 2.1.2): tiles arrive, proofs leave; proofs arrive, a verdict leaves.
//! The verdicts need no tile: a third party checks with a leaf, a proof and a checkpoint alone (RFC 9162 2.1.3.2, 2.1.4.2).

use std::collections::HashMap;

use super::Error;
use super::stored::Stored;
use super::tile::{Content, Tile};
use super::tree::{Hash, TILE_WIDTH, empty_root, node_hash, root_of};

/// Makes proofs from the tiles of a tree of some size.
pub struct Prover<'a> {
    stored: &'a Stored,
    size: u64,
    tiles: HashMap<(u32, u64), Vec<Hash>>,
}

impl<'a> Prover<'a> {
    /// A prover of a tree of `size` entries.
    #[must_use]
    pub fn new(stored: &'a Stored, size: u64) -> Self {
        Self { stored, size, tiles: HashMap::new() }
    }

    /// The root of the tree when it had `size` entries.
    ///
    /// # Errors
    /// `Missing` tiles, `Io`.
    pub fn root_at(&mut self, size: u64) -> Result<Hash, Error> {
        if size == 0 { Ok(empty_root()) } else { self.subtree(0, size) }
    }

    /// The hash of an entry.
    ///
    /// # Errors
    /// `Missing` tiles, `Io`.
    pub fn leaf(&mut self, index: u64) -> Result<Hash, Error> {
        self.subtree(index, index + 1)
    }

    /// The proof that an entry is in the tree, the sibling of its leaf first.
    ///
    /// # Errors
    /// `Missing` tiles, `Io`.
    pub fn inclusion(&mut self, index: u64) -> Result<Vec<Hash>, Error> {
        let (mut begin, mut end) = (0, self.size);
        let mut path = Vec::new();
        while end.saturating_sub(begin) > 1 {
            let middle = begin + largest_power_below(end - begin);
            if index < middle {
                path.push(self.subtree(middle, end)?);
                end = middle;
            } else {
                path.push(self.subtree(begin, middle)?);
                begin = middle;
            }
        }
        path.reverse();
        Ok(path)
    }

    /// The proof that the tree of `old` entries is the beginning of this one.
    ///
    /// # Errors
    /// `Missing` tiles, `Io`.
    pub fn consistency(&mut self, old: u64) -> Result<Vec<Hash>, Error> {
        let mut proof = Vec::new();
        if old == 0 || old >= self.size {
            return Ok(proof);
        }
        let (mut begin, mut end) = (0, self.size);
        // SUBPROOF of RFC 6962 2.1.2, from the top; its last part is left out as long as it is the old root itself.
        let mut is_old_root = true;
        while end != old {
            let middle = begin + largest_power_below(end - begin);
            if old <= middle {
                proof.push(self.subtree(middle, end)?);
                end = middle;
            } else {
                proof.push(self.subtree(begin, middle)?);
                begin = middle;
                is_old_root = false;
            }
        }
        if !is_old_root {
            proof.push(self.subtree(begin, end)?);
        }
        proof.reverse();
        Ok(proof)
    }

    /// MTH(D[begin:end]) of a subtree that the tree really has.
    fn subtree(&mut self, begin: u64, end: u64) -> Result<Hash, Error> {
        let count = end.saturating_sub(begin);
        if !count.is_power_of_two() {
            let middle = begin + largest_power_below(count);
            let (left, right) = (self.subtree(begin, middle)?, self.subtree(middle, end)?);
            return Ok(node_hash(&left, &right));
        }
        let level = count.trailing_zeros() / 8;
        let (first, count) = (begin >> (8 * level), count >> (8 * level));
        let index = first / TILE_WIDTH as u64;
        let hashes = self.tile(level, index)?;
        let place = usize::try_from(first % TILE_WIDTH as u64).unwrap_or_default();
        let part = hashes.get(place..).and_then(|rest| rest.get(..usize::try_from(count).unwrap_or(usize::MAX)));
        part.map(root_of).ok_or_else(|| missing(level, index))
    }

    fn tile(&mut self, level: u32, index: u64) -> Result<&[Hash], Error> {
        if !self.tiles.contains_key(&(level, index)) {
            let tile = Tile::of(Content::Hashes(level), index, self.size).ok_or_else(|| missing(level, index))?;
            let hashes = self.stored.hashes(tile)?.ok_or_else(|| missing(level, index))?;
            if self.tiles.len() >= MOST_TILES {
                self.tiles.clear();
            }
            self.tiles.insert((level, index), hashes);
        }
        Ok(self.tiles.get(&(level, index)).map_or(&[], Vec::as_slice))
    }
}

/// Whether a proof shows that a leaf is in the tree of a root (RFC 9162 2.1.3.2).
#[must_use]
pub fn is_included(leaf: &Hash, index: u64, size: u64, proof: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in proof {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(sibling, &hash);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Whether a proof shows that one tree is the beginning of another (RFC 9162 2.1.4.2).
#[must_use]
pub fn is_consistent(old: (u64, &Hash), new: (u64, &Hash), proof: &[Hash]) -> bool {
    let ((old_size, old_root), (new_size, new_root)) = (old, new);
    if old_size > new_size {
        return false;
    }
    // The tree without entries has one root, and is the beginning of every tree.
    if [old, new].iter().any(|(size, root)| *size == 0 && **root != empty_root()) {
        return false;
    }
    if old_size == 0 || old_size == new_size {
        return proof.is_empty() && (old_size == 0 && new_size > 0 || old_root == new_root);
    }
    let mut rest = proof.iter();
    let first = if old_size.is_power_of_two() { Some(old_root) } else { rest.next() };
    let Some(first) = first else { return false };
    let (mut place, mut last) = (old_size - 1, new_size - 1);
    while place & 1 == 1 {
        (place, last) = (place >> 1, last >> 1);
    }
    let (mut old_hash, mut new_hash) = (*first, *first);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && old_hash == *old_root && new_hash == *new_root
}

/// The largest power of two below a number above one.
fn largest_power_below(count: u64) -> u64 {
    1 << (63 - count.saturating_sub(1).leading_zeros().min(63))
}

/// 32 MiB of tiles.
const MOST_TILES: usize = 4_096;

fn missing(level: u32, index: u64) -> Error {
    let tile = Tile { content: Content::Hashes(level), index, width: TILE_WIDTH };
    Error::Missing(tile.path().display().to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::super::tree::tests::{leaves, plain_root};
    use super::*;

    /// PATH of RFC 6962 2.1.1.
    fn plain_path(m: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() <= 1 {
            return Vec::new();
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (mut path, last) = if m < k {
            (plain_path(m, &leaves[..k]), plain_root(&leaves[k..]))
        } else {
            (plain_path(m - k, &leaves[k..]), plain_root(&leaves[..k]))
        };
        path.push(last);
        path
    }

    /// SUBPROOF of RFC 6962 2.1.2.
    fn plain_subproof(m: usize, leaves: &[Hash], whole: bool) -> Vec<Hash> {
        if m == leaves.len() {
            return if whole { Vec::new() } else { vec![plain_root(leaves)] };
        }
        let k = leaves.len().next_power_of_two() / 2;
        let (mut proof, last) = if m <= k {
            (plain_subproof(m, &leaves[..k], whole), plain_root(&leaves[k..]))
        } else {
            (plain_subproof(m - k, &leaves[k..], false), plain_root(&leaves[..k]))
        };
        proof.push(last);
        proof
    }

    fn tiles(stored: &Stored, leaves: &[Hash]) {
        for (index, chunk) in leaves.chunks(256).enumerate() {
            let tile = Tile { content: Content::Hashes(0), index: index as u64, width: chunk.len() };
            let path = stored.path(tile.path());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, chunk.concat()).unwrap();
        }
        let above: Vec<Hash> = leaves.chunks_exact(256).map(plain_root).collect();
        if !above.is_empty() {
            let tile = Tile { content: Content::Hashes(1), index: 0, width: above.len() };
            let path = stored.path(tile.path());
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, above.concat()).unwrap();
        }
    }

    #[test]
    fn proofs_are_those_of_the_definition_and_verify() {
        for size in [1u64, 2, 3, 7, 8, 255, 256, 257, 600] {
            let folder = tempfile::tempdir().unwrap();
            let stored = Stored::new(folder.path());
            let leaves = leaves(size);
            tiles(&stored, &leaves);
            let mut prover = Prover::new(&stored, size);
            let root = prover.root_at(size).unwrap();
            assert_eq!(root, plain_root(&leaves));
            for index in 0..size {
                let proof = prover.inclusion(index).unwrap();
                assert_eq!(proof, plain_path(index as usize, &leaves), "{index} of {size}");
                assert!(is_included(&leaves[index as usize], index, size, &proof, &root));
                assert!(!is_included(&[0; 32], index, size, &proof, &root));
                assert!(!is_included(&leaves[index as usize], index + 1, size, &proof, &root));
            }
            for old in 1..=size {
                let proof = prover.consistency(old).unwrap();
                assert_eq!(proof, plain_subproof(old as usize, &leaves, true), "{old} of {size}");
                let old_root = plain_root(&leaves[..old as usize]);
                assert_eq!(prover.root_at(old).unwrap(), old_root);
                assert!(is_consistent((old, &old_root), (size, &root), &proof));
                assert!(!is_consistent((old, &[9; 32]), (size, &root), &proof));
                if old < size {
                    assert!(!is_consistent((old, &old_root), (size, &[9; 32]), &proof));
                    assert!(!is_consistent((old, &old_root), (size, &root), &[&proof[..], &[[0; 32]]].concat()));
                }
            }
            assert!(is_consistent((0, &empty_root()), (size, &root), &[]));
            assert!(!is_consistent((0, &root), (size, &root), &[]));
            assert!(!is_consistent((0, &empty_root()), (0, &root), &[]));
        }
    }
}
