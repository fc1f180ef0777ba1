"""A contract server for Google Cloud KMS and the token endpoints before it.

It is exercised by Google's own clients in `client.py` beside it. Real AES-256-GCM with associated data; CRC32C of both
directions; key versions with their states; tokens by service account key, metadata server, and federation with impersonation.
"""

import base64
import datetime
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import google_crc32c
import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

import credentials
from contract import Folder, Refusal, arguments, serve

options = arguments(__doc__).parse_args()
folder = Folder(options.folder)
base = f"{'https' if options.certificate else 'http'}://127.0.0.1:{options.port}"
SCOPES = {"https://www.googleapis.com/auth/cloudkms", "https://www.googleapis.com/auth/cloud-platform"}
IAM_SCOPES = {"https://www.googleapis.com/auth/iam", "https://www.googleapis.com/auth/cloud-platform"}
# The audience that the real token endpoint has, whatever the address is that a key file names.
GOOGLE = "https://oauth2.googleapis.com/token"
KMS_DOMAIN = "type.googleapis.com/google.rpc."

# --- who asks


def accounts():
    """Principals: what each may do, on which keys."""
    return folder.load("accounts.json", {})


def oauth(error, text, status=400):
    raise Refusal(status, {"error": error, "error_description": text})


def issued(client, scopes):
    if folder.is_revoked({"client": client}):
        oauth("invalid_grant", "Invalid JWT Signature.")
    token, lifetime = folder.token(client=client, scopes=scopes)
    return {"access_token": token, "expires_in": lifetime, "token_type": "Bearer"}


def token_of_key(request):
    form = request.form()
    if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
        oauth("unsupported_grant_type", "Invalid grant_type")
    header = jwt.get_unverified_header(form.get("assertion", ""))
    for email, known in accounts().items():
        if known.get("key_id") and header.get("kid") == known["key_id"]:
            break
    else:
        oauth("invalid_grant", "Invalid grant: account not found")
    public = serialization.load_pem_public_key(Path(known["public_key"]).read_bytes())
    try:
        claims = jwt.decode(
            form["assertion"], public, algorithms=["RS256"], audience=[f"{base}/token", GOOGLE], issuer=email,
            options={"require": ["iss", "aud", "iat", "exp", "scope"]},
        )
    except jwt.PyJWTError as error:
        oauth("invalid_grant", f"Invalid JWT: {error}")
    if claims["exp"] - claims["iat"] > 3600:
        oauth("invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes)")
    return issued(email, claims["scope"].split()), {}


def token_of_machine(request, account):
    if request.headers.get("Metadata-Flavor") != "Google":
        raise Refusal(403, {"error": "Missing Metadata-Flavor:Google header."})
    found = [email for email, known in accounts().items() if known.get("machine") and account in ("default", email)]
    if not found:
        raise Refusal(404, {"error": "no such account"})
    return issued(found[0], sorted(SCOPES)), {"Metadata-Flavor": "Google"}


def account_of_machine(request, account):
    if request.headers.get("Metadata-Flavor") != "Google":
        raise Refusal(403, {"error": "Missing Metadata-Flavor:Google header."})
    found = [email for email, known in accounts().items() if known.get("machine")]
    body = {"email": found[0], "scopes": sorted(SCOPES), "aliases": ["default"]}
    return body, {"Metadata-Flavor": "Google"}


def ping(request):
    return {}, {"Metadata-Flavor": "Google"}


def subject(request):
    """An identity agent on the same machine, for a subject token from a URL."""
    if request.headers.get("X-Agent") != "barnabas" or request.query.get("audience") != "google":
        raise Refusal(403, {"error": "forbidden"})
    return {"token": (folder.path / "subject.jwt").read_text()}, {}


def exchange(request):
    form = request.form()
    wanted = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }
    pool = folder.load("pool.json", {})
    for name, value in {**wanted, "audience": pool["audience"]}.items():
        if form.get(name) != value:
            oauth("invalid_request", f"Invalid value for {name}")
    try:
        key = serialization.load_pem_public_key(Path(pool["key"]).read_bytes())
        claims = jwt.decode(form["subject_token"], key, algorithms=["RS256"], audience=pool["audience"], issuer=pool["issuer"])
    except jwt.PyJWTError as error:
        oauth("invalid_grant", f"The given credential is rejected by the attribute condition. {error}")
    answer = issued(f"principal://{claims['sub']}", form["scope"].split())
    return {**answer, "issued_token_type": wanted["requested_token_type"]}, {}


