"""Runs Microsoft's own client (azure-identity, azure-keyvault-keys) against the contract server, so that the server's shape is theirs.

usage: client.py BASE_URL FOLDER [--hsm]; the server must speak TLS and `ca.pem` in the folder must be its authority.
"""

import json
import os
import sys
from pathlib import Path

from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.identity import (
    CertificateCredential,
    ClientSecretCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.keyvault.keys import KeyClient
from azure.keyvault.keys.crypto import CryptographyClient, KeyWrapAlgorithm

base, folder, hsm = sys.argv[1], Path(sys.argv[2]), "--hsm" in sys.argv
ca = str(folder / "ca.pem")
os.environ["REQUESTS_CA_BUNDLE"] = ca
TENANT = "11111111-2222-3333-4444-555555555555"
entra = {"authority": base, "disable_instance_discovery": True, "connection_verify": ca}
vault = {"verify_challenge_resource": False, "connection_verify": ca, "retry_total": 0}
secret = (folder / "secret").read_text()
algorithm = KeyWrapAlgorithm.aes_256 if hsm else KeyWrapAlgorithm.rsa_oaep_256


def by_secret(client, value=secret):
    return ClientSecretCredential(TENANT, client, value, **entra)


def control(**settings):
    (folder / "control.json").write_text(json.dumps(settings))


def refused(kind, status, act, code=None):
    try:
        act()
    except kind as error:
        assert status in (None, error.status_code), error
        inner = getattr(getattr(error, "error", None), "innererror", None) or {}
        assert code in (None, inner.get("code")), error
        return
    raise AssertionError(f"{kind.__name__} {status} was expected")


def expect(condition, what):
    if not condition:
        raise AssertionError(what)


control()
keys = KeyClient(base, by_secret("makes-keys", (folder / "secret-operator").read_text()), **vault)
made = keys.create_oct_key("client-own", size=256, hardware_protected=True) if hsm else keys.create_rsa_key("client-own", size=3072)
kek = os.urandom(32)

# A caller without keys/get cannot wrap by itself with the public key: the server is asked.
remote = CryptographyClient(made.id, by_secret("without-get"), **vault)
wrapped = remote.wrap_key(algorithm, kek)
expect(wrapped.key_id == made.id, "the answer names key and version")
expect(remote.unwrap_key(algorithm, wrapped.encrypted_key).key == kek, "the server unwraps what it wrapped")

# What the client wrapped with the public key, the server unwraps.
if not hsm:
    local = CryptographyClient(keys.get_key("client-own"), by_secret("by-secret"), **vault)
    wrapped = local.wrap_key(algorithm, kek)
    expect(remote.unwrap_key(algorithm, wrapped.encrypted_key).key == kek, "the server unwraps what the client wrapped")

# Each way to prove who one is.
os.environ["AZURE_POD_IDENTITY_AUTHORITY_HOST"] = base
whole = folder / "whole.pem"
whole.write_text((folder / "certificate.pem").read_text() + (folder / "certificate.key").read_text())
for credential in [
    CertificateCredential(TENANT, "by-certificate", str(whole), **entra),
    WorkloadIdentityCredential(tenant_id=TENANT, client_id="by-federation", token_file_path=str(folder / "federated.jwt"), **entra),
    ManagedIdentityCredential(client_id="by-machine", connection_verify=ca),
]:
    expect(KeyClient(base, credential, **vault).get_key("client-own").id == made.id, f"{credential} reads the key")
os.environ["IDENTITY_ENDPOINT"] = f"{base}/msi/token"
os.environ["IDENTITY_HEADER"] = json.loads((folder / "app.json").read_text())["header"]
app = ManagedIdentityCredential(client_id="by-machine", connection_verify=ca)
expect(KeyClient(base, app, **vault).get_key("client-own").id == made.id, "the App Service endpoint gives a token")

# How it says no.
refused(ResourceNotFoundError, 404, lambda: keys.get_key("client-unknown"))
refused(ClientAuthenticationError, None, lambda: KeyClient(base, by_secret("by-secret", "wrong"), **vault).get_key("client-own"))
expired = WorkloadIdentityCredential(tenant_id=TENANT, client_id="by-federation", token_file_path=str(folder / "expired.jwt"), **entra)
refused(ClientAuthenticationError, None, lambda: KeyClient(base, expired, **vault).get_key("client-own"))
refused(HttpResponseError, 403, lambda: KeyClient(base, by_secret("without-role"), **vault).get_key("client-own"), "ForbiddenByRbac")
refused(HttpResponseError, 400, lambda: remote.unwrap_key(algorithm, b"\1" * len(wrapped.encrypted_key)))
control(disabled=["client-own"])
expect(keys.get_key("client-own").properties.enabled is False, "a switched-off key says so")
refused(HttpResponseError, 403, lambda: remote.unwrap_key(algorithm, wrapped.encrypted_key), "KeyDisabled")
control()
print("the contract server is what Microsoft's client expects")
