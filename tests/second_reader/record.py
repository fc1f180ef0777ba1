"""The sealed record: ENVELOPE.md sections 1 to 4 and 6."""

import hmac
import struct

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from hpke import expand, extract

RECORD, TOMBSTONE = 1, 6


class Refused(Exception):
    """Not delivered; the argument is the outcome class of the vectors."""


class Header:
    def __init__(self, value):
        if not value or value[0] != 0xFB:
            raise Refused("not_sealed")
        if len(value) < 28:
            raise Refused("truncated")
        if value[1] >> 4 != 1:
            raise Refused("unknown_version")
        self.type, self.suite, self.flags = value[1] & 15, value[2], value[3]
        if not 1 <= self.type <= 6:
            raise Refused("unknown_type")
        if not 1 <= self.suite <= 4:
            raise Refused("unknown_suite")
        self.key_id = value[4:20]
        self.lane, self.sequence = int.from_bytes(value[20:22], "big"), int.from_bytes(value[22:28], "big")
        length = 28 + (16 if self.has(3) else 0) + (12 if self.suite == 2 else 0)
        if len(value) < length:
            raise Refused("truncated")
        self.bytes, self.body = value[:length], value[length:]

    def has(self, bit):
        return self.flags >> bit & 1 == 1

    def nonce(self):
        if self.suite == 2:
            return self.bytes[-12:]
        return self.lane.to_bytes(4, "big") + self.sequence.to_bytes(8, "big")


def associated_data(header, flags, partition, record_key):
    out = len(header).to_bytes(4, "big") + header
    out += b"\1" + struct.pack(">i", partition) if flags >> 5 & 1 else b"\0"
    if not flags >> 4 & 1:
        out += b"\0"
    elif record_key is None:
        out += b"\1"
    else:
        out += b"\2" + len(record_key).to_bytes(4, "big") + record_key
    return out + b"\0"


class Session:
    """The reading half of a session."""

    def __init__(self, secret, suite, stream, key_id):
        prk = extract(b"barnabas v1 session", secret)
        context = bytes([suite]) + stream
        self.commitment = expand(prk, b"barnabas v1 commitment" + context, 32)
        key = expand(prk, b"barnabas v1 record key" + context, 32)
        self.aead = ChaCha20Poly1305(key) if suite == 4 else AESGCM(key)
        self.suite, self.key_id = suite, key_id

    def check_commitment(self, announced):
        if not hmac.compare_digest(self.commitment, announced):
            raise Refused("commitment_mismatch")

    def open(self, sealed, partition, record_key, limit):
        header = Header(sealed)
        if header.type != RECORD:
            raise Refused("unexpected_type")
        return read_parcel(header, self.decrypt(header, partition, record_key), limit)

    def verify_tombstone(self, sealed, partition, record_key):
        header = Header(sealed)
        if header.type != TOMBSTONE:
            raise Refused("unexpected_type")
        if len(header.body) != 16:
            raise Refused("truncated" if len(header.body) < 16 else "parcel")
        self.decrypt(header, partition, record_key)

    def decrypt(self, header, partition, record_key):
        if header.key_id != self.key_id:
            raise Refused("key_mismatch")
        if header.suite != self.suite:
            raise Refused("suite_mismatch")
        if header.has(3) or header.has(7):
            raise Refused("unsupported")
        if len(header.body) < 16:
            raise Refused("truncated")
        if header.has(6):
            raise Refused("unsupported")
        aad = associated_data(header.bytes, header.flags, partition, record_key)
        try:
            return self.aead.decrypt(header.nonce(), header.body, aad)
        except InvalidTag as error:
            raise Refused("authentication") from error


class OrderCheck:
    """Section 5, for one partition."""

    def __init__(self):
        self.last, self.offset = {}, None

    def observe(self, header, offset):
        """Gives the number of sequence numbers that were skipped."""
        if self.offset is not None and offset <= self.offset:
            self.last, self.offset = {}, None
        lane = header.key_id, header.lane
        last = self.last.get(lane, header.sequence - 1)
        if header.sequence <= last:
            raise Refused("replay" if header.sequence == last else "reorder")
        self.last[lane], self.offset = header.sequence, offset
        return header.sequence - last - 1


class Parcel:
    """Reads from the front; running out is a refusal."""

    def __init__(self, content):
        self.rest = content

    def take(self, count):
        if len(self.rest) < count:
            raise Refused("parcel")
        head, self.rest = self.rest[:count], self.rest[count:]
        return head

    def u32(self):
        return int.from_bytes(self.take(4), "big")


def read_parcel(header, content, limit):
    parcel, timestamp, headers = Parcel(content), None, []
    if header.has(2):
        content = parcel.take(parcel.u32())
        if any(parcel.rest):
            raise Refused("parcel")
        parcel = Parcel(content)
    if header.has(1):
        codec, length = parcel.take(1)[0], parcel.u32()
        if length > limit:
            raise Refused("parcel_too_large")
        parcel = Parcel(inflate(codec, parcel.rest, length))
    if header.has(0):
        timestamp = int.from_bytes(parcel.take(8), "big", signed=True)
        count = parcel.u32()
        if count > len(parcel.rest) // 8:
            raise Refused("parcel")
        for _ in range(count):
            key, length = parcel.take(parcel.u32()), parcel.u32()
            headers.append((key, None if length == 0xFFFFFFFF else parcel.take(length)))
    return parcel.rest, timestamp, headers


def inflate(codec, packed, length):
    if codec not in (3, 4):
        raise Refused("parcel")
    # Imported here: without them everything but compressed parcels can be read.
    import lz4.frame
    import zstandard

    try:
        if codec == 3:
            decoder = lz4.frame.LZ4FrameDecompressor()
            plain = decoder.decompress(packed, max_length=length + 1)
        else:
            plain = zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    except (RuntimeError, EOFError, zstandard.ZstdError) as error:
        raise Refused("parcel") from error
    if len(plain) != length:
        raise Refused("parcel")
    return plain
