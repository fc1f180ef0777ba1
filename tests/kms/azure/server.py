"""A contract server for Azure Key Vault, Managed HSM, and the token endpoints before them.

It is exercised by Microsoft's own client in `client.py` beside it. Keys: RSA with RSA-OAEP-256 in a vault, AES-256 with A256KW
in a managed HSM. As the real service does, it lets a switched-off key wrap and refuses to unwrap with it.
"""

import functools
import json
import secrets
import sys
import time
import uuid
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

import credentials
from contract import Folder, Refusal, arguments, b64url, from_b64url, serve

parser = arguments(__doc__)
parser.add_argument("--hsm", action="store_true", help="a managed HSM instead of a vault")
options = parser.parse_args()
folder = Folder(options.folder)
scheme = "https" if options.certificate else "http"
base = f"{scheme}://127.0.0.1:{options.port}"
TENANT = "11111111-2222-3333-4444-555555555555"
RESOURCE = "https://managedhsm.azure.net" if options.hsm else "https://vault.azure.net"
ACTIONS = credentials.HSM_ACTIONS if options.hsm else credentials.VAULT_ACTIONS
VERSIONS = {"7.4", "7.5", "7.6", "2025-07-01"}

# --- who asks


def clients():
    """Applications: what each may do, and how it proves who it is (`secrets`, `certificate`, `federated`, `managed`)."""
    return folder.load("clients.json", {})


def failed(code, text):
    raise Refusal(401 if code == "invalid_client" else 400, {"error": code, "error_description": text, "error_codes": [7000215]})


def token_of_application(request, tenant):
    form = request.form()
    client = form.get("client_id", "")
    known = clients().get(client)
    if tenant != TENANT:
        failed("invalid_request", "AADSTS90002: Tenant not found.")
    if form.get("grant_type") != "client_credentials":
        failed("unsupported_grant_type", "AADSTS70003: The grant type is not supported.")
    if known is None:
        failed("unauthorized_client", "AADSTS700016: Application was not found in the directory.")
    if not form.get("scope", "").endswith("/.default"):
        failed("invalid_scope", "AADSTS1002012: The scope is not valid.")
    if "client_assertion" in form:
        if form.get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer":
            failed("invalid_request", "AADSTS900144: client_assertion_type is missing.")
        check_assertion(client, known, form["client_assertion"], f"{base}/{tenant}/oauth2/v2.0/token")
    elif form.get("client_secret") not in known.get("secrets", []):
        failed("invalid_client", "AADSTS7000215: Invalid client secret provided.")
    return issued(client, form["scope"].removesuffix("/.default"), string=False, proof=form.get("client_secret"))


def check_assertion(client, known, assertion, endpoint):
    header = jwt.get_unverified_header(assertion)
    try:
        if known.get("certificate"):
            certificate = x509.load_pem_x509_certificate(Path(known["certificate"]).read_bytes())
            prints = {b64url(certificate.fingerprint(hashes.SHA256())): "x5t#S256", b64url(certificate.fingerprint(hashes.SHA1())): "x5t"}
            if not any(header.get(name, "").rstrip("=") == mark for mark, name in prints.items()):
                failed("invalid_client", "AADSTS700027: The certificate's thumbprint is not registered.")
            claims = jwt.decode(
                assertion, certificate.public_key(), algorithms=["RS256", "PS256"], audience=endpoint, issuer=client,
                options={"require": ["aud", "exp", "iss", "sub", "jti"]},
            )
            if claims["sub"] != client or claims["exp"] > time.time() + 24 * 3600:
                failed("invalid_client", "AADSTS700021: The assertion's subject or lifetime is wrong.")
        elif known.get("federated"):
            trust = known["federated"]
            key = serialization.load_pem_public_key(Path(trust["key"]).read_bytes())
            claims = jwt.decode(assertion, key, algorithms=["RS256"], audience="api://AzureADTokenExchange", issuer=trust["issuer"])
            if claims["sub"] != trust["subject"]:
                failed("invalid_client", "AADSTS70021: No matching federated identity record found.")
        else:
            failed("invalid_client", "AADSTS700027: No certificate is registered.")
    except jwt.PyJWTError as error:
        failed("invalid_client", f"AADSTS700027: Client assertion failed signature validation. {error}")


