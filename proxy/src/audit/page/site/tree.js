// The Merkle tree (RFC 6962) from tiles (C2SP tlog-tiles): tiles arrive from the gateway, and leave only when they belong to the
// root that was signed. A tile that is full is checked against its place in the tile above it; those that are not full
// yet make the root together.

/** Hashes in a full tile, and entries in a full bundle. */
export const WIDTH = 256;

/** SHA-256 by the browser. */
export async function sha256(bytes) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
}

/** The hash of an entry. */
export function leafHash(entry) {
  const message = new Uint8Array(entry.length + 1);
  message.set(entry, 1);
  return sha256(message);
}

/** The hash of two subtrees side by side. */
export function nodeHash(left, right) {
  const message = new Uint8Array(65);
  message[0] = 1;
  message.set(left, 1);
  message.set(right, 33);
  return sha256(message);
}

/** Whether two hashes are the same. */
export function same(a, b) {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

/** The root over a power of two of hashes. */
async function perfectRoot(hashes) {
  let level = hashes;
  while (level.length > 1) {
    const pairs = [];
    for (let i = 0; i < level.length; i += 2) pairs.push(nodeHash(level[i], level[i + 1]));
    level = await Promise.all(pairs);
  }
  return level[0];
}

/** The root over hashes with a smaller tree to the right of them. */
async function fold(hashes, right) {
  let end = hashes.length;
  for (let count = 1; count <= hashes.length; count *= 2) {
    if (Math.floor(hashes.length / count) % 2 === 0) continue;
    const left = await perfectRoot(hashes.slice(end - count, end));
    right = right ? await nodeHash(left, right) : left;
    end -= count;
  }
  return right;
}

/** The tree of a checkpoint. `fetchTile(level, index, width)` gives the bytes of a tile. */
export class Tree {
  constructor(size, fetchTile) {
    this.size = size;
    this.fetchTile = fetchTile;
    this.partials = [];
    this.tiles = new Map();
  }

  /** The root, computed from the tiles that are not full yet. Everything else hangs from them. */
  async root() {
    const widths = [];
    for (let rest = this.size; rest > 0; rest = Math.floor(rest / WIDTH)) widths.push(rest % WIDTH);
    this.partials = await Promise.all(
      widths.map((width, level) => (width === 0 ? [] : this.read(level, Math.floor(this.size / WIDTH ** (level + 1)), width))),
    );
    let root = null;
    for (const hashes of this.partials) root = await fold(hashes, root);
    return root ?? (await sha256(new Uint8Array()));
  }

  /** The hashes of a tile that belongs to the root; null when the tile does not. */
  async hashes(level, index) {
    if (index === Math.floor(this.size / WIDTH ** (level + 1))) return this.partials[level] ?? [];
    const name = `${level}/${index}`;
    if (!this.tiles.has(name)) {
      if (this.tiles.size >= MOST_TILES) this.tiles.delete(this.tiles.keys().next().value);
      this.tiles.set(name, this.checked(level, index));
    }
    return this.tiles.get(name);
  }

  /** The root of the tree when it had `size` entries, from tiles that belong to the root of now; null when one does not. */
  async rootAt(size) {
    const parts = [];
    let begin = 0;
    for (let bit = 52; bit >= 0; bit -= 1) {
      const count = 2 ** bit;
      if (Math.floor(size / count) % 2 === 0) continue;
      const level = Math.floor(bit / 8);
      const first = begin / WIDTH ** level;
      const hashes = await this.hashes(level, Math.floor(first / WIDTH));
      const part = hashes?.slice(first % WIDTH, (first % WIDTH) + count / WIDTH ** level);
      if (!part || part.length !== count / WIDTH ** level) return null;
      parts.push(await perfectRoot(part));
      begin += count;
    }
    let root = null;
    for (const part of parts.reverse()) root = root ? await nodeHash(part, root) : part;
    return root ?? (await sha256(new Uint8Array()));
  }

  async checked(level, index) {
    const hashes = await this.read(level, index, WIDTH);
    const above = await this.hashes(level + 1, Math.floor(index / WIDTH));
    const wanted = above?.[index % WIDTH];
    return wanted && same(await perfectRoot(hashes), wanted) ? hashes : null;
  }

  async read(level, index, width) {
    const bytes = await this.fetchTile(level, index, width);
    if (bytes.length !== width * 32) throw new Error(`tile ${level}/${index} has the wrong length`);
    return Array.from({ length: width }, (_, at) => bytes.slice(at * 32, at * 32 + 32));
  }
}

/** 16 MiB of hashes. */
const MOST_TILES = 2000;
