"""The applications that the contract server knows, made at its first start: one for each way to prove who one is.

Writes into the server's folder: `clients.json`, `certificate.pem` and `certificate.key` (RSA, for the client assertion),
`federated.jwt` (a token of a cluster that the directory trusts), `app.json` (the header of the App Service endpoint).
"""

import datetime
import json
import secrets

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

# What the adapter's smallest role allows, and what creating keys needs besides.
OPERATE = ["get", "wrapkey", "unwrapkey"]
CREATE = [*OPERATE, "create"]


def make(folder):
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
    secret = secrets.token_urlsafe(24)
    folder.write("secret", secret)
    folder.write(
        "clients.json",
        json.dumps(
            {
                "by-secret": {"secret": secret, "may": CREATE},
                "by-certificate": {"certificate": str(certificate), "may": OPERATE},
                "by-federation": {"federated": trust, "may": OPERATE},
                "by-machine": {"managed": True, "may": OPERATE},
                "without-role": {"secret": secret, "may": []},
                "without-get": {"secret": secret, "may": ["wrapkey", "unwrapkey"]},
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