def token_of_machine(request):
    if request.headers.get("Metadata") != "true" or request.headers.get("X-Forwarded-For"):
        raise Refusal(400, {"error": "bad_request_102", "error_description": "Required metadata header not specified"})
    return managed(request, "2018-02-01")


def token_of_app(request):
    if request.headers.get("X-IDENTITY-HEADER") != folder.load("app.json", {}).get("header"):
        raise Refusal(401, {"statusCode": 401, "message": "the identity header is wrong"})
    return managed(request, "2019-08-01")


def managed(request, version):
    if request.query.get("api-version") != version or "resource" not in request.query:
        raise Refusal(400, {"error": "invalid_request", "error_description": "api-version or resource is missing"})
    wanted = request.query.get("client_id")
    found = [name for name, known in clients().items() if known.get("managed") and wanted in (None, name)]
    if len(found) != 1:
        raise Refusal(400, {"error": "invalid_request", "error_description": "Identity not found"})
    return issued(found[0], request.query["resource"], string=True)


def issued(client, resource, string, proof=None):
    claims = {"client": client, "resource": resource, "proof": proof}
    if folder.is_revoked(claims):
        failed("invalid_client", "AADSTS7000222: The provided client secret keys are expired.")
    token, lifetime = folder.token(**claims)
    body = {"token_type": "Bearer", "access_token": token, "expires_in": lifetime, "ext_expires_in": lifetime}
    if string:
        body = {k: str(v) for k, v in body.items()} | {"expires_on": str(int(time.time() + lifetime)), "resource": resource}
    return body, {}


def discovery(request, tenant):
    return {
        "issuer": f"{base}/{tenant}/v2.0",
        "token_endpoint": f"{base}/{tenant}/oauth2/v2.0/token",
        "authorization_endpoint": f"{base}/{tenant}/oauth2/v2.0/authorize",
    }, {}


# --- keys


def error(status, code, text, inner=None, headers=None):
    body = {"code": code, "message": text}
    if inner:
        body["innererror"] = {"code": inner}
    raise Refusal(status, {"error": body}, headers)


def allow(request, action, name):
    """As the service: first who (401 with a challenge), then whether (403), then the rest."""
    claims = folder.claims(request.bearer())
    if claims is None or claims["resource"] != RESOURCE:
        challenge = f'Bearer authorization="{base}/{TENANT}", resource="{RESOURCE}"'
        error(401, "Unauthorized", "AKV10000: Request is missing a Bearer or PoP token.", headers={"WWW-Authenticate": challenge})
    if request.query.get("api-version") not in VERSIONS:
        error(400, "BadParameter", "The specified version is not recognized.")
    may = clients().get(claims["client"], {}).get("may", [])
    if ACTIONS[action] not in may or name in folder.control("denied", []):
        text = f"Caller is not authorized to perform action on resource. Action: '{ACTIONS[action]}'"
        error(403, "Forbidden", text, "ForbiddenByRbac")


def keys():
    return folder.load("keys.json", {})


def find(name, version=None):
    versions = {known.lower(): versions for known, versions in keys().items()}.get(name.lower())
    if not versions:
        error(404, "KeyNotFound", f"A key with (name/id) {name} was not found in this key vault.")
    with folder.lock:
        if name in folder.control("rotated", []) and len(versions) == 1:
            versions = [*versions, fresh_version(versions[0]["kty"], 256 if versions[0]["kty"] == "oct-HSM" else 2048)]
            folder.write("keys.json", json.dumps({**keys(), name: versions}))
    if version is None:
        return versions[-1]
    for known in versions:
        if known["version"] == version:
            return known
    error(404, "KeyNotFound", f"A key with (name/id) {name}/{version} was not found in this key vault.")


