"""The principals that the contract server knows, made at its first start: one for each way to prove who one is.

Writes into the server's folder: `accounts.json`, `pool.json`; service account keys `gateway.json` and `following.json` (smallest
role), `creator.json` (makes keys too), `owner.json` (of the keys), `stranger.json` (no role); `federation.json` with `subject.jwt` (and `expired.jwt`).
"""

import datetime
import json
import secrets
from pathlib import Path

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

# What the operator of the keys may do, besides making them.
OPERATOR = ["cloudkms.cryptoKeys.get"]
POOL = "projects/123456/locations/global/workloadIdentityPools/pool/providers/cluster"


def role(policies, name):
    return json.loads((Path(policies) / f"{name}.json").read_text())["includedPermissions"]


def make(folder, base, policies):
    operate = role(policies, "gcp")
    create = operate + role(policies, "gcp-create-keys")
    if (folder.path / "accounts.json").exists():
        return
    accounts = {}
    for name, may in {"gateway": operate, "following": operate, "creator": create, "owner": create + OPERATOR, "stranger": []}.items():
        email = f"{name}@test.iam.gserviceaccount.com"
        private, public = pair(folder, name)
        accounts[email] = {"key_id": secrets.token_hex(20), "public_key": public, "may": may}
        key = {
            "type": "service_account",
            "project_id": "test",
            "private_key_id": accounts[email]["key_id"],
            "private_key": private,
            "client_email": email,
            "client_id": "1",
            "token_uri": f"{base}/token",
        }
        folder.write(f"{name}.json", json.dumps(key))
    accounts["machine@test.iam.gserviceaccount.com"] = {"machine": True, "may": operate}
    email = "federated@test.iam.gserviceaccount.com"
    accounts[email] = {"may": operate}
    subject = "system:serviceaccount:kafka:barnabas"
    accounts[f"principal://{subject}"] = {"may": operate, "impersonates": [email]}
    folder.write("accounts.json", json.dumps(accounts))

    private, public = pair(folder, "issuer")
    audience = f"//iam.googleapis.com/{POOL}"
    folder.write("pool.json", json.dumps({"audience": audience, "issuer": "https://cluster.example", "key": public}))
    now = datetime.datetime.now(datetime.timezone.utc)
    claims = {"iss": "https://cluster.example", "aud": audience, "sub": subject, "iat": now}
    for name, hours in {"subject.jwt": 1, "expired.jwt": -1}.items():
        ends = now + datetime.timedelta(hours=hours)
        folder.write(name, jwt.encode({**claims, "exp": ends}, private, algorithm="RS256"))
    federation = {
        "type": "external_account",
        "audience": audience,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": f"{base}/v1/token",
        "credential_source": {"file": str(folder.path / "subject.jwt")},
    }
    folder.write("federation.json", json.dumps(federation))
    impersonation = f"{base}/v1/projects/-/serviceAccounts/{email}:generateAccessToken"
    folder.write("impersonation.json", json.dumps({**federation, "service_account_impersonation_url": impersonation}))


def pair(folder, name):
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    folder.write(f"{name}.pub", public.decode())
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private.decode(), str(folder.path / f"{name}.pub")
