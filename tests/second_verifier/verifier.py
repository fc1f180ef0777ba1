"""Verifies the folder of an audit log, by proxy/src/audit/README.md and nothing else.

The numbers of steps are those of its section "Verification".
"""

import argparse
import base64
import hashlib
import hmac
import os
import struct
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

WIDTH = 256


class Fault(Exception):
    """The first thing that is wrong: the index of an entry, or None for the whole log, and what it is."""

    def __init__(self, entry, what):
        super().__init__(what)
        self.entry = entry


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def leaf_hash(entry):
    return sha256(b"\x00", entry)


def root_of(hashes):
    """The root over hashes that count as subtrees of equal size (RFC 6962 2.1)."""
    if not hashes:
        return sha256()
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    return sha256(b"\x01", root_of(hashes[:split]), root_of(hashes[split:]))


def unbase64(text):
    return base64.b64decode(text, validate=True)


# --- notes


class Key:
    """A vkey."""

    def __init__(self, text):
        self.text = text.strip()
        self.name, key_id, key = self.text.split("+", 2)
        key = unbase64(key)
        self.kind, self.public = key[0], key[1:]
        self.id = sha256(self.name.encode(), b"\n", key)[:4]
        if self.id.hex() != key_id or self.kind not in (1, 4) or len(self.public) != 32:
            raise ValueError("not a vkey of Ed25519")

    def signed(self, text, signature):
        message = text
        if self.kind == 4:
            (time,) = struct.unpack(">Q", signature[:8])
            if time >= 1 << 63:
                return False
            message, signature = b"cosignature/v1\ntime %d\n" % time + text, signature[8:]
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
            return True
        except InvalidSignature:
            return False


class Note:
    """A signed note."""

    def __init__(self, data):
        whole = data.decode()
        if any(ord(c) < 0x20 and c != "\n" for c in whole):
            raise ValueError("control characters in a note")
        at = whole.rindex("\n\n")
        self.text, self.lines = whole[: at + 1].encode(), []
        if not whole.endswith("\n"):
            raise ValueError("a note without an end")
        for line in whole[at + 2 : -1].split("\n"):
            dash, name, signature = line.split(" ")
            signature = unbase64(signature)
            if dash != "\u2014" or len(signature) < 5:
                raise ValueError("not a signature line")
            self.lines.append((name, signature[:4], signature[4:]))

    def is_signed_by(self, key):
        own = [signature for name, key_id, signature in self.lines if (name, key_id) == (key.name, key.id)]
        return bool(own) and all(key.signed(self.text, signature) for signature in own)


class Checkpoint:
    """A checkpoint: the text of a note."""

    def __init__(self, note):
        lines = note.text.decode().split("\n")
        if len(lines) < 4 or "" in lines[:-1]:
            raise ValueError("not a checkpoint")
        self.origin, self.size, self.root = lines[0], number(lines[1]), unbase64(lines[2])
        if len(self.root) != 32:
            raise ValueError("not a root")


def number(text):
    value = int(text)
    if str(value) != text or not 0 <= value < 1 << 63:
        raise ValueError("not a number")
    return value


def checkpoint_by(data, key, what):
    """Steps 2 and 8: a checkpoint of this log."""
    try:
        note = Note(data)
        found = Checkpoint(note)
    except ValueError as error:
        raise Fault(None, f"{what} is not a checkpoint: {error}") from error
    if found.origin != key.name:
        raise Fault(None, f"{what} is of the log {found.origin}")
    if not note.is_signed_by(key):
        raise Fault(None, f"{what} is not signed by {key.text}")
    return found, note


# --- tiles


