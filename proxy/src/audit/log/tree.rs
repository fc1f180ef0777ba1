//! The Merkle tree of RFC 6962: leaves arrive one after the other, tiles and roots leave.
//! All that a growing tree needs is its right edge: at each level of tiles the hashes of the tile that is not full yet.
//! Nothing here touches a file.

use ring::digest::{Context, SHA256, digest};

/// A SHA-256 hash.
pub type Hash = [u8; 32];

/// Hashes in a full tile, and entries in a full bundle (C2SP tlog-tiles).
pub const TILE_WIDTH: usize = 256;

/// The levels of tiles that a tree of 2^63 entries has.
pub const MAX_LEVELS: u32 = 8;

/// The hash of an entry (RFC 6962 2.1).
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[0]);
    context.update(entry);
    bytes_of(context.finish().as_ref())
}

/// The hash of two subtrees side by side (RFC 6962 2.1).
#[must_use]
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    let mut message = [1u8; 65];
    let (_, hashes) = message.split_at_mut(1);
    let (first, second) = hashes.split_at_mut(32);
    first.copy_from_slice(left);
    second.copy_from_slice(right);
    sha256(&message)
}

/// The root of the tree without entries (RFC 6962 2.1).
#[must_use]
pub fn empty_root() -> Hash {
    sha256(b"")
}

/// SHA-256 of bytes.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Hash {
    bytes_of(digest(&SHA256, bytes).as_ref())
}

/// The root over some hashes, taken as the leaves of a tree.
#[must_use]
pub fn root_of(hashes: &[Hash]) -> Hash {
    fold(hashes, None).unwrap_or_else(empty_root)
}

/// The right edge of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edge {
    size: u64,
    levels: Vec<Vec<Hash>>,
}

/// A tile that became full.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullTile {
    /// Its level; 0 holds the hashes of entries.
    pub level: u32,
    /// Its index in its level.
    pub index: u64,
    /// Its hashes.
    pub hashes: Vec<Hash>,
}

impl Edge {
    /// The edge of a tree of so many entries from the hashes of its partial tiles, lowest level first; none if the widths
    /// are not those that a tree of this size has.
    #[must_use]
    pub fn new(size: u64, levels: Vec<Vec<Hash>>) -> Option<Self> {
        let fits = |(level, hashes): (u32, &Vec<Hash>)| hashes.len() == partial_width(size, level);
        let all =
            (0..).zip(&levels).all(fits) && (levels.len() as u32..MAX_LEVELS).all(|l| partial_width(size, l) == 0);
        all.then_some(Self { size, levels })
    }

    /// How many entries the tree has.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The hashes of the partial tile of a level; empty if there is none.
    #[must_use]
    pub fn partial(&self, level: u32) -> &[Hash] {
        self.levels.get(level as usize).map_or(&[], Vec::as_slice)
    }

    /// Appends a leaf. Tiles that become full by it are added to `full`.
    pub fn push(&mut self, leaf: Hash, full: &mut Vec<FullTile>) {
        self.size += 1;
        let mut hash = leaf;
        for level in 0..MAX_LEVELS {
            if self.levels.len() <= level as usize {
                self.levels.push(Vec::with_capacity(TILE_WIDTH));
            }
            let Some(hashes) = self.levels.get_mut(level as usize) else { return };
            hashes.push(hash);
            if hashes.len() < TILE_WIDTH {
                return;
            }
            let hashes = std::mem::take(hashes);
            hash = root_of(&hashes);
            let index = self.size.checked_shr(8 * (level + 1)).unwrap_or_default().saturating_sub(1);
            full.push(FullTile { level, index, hashes });
        }
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        let folded = self.levels.iter().fold(None, |right, hashes| fold(hashes, right));
        folded.unwrap_or_else(empty_root)
    }
}

/// How many hashes the partial tile of a level has in a tree of this size.
#[must_use]
pub const fn partial_width(size: u64, level: u32) -> usize {
    match size.checked_shr(8 * level) {
        Some(hashes) => (hashes % TILE_WIDTH as u64) as usize,
        None => 0,
    }
}

/// The root over hashes with a smaller tree to the right of them. The hashes count as subtrees of equal size.
fn fold(hashes: &[Hash], right: Option<Hash>) -> Option<Hash> {
    let mut right = right;
    let mut rest = hashes;
    // The perfect subtrees of a list, smallest and rightmost first: those of the bits of its length.
    for bit in 0..usize::BITS {
        if rest.is_empty() {
            break;
        }
        if hashes.len() & (1 << bit) == 0 {
            continue;
        }
        let (before, subtree) = rest.split_at(rest.len() - (1 << bit));
        let left = perfect_root(subtree);
        right = Some(right.map_or(left, |right| node_hash(&left, &right)));
        rest = before;
    }
    right
}

/// The root over a power of two of hashes.
fn perfect_root(hashes: &[Hash]) -> Hash {
    let mut level = hashes.to_vec();
    while level.len() > 1 {
        let pairs = level.as_chunks::<2>().0.iter();
        level = pairs.map(|[left, right]| node_hash(left, right)).collect();
    }
    level.first().copied().unwrap_or_default()
}

fn bytes_of(hash: &[u8]) -> Hash {
    // A SHA-256 digest has 32 bytes.
    hash.try_into().unwrap_or_default()
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    /// MTH as RFC 6962 2.1 writes it down.
    pub fn plain_root(leaves: &[Hash]) -> Hash {
        match leaves.len() {
            0 => empty_root(),
            1 => leaves[0],
            n => {
                let k = n.next_power_of_two() / 2;
                node_hash(&plain_root(&leaves[..k]), &plain_root(&leaves[k..]))
            }
        }
    }

    pub fn leaves(count: u64) -> Vec<Hash> {
        (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
    }

    #[test]
    fn roots_are_those_of_the_definition() {
        let leaves = leaves(700);
        let mut edge = Edge::default();
        let mut full = Vec::new();
        assert_eq!(hex::encode(edge.root()), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        for (index, leaf) in leaves.iter().enumerate() {
            edge.push(*leaf, &mut full);
            assert_eq!(edge.root(), plain_root(&leaves[..=index]), "at size {}", index + 1);
            assert_eq!(root_of(&leaves[..=index]), edge.root());
        }
        assert_eq!(full.len(), 2);
        assert_eq!((full[1].level, full[1].index), (0, 1));
        assert_eq!(edge.partial(0).len(), 700 - 512);
        assert_eq!(edge.partial(1), [plain_root(&leaves[..256]), plain_root(&leaves[256..512])]);
    }

    #[test]
    fn a_tree_of_70000_has_the_tiles_of_the_specification() {
        let mut edge = Edge::default();
        let mut full = Vec::new();
        for leaf in leaves(70_000) {
            edge.push(leaf, &mut full);
        }
        let at = |level| full.iter().filter(|tile| tile.level == level).count();
        assert_eq!((at(0), at(1), at(2)), (273, 1, 0));
        assert_eq!((edge.partial(0).len(), edge.partial(1).len(), edge.partial(2).len()), (112, 17, 1));
        let again = Edge::new(70_000, edge.levels.clone()).unwrap();
        assert_eq!(again, edge);
        assert!(Edge::new(70_001, edge.levels).is_none());
    }
}
