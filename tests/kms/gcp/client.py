"""Runs Google's own clients (google-auth, google-cloud-kms over REST) against the contract server, so that its shape is theirs.

usage: client.py BASE_URL FOLDER
"""

import json
import os
import sys
from pathlib import Path

base, folder = sys.argv[1], Path(sys.argv[2])
# Read by google-auth when it is imported.
os.environ["GCE_METADATA_HOST"] = os.environ["GCE_METADATA_IP"] = base.split("://")[1]
if base.startswith("https"):
    os.environ["REQUESTS_CA_BUNDLE"] = str(folder / "ca.pem")

import google_crc32c
import requests
from google.api_core import exceptions
from google.auth import compute_engine, exceptions as auth_exceptions, identity_pool
from google.cloud.kms_v1 import CryptoKey, KeyManagementServiceClient
from google.cloud.kms_v1.services.key_management_service.transports import KeyManagementServiceRestTransport
from google.oauth2 import service_account

SCOPE = "https://www.googleapis.com/auth/cloudkms"
RING = "projects/test/locations/europe-west3/keyRings/barnabas"


def client(credentials):
    scheme, host = base.split("://")
    return KeyManagementServiceClient(
        transport=KeyManagementServiceRestTransport(host=host, url_scheme=scheme, credentials=credentials)
    )


def from_file(name):
    known = json.loads((folder / name).read_text())
    kind = service_account.Credentials.from_service_account_file
    if known["type"] == "external_account":
        kind = identity_pool.Credentials.from_file
    return client(kind(str(folder / name), scopes=[SCOPE]))


def control(**settings):
    (folder / "control.json").write_text(json.dumps(settings))


def refused(kind, act, words=""):
    try:
        act()
    except kind as error:
        assert words in str(error), error
        return
    raise AssertionError(f"{kind.__name__} was expected")


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


control()
owner = from_file("owner.json")
key = owner.create_crypto_key(
    parent=RING, crypto_key_id="client-own", crypto_key=CryptoKey(purpose=CryptoKey.CryptoKeyPurpose.ENCRYPT_DECRYPT)
).name
plain, aad = os.urandom(32), b"whose it is"


def encrypt(by, **more):
    request = {"name": key, "plaintext": plain, "additional_authenticated_data": aad, "plaintext_crc32c": google_crc32c.value(plain)}
    request["additional_authenticated_data_crc32c"] = google_crc32c.value(aad)
    return by.encrypt(request={**request, **more})


def decrypt(by, sealed, bound=aad, **more):
    request = {"name": key, "ciphertext": sealed, "additional_authenticated_data": bound}
    return by.decrypt(request={**request, **more})


# Each way to prove who one is.
machine = [] if base.startswith("https") else [client(compute_engine.Credentials(service_account_email="default"))]
for by in [from_file("gateway.json"), from_file("federation.json"), from_file("impersonation.json"), *machine]:
    sealed = encrypt(by)
    expect(sealed.verified_plaintext_crc32c and sealed.verified_additional_authenticated_data_crc32c, "both checks are confirmed")
    expect(sealed.ciphertext_crc32c == google_crc32c.value(sealed.ciphertext), "the checksum is the ciphertext's")
    expect(sealed.name == f"{key}/cryptoKeyVersions/1", "the version is named")
    opened = decrypt(by, sealed.ciphertext)
    expect(opened.plaintext == plain and opened.plaintext_crc32c == google_crc32c.value(plain), "what went in comes out")

# How it says no.
by = from_file("gateway.json")
refused(exceptions.Conflict, lambda: owner.create_crypto_key(parent=RING, crypto_key_id="client-own", crypto_key=CryptoKey(purpose=1)))
refused(exceptions.BadRequest, lambda: encrypt(by, plaintext_crc32c=1), "checksum")
refused(exceptions.BadRequest, lambda: decrypt(by, sealed.ciphertext, b"another's"))
refused(exceptions.NotFound, lambda: by.encrypt(request={"name": key + "-unknown", "plaintext": plain}))
refused(exceptions.Forbidden, lambda: by.get_crypto_key(name=key))
refused(exceptions.Forbidden, lambda: encrypt(from_file("stranger.json")), "denied on resource")
control(disabled=["client-own"])
refused(exceptions.BadRequest, lambda: decrypt(by, sealed.ciphertext), "DISABLED")
expect(owner.get_crypto_key(name=key).primary.state.name == "DISABLED", "the state is told")
control(revoked=["gateway@test.iam.gserviceaccount.com"])
refused(auth_exceptions.RefreshError, lambda: encrypt(from_file("gateway.json")), "invalid_grant")
control()
expect(requests.post(f"{base}/v1/{key}:encrypt", json={}, timeout=10).status_code == 401, "no token, no answer")
print("the contract server is what Google's clients expect")
