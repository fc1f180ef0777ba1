"""Keyring objects, which of them count, and opening a session: ENVELOPE.md sections 7 to 11."""

import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

import hpke
from record import Refused, Session

DELEGATE, STREAM, EPOCH, IDENTITY, GRANT, ANNOUNCEMENT, FLOOR, HEAD, REMOVAL, ESCROW = range(1, 11)
NAMES = dict(enumerate("delegate stream epoch identity grant announcement floor head removal escrow".split(), 1))
POWER = {IDENTITY: 0, STREAM: 1, EPOCH: 2, FLOOR: 2, GRANT: 3, HEAD: 4, REMOVAL: 5}
READ, WRITE = 1, 2


def short(*parts):
    return hashlib.sha256(b"".join(parts)).digest()[:16]


def object_id(kind, *parts):
    return short(b"barnabas v1 object id", bytes([kind]), *parts)


def number(value):
    return value.to_bytes(4, "big")


class Take:
    def __init__(self, data):
        self.rest = data

    def raw(self, count):
        if len(self.rest) < count:
            raise Refused("malformed")
        head, self.rest = self.rest[:count], self.rest[count:]
        return head

    def u(self, count):
        return int.from_bytes(self.raw(count), "big")

    def bytes(self, limit):
        length = self.u(4)
        if length > limit:
            raise Refused("malformed")
        return self.raw(length)

    def text(self, limit):
        try:
            text = self.bytes(limit).decode()
        except UnicodeDecodeError as error:
            raise Refused("malformed") from error
        if any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in text):
            raise Refused("malformed")
        return text

    def one_of(self, *values):
        value = self.u(1)
        if value not in values:
            raise Refused("malformed")
        return value

    def option(self, read):
        return read() if self.one_of(0, 1) else None

    def kem_key(self):
        suite = self.one_of(hpke.X25519, hpke.X_WING)
        key = self.bytes(hpke.PUBLIC[suite])
        if len(key) != hpke.PUBLIC[suite]:
            raise Refused("malformed")
        return suite, key

    def custody_seed(self):
        return self.text(1024), self.bytes(8192)

    def end(self):
        if self.rest:
            raise Refused("malformed")


def times(a, b):
    """Product in GF(2^8) modulo x^8 + x^4 + x^3 + x^2 + 1."""
    product = 0
    while b:
        if b & 1:
            product ^= a
        a = a << 1 ^ (0x11D if a & 0x80 else 0)
        b >>= 1
    return product


def join(points):
    """The values at 0 of the polynomials through the points: Lagrange, byte by byte."""
    secret = bytearray(32)
    for x, values in points.items():
        weight = 1
        for other in points:
            if other != x:
                inverse = next(candidate for candidate in range(1, 256) if times(candidate, other ^ x) == 1)
                weight = times(weight, times(other, inverse))
        for at, value in enumerate(values):
            secret[at] ^= times(weight, value)
    return bytes(secret)


class Identity:
    """The secret half of a client identity."""

    def __init__(self, seed, suite):
        prk = hpke.extract(b"barnabas v1 identity seed", seed)
        self.suite, self.kem = suite, hpke.expand(prk, b"kem", 32)
        signing = Ed25519PrivateKey.from_private_bytes(hpke.expand(prk, b"signing", 32))
        self.signing_key = hpke.raw_public(signing)
        self.kem_key = hpke.public_key(suite, self.kem)
        self.id = identity_id(self.signing_key, suite, self.kem_key)


def identity_id(signing_key, suite, kem_key):
    return short(b"barnabas v1 identity", signing_key, bytes([suite]), kem_key)


def signer_id(key):
    return short(b"barnabas v1 signer", key)


