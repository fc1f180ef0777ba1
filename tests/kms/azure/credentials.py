"""The applications that the contract server knows, made at its first start: one for each way to prove who one is.

Writes into the server's folder: `clients.json`, `certificate.pem` and `certificate.key` (RSA, for the client assertion),
`federated.jwt` (a token of a cluster that the directory trusts), `app.json` (the header of the App Service endpoint).
"""

import datetime
import json
import secrets
from pathlib import Path

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

# What an operation needs in the role of whoever asks for it.
VAULT = "Microsoft.KeyVault/vaults/keys/"
VAULT_ACTIONS = {
    "get": VAULT + "read",
    "wrapkey": VAULT + "wrap/action",
    "unwrapkey": VAULT + "unwrap/action",
    "create": VAULT + "create/action",
}
HSM = "Microsoft.KeyVault/managedHsm/keys/"
HSM_ACTIONS = {
    "get": HSM + "read/action",
    "wrapkey": HSM + "wrap/action",
    "unwrapkey": HSM + "unwrap/action",
    "create": HSM + "create",
}


def role(policies, name):
    known = json.loads((Path(policies) / f"{name}.json").read_text())
    return known.get("DataActions") or known["dataActions"]


def make(folder, policies, hsm):
    name = "azure-hsm" if hsm else "azure"
    operate, create = role(policies, name), role(policies, f"{name}-create-keys")
    actions = HSM_ACTIONS if hsm else VAULT_ACTIONS
    if (folder.path / "clients.json").exists():
        return
    key, certificate = pair(folder, "certificate")
    issuer, _ = pair(folder, "issuer")
    public = issuer.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    folder.write("issuer.pub", public.decode())
    now = datetime.datetime.now(datetime.timezone.utc)
    subject = "system:serviceaccount:kafka:barnabas"
    claims = {"iss": "https://cluster.example", "sub": subject, "aud": "api://AzureADTokenExchange", "iat": now}
    folder.write("federated.jwt", jwt.encode({**claims, "exp": now + datetime.timedelta(hours=1)}, issuer, algorithm="RS256"))
    folder.write("expired.jwt", jwt.encode({**claims, "exp": now - datetime.timedelta(hours=1)}, issuer, algorithm="RS256"))
    folder.write("app.json", json.dumps({"header": secrets.token_hex(16)}))
    trust = {"key": str(folder.path / "issuer.pub"), "issuer": claims["iss"], "subject": subject}
    secret, following = secrets.token_urlsafe(24), secrets.token_urlsafe(24)
    folder.write("secret", secret)
    folder.write("secret-following", following)
    operators = secrets.token_urlsafe(24)
    folder.write("secret-operator", operators)
    folder.write(
        "clients.json",
        json.dumps(
            {
                "by-secret": {"secrets": [secret, following], "may": operate},
                "makes-keys": {"secrets": [operators], "may": operate + create},
                "by-certificate": {"certificate": str(certificate), "may": operate},
                "by-federation": {"federated": trust, "may": operate},
                "by-machine": {"managed": True, "may": operate},
                "without-role": {"secrets": [secret], "may": []},
                "without-get": {"secrets": [secret], "may": [actions["wrapkey"], actions["unwrapkey"]]},
            }
        ),
    )


def pair(folder, name):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    folder.write(f"{name}.key", pem.decode())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=30))
    folder.write(f"{name}.pem", builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode())
    return key, folder.path / f"{name}.pem"