class Tiles:
    """The files of a tree."""

    def __init__(self, folder):
        self.folder = folder

    def read(self, path):
        try:
            with open(os.path.join(self.folder, path), "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None

    @staticmethod
    def path(kind, index, width):
        groups = [f"{index % 1000:03}"]
        while index >= 1000:
            index //= 1000
            groups.append(f"x{index % 1000:03}")
        path = f"tile/{kind}/" + "/".join(reversed(groups))
        return path if width == WIDTH else f"{path}.p/{width}"

    def hashes(self, level, index, width):
        data = self.read(self.path(level, index, width))
        if data is None or len(data) != 32 * width:
            data = self.read(self.path(level, index, WIDTH))
            if data is None or len(data) != 32 * WIDTH:
                first = index * WIDTH ** (level + 1)
                raise Fault(first, f"{self.path(level, index, width)} is missing")
        return [data[at : at + 32] for at in range(0, 32 * width, 32)]

    def bundle(self, index, width):
        """The entries; None if the bundle is missing."""
        data, is_full = self.read(self.path("entries", index, width)), width == WIDTH
        if data is None:
            data, is_full = self.read(self.path("entries", index, WIDTH)), True
        if data is None:
            packed = self.read(self.path("entries", index, WIDTH) + ".zst")
            if packed is None:
                return None
            import zstandard

            try:
                data = zstandard.ZstdDecompressor().decompress(packed, max_output_size=WIDTH * 65537)
            except zstandard.ZstdError as error:
                raise Fault(index * WIDTH, "its bundle is no Zstandard frame") from error
        entries = []
        while data:
            length = int.from_bytes(data[:2], "big")
            if len(data) < 2 + length:
                raise Fault(index * WIDTH, "its bundle is torn")
            entries.append(data[2 : 2 + length])
            data = data[2 + length :]
        return entries[:width] if is_full and width < WIDTH else entries


def widths(size, level):
    """The width of each tile of a level."""
    span = WIDTH ** (level + 1)
    for index in range(size // span):
        yield index, WIDTH
    if size // WIDTH**level % WIDTH:
        yield size // span, size // WIDTH**level % WIDTH


# --- statements


def statements(data, key):
    """Step 3, its first half."""
    try:
        note = Note(data)
        lines = note.text.decode().split("\n")[:-1]
        if lines[:2] != ["barnabas.audit/statements/v1", key.name] or not note.is_signed_by(key):
            raise ValueError("of another log or key")
        found = []
        for line in lines[2:]:
            kind, first, end, entry, leaf = line.split(" ")
            found.append((kind, number(first), number(end), number(entry), unbase64(leaf)))
        return found
    except ValueError as error:
        raise Fault(None, f"the statements are not signed by the log: {error}") from error


# --- the tree


def check_tree(tiles, size, stated):
    """Steps 3 to 5. Gives the root and the leaves."""
    faults, leaves, below, root_parts = [], [], [], []
    expired = max((end for kind, _, end, _, _ in stated if kind == "expired"), default=0)
    lost = [(first, end) for kind, first, end, _, _ in stated if kind == "unreadable"]
    for index, width in widths(size, 0):
        hashes = tiles.hashes(0, index, width)
        leaves += hashes
        try:
            check_bundle(tiles.bundle(index, width), hashes, index * WIDTH, expired, lost)
        except Fault as fault:
            faults.append(fault)
        if width == WIDTH:
            below.append(root_of(hashes))
        else:
            root_parts.append(hashes)
    level = 1
    while below:
        above = []
        for index, width in widths(size, level):
            hashes = tiles.hashes(level, index, width)
            computed = below[index * WIDTH : index * WIDTH + width]
            for place, (stored, right) in enumerate(zip(hashes, computed)):
                if stored != right:
                    entry = (index * WIDTH + place) * WIDTH**level
                    faults.append(Fault(entry, f"{tiles.path(level - 1, index * WIDTH + place, WIDTH)} was changed"))
            if width == WIDTH:
                above.append(root_of(computed))
            else:
                root_parts.append(computed)
        below, level = above, level + 1
    for kind, first, end, entry, leaf in stated:
        if end > size or entry >= size or leaves[entry] != leaf:
            faults.append(Fault(first, f"no entry states {kind} {first} {end}"))
    if faults:
        raise min(faults, key=lambda fault: fault.entry)
    root = None
    for hashes in root_parts:
        root = fold(hashes, root)
    return sha256() if root is None else root, leaves


def fold(hashes, right):
    """The root over hashes with a smaller tree to the right of them."""
    while hashes:
        count = len(hashes) & -len(hashes)
        left = root_of(hashes[-count:])
        right = left if right is None else sha256(b"\x01", left, right)
        hashes = hashes[:-count]
    return right


def check_bundle(entries, hashes, first, expired, lost):
    """Step 4 for one bundle."""
    if entries is None:
        if first + len(hashes) > expired:
            raise Fault(first, "its bundle is missing")
        return
    for place, right in enumerate(hashes):
        index = first + place
        if place >= len(entries):
            raise Fault(index, "the bundle ends before it")
        entry = entries[place]
        excused = not entry and any(begin <= index < end for begin, end in lost)
        if not excused and leaf_hash(entry) != right:
            raise Fault(index, "its bytes are not those that were logged")
    if len(entries) > len(hashes):
        raise Fault(first + len(hashes), "the bundle has more entries than the tree")


# --- the write-ahead files


def expand(key, *info):
    return hmac.digest(key, b"".join(info) + b"\x01", "sha256")


def check_tail(tiles, checkpoint, leaves, root):
    """Step 7. Gives how many entries come after the checkpoint."""
    folder = os.path.join(tiles.folder, "wal")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    files = [tiles.read(os.path.join("wal", name)) for name in names]
    origin = sha256(checkpoint.origin.encode())
    firsts = []
    for data in files:
        if len(data) < 100 or data[:8] != b"BARNWAL1" or data[8:40] != origin:
            raise Fault(None, "a write-ahead file is not of this log")
        firsts.append(struct.unpack(">Q", data[60:68])[0])
    if firsts and firsts[0] > checkpoint.size:
        raise Fault(None, "the checkpoint is an old one: the write-ahead files begin after it")
    end = checkpoint.size
    for data, first, until in zip(files, firsts, firsts[1:] + [1 << 64]):
        index, key, rest = first, entry_key(data, root, origin), data[100:]
        while len(rest) >= 56 and rest[:4] == b"entr" and index < until:
            length, found, _ = struct.unpack(">IQQ", rest[4:24])
            if found != index or not 1 <= length <= 65535 or len(rest) < 56 + length:
                break
            entry = rest[56 : 56 + length]
            if key is not None:
                tag = hmac.digest(key, b"barnabas audit v1 entry" + rest[:24] + entry, "sha256")
                if tag != rest[24:56]:
                    raise Fault(index, "its MAC in the write-ahead file is wrong")
                key = expand(key, b"barnabas audit v1 next")
            if index < checkpoint.size and leaf_hash(entry) != leaves[index]:
                raise Fault(index, "the write-ahead file has other bytes for it")
            index, rest = index + 1, rest[56 + length :]
        end = max(end, index)
        if until != 1 << 64 and checkpoint.size <= index < until:
            raise Fault(index, "a write-ahead file ends before the next begins")
    return end - checkpoint.size


def entry_key(data, root, origin):
    if root is None:
        return None
    key = expand(root, b"barnabas audit v1 run", origin, data[40:56])
    for _ in range(struct.unpack(">I", data[56:60])[0]):
        key = expand(key, b"barnabas audit v1 next")
    if hmac.digest(expand(key, b"barnabas audit v1 header"), data[:68], "sha256") != data[68:100]:
        raise Fault(None, "a write-ahead file has a forged header")
    return expand(key, b"barnabas audit v1 entries")


# --- all of it


def verify(folder, key=None, known=(), witnesses=(), quorum=0, ratchet_root=None):
    """Gives what a whole log has to say; raises Fault with the first thing that is wrong."""
    tiles = Tiles(folder)
    if key is None:
        try:
            key = Key(tiles.read("vkey").decode())
        except (AttributeError, ValueError) as error:
            raise Fault(None, "no key") from error
    data = tiles.read("checkpoint")
    if data is None:
        raise Fault(None, "there is no checkpoint")
    checkpoint, note = checkpoint_by(data, key, "the checkpoint")
    stated = tiles.read("statements")
    stated = [] if stated is None else statements(stated, key)
    root, leaves = check_tree(tiles, checkpoint.size, stated)
    try:
        tail = check_tail(tiles, checkpoint, leaves, ratchet_root)
    except Fault as fault:
        # The write-ahead files may name the entry by which the tree has another root.
        if root == checkpoint.root or fault.entry is not None:
            raise
    if root != checkpoint.root:
        raise Fault(None, "the tree has another root than the checkpoint")
    witnessed = tiles.read("witnessed")
    for other in list(known) + ([] if witnessed is None else [witnessed]):
        found, _ = checkpoint_by(other, key, "a known checkpoint")
        if found.size > checkpoint.size:
            raise Fault(checkpoint.size, f"a checkpoint over {found.size} entries is known: rolled back")
        if fold(leaves[: found.size], None) != found.root and found.size:
            raise Fault(None, f"the first {found.size} entries are of another history")
    notes = [note] + ([] if witnessed is None else [Note(witnessed)])
    cosigned = [w.name for w in witnesses if any(note.is_signed_by(w) for note in notes)]
    if len(cosigned) < quorum:
        raise Fault(None, f"{len(cosigned)} of {quorum} witnesses have cosigned")
    return {"origin": key.name, "size": checkpoint.size, "tail": tail, "witnesses": cosigned}


def main():
    parser = argparse.ArgumentParser(description="Verifies the folder of an audit log.")
    parser.add_argument("folder")
    parser.add_argument("--key", help="the log's vkey")
    parser.add_argument("--checkpoint", action="append", default=[], metavar="FILE")
    asked = parser.parse_args()
    known = []
    for path in asked.checkpoint:
        with open(path, "rb") as file:
            known.append(file.read())
    try:
        found = verify(asked.folder, Key(asked.key) if asked.key else None, known)
    except Fault as fault:
        sys.exit(f"entry {fault.entry}: {fault}" if fault.entry is not None else str(fault))
    print(f"{found['origin']}: {found['size']} entries, whole; {found['tail']} after the checkpoint")


if __name__ == "__main__":
    main()