class Object:
    def __init__(self, wire):
        if len(wire) > 900_000:
            raise Refused("malformed")
        take = Take(wire)
        if take.raw(4) != b"BNBO" or take.u(1) != 1:
            raise Refused("malformed")
        self.kind = take.u(1)
        if self.kind not in NAMES:
            raise Refused("unknown_kind")
        self.id, self.version, self.issued_at = take.raw(16), take.u(8), take.u(8)
        self.not_after, self.signer = take.u(8), take.raw(16)
        body = Take(take.bytes(900_000))
        self.place_kind = self.kind
        derived = getattr(self, NAMES[self.kind])(body)
        body.end()
        if not take.rest:
            raise Refused("unsigned")
        self.signature = take.raw(64)
        take.end()
        if derived != self.id:
            raise Refused("malformed")
        self.wire = wire

    @property
    def place(self):
        return self.place_kind, self.id

    @property
    def record_key(self):
        return f"{NAMES[self.place_kind]}/{self.id.hex()}"

    def verify(self, key):
        if signer_id(key) != self.signer:
            raise Refused("bad_signature")
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(self.signature, b"barnabas v1 object" + self.wire[:-64])
        except InvalidSignature as error:
            raise Refused("bad_signature") from error

    def delegate(self, take):
        self.key, self.powers = take.raw(32), take.u(4)
        self.not_before, self.ends = take.u(8), take.u(8)
        self.scope = take.option(lambda: take.text(249))
        return signer_id(self.key)

    def stream(self, take):
        self.stream_id, self.topic = take.raw(16), take.text(249)
        take.one_of(0, 1)
        take.one_of(1, 2, 3, 4)
        take.one_of(0, 1, 2)
        take.u(8)
        return self.stream_id

    def epoch(self, take):
        self.stream_id, self.number = take.raw(16), take.u(4)
        self.suite, self.key = take.kem_key()
        self.not_before, self.ends = take.u(8), take.u(8)
        take.option(take.custody_seed)
        return object_id(EPOCH, self.stream_id, number(self.number))

    def identity(self, take):
        take.text(1024)
        self.key = take.raw(32)
        suite, kem_key = take.kem_key()
        if take.one_of(0, 1):
            take.custody_seed()
        take.u(8)
        take.text(1024)
        return identity_id(self.key, suite, kem_key)

    def grant(self, take):
        self.scope_bytes = take.rest[:41]
        self.identity_id, self.stream_id, self.right = take.raw(16), take.raw(16), take.one_of(READ, WRITE)
        self.first, self.last = take.u(4), take.u(4)
        self.valid_from, self.valid_to = take.u(8), take.u(8)
        self.revoked_at = take.option(lambda: take.u(8))
        self.seeds = take.bytes(4096 * 32 + 1120 + 16)
        if self.last < self.first or (self.right == WRITE) != (not self.seeds):
            raise Refused("malformed")
        return object_id(GRANT, self.identity_id, self.stream_id, bytes([self.right]), number(self.first))

    def announcement(self, take):
        whole = take.rest
        self.suite, self.stream_id = take.one_of(1, 2, 3, 4), take.raw(16)
        self.epoch_number, self.writer = take.u(4), take.raw(16)
        take.option(lambda: take.text(1024))
        self.not_before, self.ends = take.u(8), take.u(8)
        header = whole[: len(whole) - len(take.rest)]
        self.commitment = take.raw(32)
        self.bound = header + self.commitment
        count = take.u(4)
        if count > 256:
            raise Refused("malformed")
        self.wraps = [(take.u(1), take.bytes(1024), take.bytes(8192)) for _ in range(count)]
        return short(self.bound)

    def floor(self, take):
        self.stream_id, self.minimum = take.raw(16), take.u(4)
        return object_id(FLOOR, self.stream_id)

    def head(self, take):
        self.count, self.root = take.u(8), take.raw(32)
        take.u(8)
        take.u(8)
        return object_id(HEAD)

    def escrow(self, take):
        self.suite, self.key = take.kem_key()
        self.threshold, self.shares = take.u(1), take.u(1)
        if not 1 <= self.threshold <= self.shares <= 16:
            raise Refused("malformed")
        take.u(8)
        take.text(1024)
        return short(b"barnabas v1 escrow", self.key)

    def removal(self, take):
        self.place_kind = take.u(1)
        if self.place_kind not in NAMES:
            raise Refused("unknown_kind")
        if self.place_kind in (HEAD, REMOVAL):
            raise Refused("malformed")
        take.text(1024)
        return self.id


def matches(pattern, topic):
    """`*` any run, `?` one byte: by dynamic programming, so that no library's other special characters count."""
    reach = {0}
    for char in pattern.encode():
        if char == ord("*"):
            reach = set(range(min(reach), len(topic.encode()) + 1)) if reach else set()
        else:
            data = topic.encode()
            reach = {at + 1 for at in reach if at < len(data) and (char == ord("?") or data[at] == char)}
    return len(topic.encode()) in reach


