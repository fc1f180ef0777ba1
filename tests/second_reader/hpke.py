"""HPKE (RFC 9180) base mode, single shot, HKDF-SHA256 and AES-256-GCM, receiver's side only: what ENVELOPE.md section 7 names."""

import hashlib
import hmac

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import mlkem
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

X25519, X_WING = 1, 2
ENCAPSULATED = {X25519: 32, X_WING: 1120}
KEM_ID = {X25519: 0x0020, X_WING: 0x647A}
PUBLIC = {X25519: 32, X_WING: 1216}
KDF_ID, AEAD_ID = 0x0001, 0x0002


class Unwrap(Exception):
    """The wrap does not open with this key, purpose and object."""


def extract(salt, ikm):
    return hmac.new(salt, ikm, hashlib.sha256).digest()


def expand(prk, info, length):
    out, block, count = b"", b"", 1
    while len(out) < length:
        block = hmac.new(prk, block + info + bytes([count]), hashlib.sha256).digest()
        out, count = out + block, count + 1
    return out[:length]


def labeled_extract(suite, salt, label, ikm):
    return extract(salt, b"HPKE-v1" + suite + label + ikm)


def labeled_expand(suite, prk, label, info, length):
    return expand(prk, length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info, length)


def raw_public(key):
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def x25519_public(secret):
    return raw_public(X25519PrivateKey.from_private_bytes(secret))


def x_wing_keys(seed):
    """The ML-KEM-768 key and the X25519 key of an X-Wing seed."""
    expanded = hashlib.shake_256(seed).digest(96)
    return mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), expanded[64:]


def public_key(suite, secret):
    if suite == X25519:
        return x25519_public(secret)
    lattice, curve = x_wing_keys(secret)
    return raw_public(lattice) + x25519_public(curve)


def decapsulate(suite, secret, encapsulated):
    if suite == X25519:
        dh = X25519PrivateKey.from_private_bytes(secret).exchange(X25519PublicKey.from_public_bytes(encapsulated))
        suite_id = b"KEM" + KEM_ID[suite].to_bytes(2, "big")
        prk = labeled_extract(suite_id, b"", b"eae_prk", dh)
        return labeled_expand(suite_id, prk, b"shared_secret", encapsulated + x25519_public(secret), 32)
    lattice, curve = x_wing_keys(secret)
    lattice_part, curve_part = encapsulated[:1088], encapsulated[1088:]
    shared = lattice.decapsulate(lattice_part)
    dh = X25519PrivateKey.from_private_bytes(curve).exchange(X25519PublicKey.from_public_bytes(curve_part))
    return hashlib.sha3_256(shared + dh + curve_part + x25519_public(curve) + rb"\.//^" + b"\\").digest()


def unwrap(suite, secret, info, aad, wrapped):
    """Opens encapsulated key, ciphertext and tag in one piece."""
    cut = ENCAPSULATED[suite]
    if len(wrapped) < cut + 16:
        raise Unwrap
    try:
        shared = decapsulate(suite, secret, wrapped[:cut])
    except ValueError as error:
        raise Unwrap from error
    suite_id = b"HPKE" + b"".join(number.to_bytes(2, "big") for number in (KEM_ID[suite], KDF_ID, AEAD_ID))
    context = b"\0" + labeled_extract(suite_id, b"", b"psk_id_hash", b"") + labeled_extract(suite_id, b"", b"info_hash", info)
    secret = labeled_extract(suite_id, shared, b"secret", b"")
    key = labeled_expand(suite_id, secret, b"key", context, 32)
    nonce = labeled_expand(suite_id, secret, b"base_nonce", context, 12)
    try:
        return AESGCM(key).decrypt(nonce, wrapped[cut:], aad)
    except InvalidTag as error:
        raise Unwrap from error