def impersonate(request, email):
    claims = folder.claims(request.bearer())
    if claims is None or not IAM_SCOPES & set(claims["scopes"]):
        refuse(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.")
    if email not in accounts().get(claims["client"], {}).get("impersonates", []):
        refuse(403, "PERMISSION_DENIED", "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).")
    asked = request.json()
    seconds = int(asked.get("lifetime", "3600s").removesuffix("s"))
    if seconds > 3600:
        refuse(400, "INVALID_ARGUMENT", "The lifetime is beyond the maximum.")
    token = issued(email, asked["scope"])
    ends = datetime.datetime.fromtimestamp(time.time() + token["expires_in"], datetime.timezone.utc)
    return {"accessToken": token["access_token"], "expireTime": ends.strftime("%Y-%m-%dT%H:%M:%SZ")}, {}


# --- keys


def refuse(status, code, text, details=()):
    raise Refusal(status, {"error": {"code": status, "message": text, "status": code, "details": list(details)}})


def allow(request, permission, resource):
    claims = folder.claims(request.bearer())
    if claims is None:
        reason = {"@type": KMS_DOMAIN + "ErrorInfo", "reason": "ACCESS_TOKEN_EXPIRED", "domain": "googleapis.com"}
        refuse(401, "UNAUTHENTICATED", "Request had invalid authentication credentials.", [reason])
    if not SCOPES & set(claims["scopes"]):
        refuse(403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.")
    short = resource.rsplit("/", 1)[-1]
    permission = f"cloudkms.{permission}"
    if permission not in accounts().get(claims["client"], {}).get("may", []) or short in folder.control("denied", []):
        refuse(403, "PERMISSION_DENIED", f"Permission '{permission}' denied on resource '{resource}' (or it may not exist).")


def keys():
    return folder.load("keys.json", {})


def find(name):
    if name not in keys():
        refuse(404, "NOT_FOUND", f"CryptoKey {name} not found.")
    with folder.lock:
        key = keys()[name]
        if name.rsplit("/", 1)[-1] in folder.control("rotated", []) and len(key["versions"]) == 1:
            add_version(name, key)
        return key


def state_of(name, version):
    short = name.rsplit("/", 1)[-1]
    if short in folder.control("disabled", []):
        return "DISABLED"
    if short in folder.control("destroyed", []):
        return "DESTROYED"
    return version["state"]


def usable(name, number):
    version = find(name)["versions"][number - 1]
    state = state_of(name, version)
    if state != "ENABLED":
        path = f"{name}/cryptoKeyVersions/{number}"
        violation = {"type": f"KEY_{state}", "subject": path}
        detail = {"@type": KMS_DOMAIN + "PreconditionFailure", "violations": [violation]}
        refuse(400, "FAILED_PRECONDITION", f"{path} is not enabled, current state is: {state}.", [detail])
    return version


def resource(name):
    key = find(name)
    number = key["primary"]
    version = key["versions"][number - 1]
    primary = {"name": f"{name}/cryptoKeyVersions/{number}", "state": state_of(name, version), "protectionLevel": "SOFTWARE"}
    return {"name": name, "purpose": "ENCRYPT_DECRYPT", "createTime": key["created"], "primary": primary}


def fresh_version():
    return {"state": "ENABLED", "key": os.urandom(32).hex()}


def create(request, ring):
    allow(request, "cryptoKeys.create", ring)
    short = request.query.get("cryptoKeyId", "")
    name = f"{ring}/cryptoKeys/{short}"
    asked = request.json()
    if asked.get("purpose") not in ("ENCRYPT_DECRYPT", 1):
        refuse(400, "INVALID_ARGUMENT", "The request does not have a supported purpose.")
    with folder.lock:
        if name in keys():
            refuse(409, "ALREADY_EXISTS", f"CryptoKey {name} already exists.")
        created = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        folder.write("keys.json", json.dumps({**keys(), name: {"primary": 1, "created": created, "versions": [fresh_version()]}}))
    return resource(name), {}


def read(request, name):
    allow(request, "cryptoKeys.get", name)
    return resource(name), {}


def add_version(name, key):
    """A new version that is the primary one at once, as after a rotation by schedule."""
    key["versions"].append(fresh_version())
    key["primary"] = len(key["versions"])
    folder.write("keys.json", json.dumps({**keys(), name: key}))


def taken(asked, field, crc):
    """A bytes field, checked against its CRC32C if that was sent; and whether it was."""
    value = base64.b64decode(asked.get(field, ""), validate=True)
    if crc in asked and int(asked[crc]) != google_crc32c.value(value):
        refuse(400, "INVALID_ARGUMENT", f"The checksum in field {crc} did not match the data in field {field}.")
    return value, crc in asked and not folder.control("forget_checks")


def encrypt(request, name):
    allow(request, "cryptoKeyVersions.useToEncrypt", name)
    asked = request.json()
    plaintext, plaintext_checked = taken(asked, "plaintext", "plaintextCrc32c")
    aad, aad_checked = taken(asked, "additionalAuthenticatedData", "additionalAuthenticatedDataCrc32c")
    number = find(name)["primary"]
    version = usable(name, number)
    nonce = os.urandom(12)
    ciphertext = number.to_bytes(2, "big") + nonce + AESGCM(bytes.fromhex(version["key"])).encrypt(nonce, plaintext, aad)
    answer = {
        "name": f"{name}/cryptoKeyVersions/{number}",
        "ciphertext": flipped(ciphertext),
        "ciphertextCrc32c": str(google_crc32c.value(ciphertext)),
        "protectionLevel": "SOFTWARE",
    }
    if plaintext_checked:
        answer["verifiedPlaintextCrc32c"] = True
    if aad_checked:
        answer["verifiedAdditionalAuthenticatedDataCrc32c"] = True
    return answer, {}


def decrypt(request, name):
    allow(request, "cryptoKeyVersions.useToDecrypt", name)
    asked = request.json()
    ciphertext, _ = taken(asked, "ciphertext", "ciphertextCrc32c")
    aad, _ = taken(asked, "additionalAuthenticatedData", "additionalAuthenticatedDataCrc32c")
    number = int.from_bytes(ciphertext[:2], "big")
    if not 1 <= number <= len(find(name)["versions"]):
        refuse(400, "INVALID_ARGUMENT", "Decryption failed: verify that 'name' refers to the correct CryptoKey.")
    version = usable(name, number)
    try:
        plaintext = AESGCM(bytes.fromhex(version["key"])).decrypt(ciphertext[2:14], ciphertext[14:], aad)
    except (InvalidTag, ValueError):
        refuse(400, "INVALID_ARGUMENT", "Decryption failed: the ciphertext is invalid.")
    return {
        "plaintext": flipped(plaintext),
        "plaintextCrc32c": str(google_crc32c.value(plaintext)),
        "usedPrimary": number == find(name)["primary"],
        "protectionLevel": "SOFTWARE",
    }, {}


def flipped(value):
    if folder.control("flip"):
        value = bytes([value[0] ^ 1]) + value[1:]
    return base64.b64encode(value).decode()


RING = r"/v1/(projects/[^/]+/locations/[^/]+/keyRings/[a-zA-Z0-9_-]{1,63}"
KEY = RING + r"/cryptoKeys/[a-zA-Z0-9_-]{1,63})"
MACHINE = r"/computeMetadata/v1/instance/service-accounts/([^/]+)"
ROUTES = [
    ("POST", r"/token", token_of_key),
    ("GET", MACHINE + "/token", token_of_machine),
    ("GET", MACHINE + "/", account_of_machine),
    ("GET", r"/", ping),
    ("GET", r"/agent/subject", subject),
    ("POST", r"/v1/token", exchange),
    ("POST", r"/v1/projects/-/serviceAccounts/([^/:]+):generateAccessToken", impersonate),
    ("POST", RING + r")/cryptoKeys", create),
    ("GET", KEY, read),
    ("POST", KEY + r":encrypt", encrypt),
    ("POST", KEY + r":decrypt", decrypt),
]

if __name__ == "__main__":
    credentials.make(folder, base, options.policies)
    serve(ROUTES, options)