class Keyring:
    def __init__(self, root):
        self.root, self.accepted, self.waiting, self.live = root, {}, {}, False

    def standing(self, kind, ident):
        found = self.accepted.get((kind, ident))
        return found if found and found.kind == kind else None

    def apply(self, record_key, value, now):
        if value is None:
            raise Refused("bare_tombstone")
        found = Object(value)
        if found.record_key != record_key:
            raise Refused("key_mismatch")
        outcome = self.take(found, now, self.live)
        if outcome in ("added", "replaced", "removed"):
            self.settle(found.place, outcome, now)
        return outcome

    def take(self, found, now, live):
        present = self.accepted.get(found.place)
        if present and present.wire == found.wire:
            return "unchanged"
        if found.issued_at > now + 300_000:
            raise Refused("from_the_future")
        need = self.judge_signer(found, now, live)
        if need:
            self.waiting.setdefault(need, []).append(found)
            return "waiting"
        if present and found.version < present.version:
            raise Refused("older")
        if present and found.version == present.version:
            raise Refused("conflict")
        if found.kind == FLOOR and found.minimum < self.minimum(found.stream_id):
            raise Refused("floor_lowered")
        if found.kind == ANNOUNCEMENT and live and found.epoch_number < self.minimum(found.stream_id):
            raise Refused("stale_epoch")
        self.accepted[found.place] = found
        return "removed" if found.kind == REMOVAL else "replaced" if present else "added"

    def judge_signer(self, found, now, live):
        if found.kind == ANNOUNCEMENT:
            writer = self.standing(IDENTITY, found.writer)
            if not writer:
                return IDENTITY, found.writer
            if signer_id(writer.key) != found.signer:
                raise Refused("wrong_signer")
            return found.verify(writer.key)
        if found.signer == signer_id(self.root):
            return found.verify(self.root)
        clients = {signer_id(item.key) for item in self.accepted.values() if item.kind == IDENTITY}
        if found.signer in clients or found.place_kind in (DELEGATE, ESCROW):
            raise Refused("wrong_signer")
        certificate = self.accepted.get((DELEGATE, found.signer))
        if not certificate:
            return DELEGATE, found.signer
        if certificate.kind != DELEGATE:
            raise Refused("removed_delegate")
        found.verify(certificate.key)
        return self.judge_delegate(found, certificate, now, live)

    def judge_delegate(self, found, certificate, now, live):
        def may(kind):
            return kind in POWER and certificate.powers >> POWER[kind] & 1

        if not may(found.kind):
            raise Refused("not_permitted")
        times = [found.issued_at] + ([now] if live else [])
        if any(not certificate.not_before <= time < certificate.ends for time in times):
            raise Refused("expired_delegate")
        if found.kind == REMOVAL and found.place_kind != ANNOUNCEMENT and not may(found.place_kind):
            raise Refused("not_permitted")
        if certificate.scope is None:
            return None
        present = self.accepted.get(found.place)
        if found.kind == REMOVAL and not present:
            raise Refused("out_of_scope")
        for item in filter(None, (present, found)):
            if item.kind not in (STREAM, EPOCH, GRANT, FLOOR, ANNOUNCEMENT):
                continue
            stream = item if item.kind == STREAM else self.standing(STREAM, item.stream_id)
            if not stream:
                return STREAM, item.stream_id
            if not matches(certificate.scope, stream.topic):
                raise Refused("out_of_scope")
        return None

    def settle(self, place, outcome, now):
        """Judges again what the changed key signed and what waited for it."""
        again = []
        if outcome != "added" and place[0] == DELEGATE:
            again = [item for item in self.accepted.values() if item.signer == place[1]]
        elif outcome == "removed" and place[0] == IDENTITY:
            again = [item for item in self.accepted.values() if item.kind == ANNOUNCEMENT and item.writer == place[1]]
        for item in again:
            del self.accepted[item.place]
        for item in sorted(again, key=lambda item: item.place) + self.waiting.pop(place, []):
            try:
                result = self.take(item, now, False)
            except Refused:
                continue
            if result in ("added", "replaced", "removed"):
                self.settle(item.place, "removed" if result == "removed" else "added", now)

    def minimum(self, stream_id):
        floor = self.standing(FLOOR, object_id(FLOOR, stream_id))
        return floor.minimum if floor else 0

    def digest(self):
        leaves, count = b"barnabas v1 head", 0
        for (kind, ident), item in sorted(self.accepted.items()):
            if kind not in (ANNOUNCEMENT, HEAD):
                count += 1
                leaves += bytes([kind]) + ident + item.version.to_bytes(8, "big") + hashlib.sha256(item.wire).digest()
        return count, hashlib.sha256(leaves).digest()

    def export(self):
        items = [item.wire for _, item in sorted(self.accepted.items())]
        content = b"BNBK\1" + number(len(items)) + b"".join(number(len(wire)) + wire for wire in items)
        return content + hashlib.sha256(content).digest()

    def granted(self, identity, stream_id, epoch, right, at):
        for item in self.accepted.values():
            if item.kind == GRANT and (item.identity_id, item.stream_id, item.right) == (identity, stream_id, right):
                valid = item.valid_from <= at < item.valid_to and (item.revoked_at is None or at < item.revoked_at)
                if valid and item.first <= epoch <= item.last:
                    return item
        raise Refused("not_granted")

    def open_with_escrow(self, escrow_id, shares, key_id):
        """Gives the session from sealed shares: dictionaries as the vectors have them, with the seed of their holder."""
        escrow = self.standing(ESCROW, escrow_id)
        if not escrow:
            raise Refused("missing")
        points = {}
        for share in shares:
            terms = bytes([share["threshold"], share["shares"], share["index"]])
            bound = escrow_id + terms + bytes.fromhex(share["holder"])
            seed, wrapped = bytes.fromhex(share["holder_seed"]), bytes.fromhex(share["wrapped"])
            try:
                points[share["index"]] = hpke.unwrap(escrow.suite, seed, b"barnabas v1 escrow share", bound, wrapped)
            except hpke.Unwrap as error:
                raise Refused("unwrap") from error
        if len(points) < escrow.threshold:
            raise Refused("quorum")
        secret = join(points)
        if hpke.public_key(escrow.suite, secret) != escrow.key:
            raise Refused("unwrap")
        found = self.standing(ANNOUNCEMENT, key_id)
        if not found:
            raise Refused("missing")
        self.granted(found.writer, found.stream_id, found.epoch_number, WRITE, found.not_before)
        wraps = [wrap for kind, recipient, wrap in found.wraps if (kind, recipient) == (4, escrow_id)]
        if not wraps:
            raise Refused("missing")
        try:
            secret = hpke.unwrap(escrow.suite, secret, b"barnabas v1 session wrap", b"\4" + found.bound, wraps[0])
        except hpke.Unwrap as error:
            raise Refused("unwrap") from error
        session = Session(secret, found.suite, found.stream_id, key_id)
        session.check_commitment(found.commitment)
        return session

    def open(self, identity, key_id, now):
        """Gives the session that a record header names."""
        found = self.standing(ANNOUNCEMENT, key_id)
        if not found:
            raise Refused("missing")
        if found.ends <= found.not_before:
            raise Refused("not_valid")
        stream, epoch = found.stream_id, found.epoch_number
        self.granted(found.writer, stream, epoch, WRITE, found.not_before)
        grant = self.granted(identity.id, stream, epoch, READ, now)
        try:
            seeds = hpke.unwrap(identity.suite, identity.kem, b"barnabas v1 grant", grant.scope_bytes, grant.seeds)
            if len(seeds) != 32 * (grant.last - grant.first + 1):
                raise Refused("malformed")
            period = self.standing(EPOCH, object_id(EPOCH, stream, number(epoch)))
            if not period:
                raise Refused("missing")
            if not period.not_before <= found.not_before < period.ends:
                raise Refused("not_valid")
            at = 32 * (epoch - grant.first)
            if not any(seeds[at : at + 32]):
                raise Refused("missing")
            wraps = [wrap for kind, _, wrap in found.wraps if kind == 1]
            if not wraps:
                raise Refused("missing")
            info, bound = b"barnabas v1 session wrap", b"\1" + found.bound
            secret = hpke.unwrap(period.suite, seeds[at : at + 32], info, bound, wraps[0])
        except hpke.Unwrap as error:
            raise Refused("unwrap") from error
        session = Session(secret, found.suite, stream, key_id)
        session.check_commitment(found.commitment)
        return session