def bundle(name, known):
    enabled = name not in folder.control("disabled", [])
    jwk = {"kid": f"{base}/keys/{name}/{known['version']}", "kty": known["kty"], "key_ops": known["key_ops"]}
    if known["kty"].startswith("RSA"):
        numbers = private(known).public_key().public_numbers()
        jwk |= {"n": b64url(numbers.n.to_bytes((numbers.n.bit_length() + 7) // 8, "big")), "e": b64url(numbers.e.to_bytes(3, "big"))}
    times = {"created": known["created"], "updated": known["created"]}
    return {"key": jwk, "attributes": {"enabled": enabled, **times, "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90}}


@functools.lru_cache
def loaded(pem):
    """Loading checks the numbers, which takes longer than using them."""
    return serialization.load_pem_private_key(pem.encode(), None)


def private(known):
    return loaded(known["pem"])


def create(request, name):
    allow(request, "create", name)
    asked = request.json()
    known = fresh_version(asked["kty"], asked.get("key_size"))
    known["key_ops"] = asked.get("key_ops", known["key_ops"])
    with folder.lock:
        folder.write("keys.json", json.dumps({**keys(), name: [*keys().get(name, []), known]}))
    return bundle(name, known), {}


def fresh_version(kty, size):
    known = {"version": uuid.uuid4().hex, "kty": kty, "created": int(time.time()), "key_ops": ["wrapKey", "unwrapKey"]}
    if kty in ("RSA", "RSA-HSM"):
        if size not in (None, 2048, 3072, 4096):
            error(400, "BadParameter", "The key size is not supported.")
        made = rsa.generate_private_key(public_exponent=65537, key_size=size or 2048)
        pkcs8 = made.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        known["pem"] = pkcs8.decode()
    elif kty == "oct-HSM" and options.hsm and size == 256:
        known["key"] = secrets.token_hex(32)
    else:
        error(400, "BadParameter", f"Key type {kty} is not supported by this vault.")
    return known


def read(request, name, version=None):
    allow(request, "get", name)
    return bundle(name, find(name, version)), {}


def operate(request, name, version, operation):
    allow(request, operation, name)
    known = find(name, version or None)
    asked = request.json()
    if not set(asked) <= {"alg", "value", "iv", "aad", "tag"} or "value" not in asked:
        error(400, "BadParameter", "Property value is missing or a property is not known.")
    is_wrap = operation == "wrapkey"
    if ("wrapKey" if is_wrap else "unwrapKey") not in known["key_ops"]:
        error(403, "Forbidden", f"Operation {operation} is not permitted on this key.", "KeyOperationForbidden")
    if not is_wrap and name in folder.control("disabled", []):
        error(403, "Forbidden", "Operation unwrapKey is not allowed on a disabled key.", "KeyDisabled")
    try:
        value = from_b64url(asked["value"])
        result = (wrap if is_wrap else unwrap)(known, asked["alg"], value)
    except (ValueError, keywrap.InvalidUnwrap):
        error(400, "BadParameter", "The parameter is incorrect.")
    if not is_wrap and folder.control("flip"):
        result = bytes([result[0] ^ 1]) + result[1:]
    return {"kid": f"{base}/keys/{name}/{known['version']}", "value": b64url(result)}, {}


OAEP = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)


def wrap(known, algorithm, value):
    if algorithm == "RSA-OAEP-256" and known["kty"].startswith("RSA"):
        return private(known).public_key().encrypt(value, OAEP)
    if algorithm == "A256KW" and known["kty"] == "oct-HSM":
        return keywrap.aes_key_wrap(bytes.fromhex(known["key"]), value)
    error(400, "BadParameter", f"Algorithm {algorithm} is not supported by key type {known['kty']}.")


def unwrap(known, algorithm, value):
    if algorithm == "RSA-OAEP-256" and known["kty"].startswith("RSA"):
        return private(known).decrypt(value, OAEP)
    if algorithm == "A256KW" and known["kty"] == "oct-HSM":
        return keywrap.aes_key_unwrap(bytes.fromhex(known["key"]), value)
    error(400, "BadParameter", f"Algorithm {algorithm} is not supported by key type {known['kty']}.")


KEY = r"/keys/([0-9a-zA-Z-]{1,127})"
ROUTES = [
    ("POST", r"/([^/]+)/oauth2/v2\.0/token", token_of_application),
    ("GET", r"/([^/]+)/v2\.0/\.well-known/openid-configuration", discovery),
    ("GET", r"/metadata/identity/oauth2/token", token_of_machine),
    ("GET", r"/msi/token", token_of_app),
    ("POST", KEY + "/create", create),
    ("GET", KEY + "/?", read),
    ("GET", KEY + "/([0-9a-f]{32})", read),
    ("POST", KEY + "/([0-9a-f]{32})/(wrapkey|unwrapkey)", operate),
]

if __name__ == "__main__":
    credentials.make(folder, options.policies, options.hsm)
    serve(ROUTES, options)
