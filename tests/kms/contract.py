"""What the contract servers of cloud vendors share: HTTP(S) on loopback, bearer tokens, and a file that tests steer by.

A contract server speaks a vendor's REST interface with real cryptography and checks what the vendor checks: who asks, with
which token, for which audience, whether the key may be used. The vendor's own client library is run against it, so that its
shape is the library's and not ours. All of its state lies in one folder: a server that is started again there goes on.

The file `control.json` in the folder is read at each request. A test writes it to switch keys off or to refuse credentials.
"""

import argparse
import base64
import hashlib
import hmac
import json
import os
import re
import secrets
import ssl
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Refusal(Exception):
    """An answer that is not 2xx: status, body, and further headers."""

    def __init__(self, status, body, headers=None):
        super().__init__(status)
        self.status, self.body, self.headers = status, body, headers or {}


class Request:
    """A request with its body read."""

    def __init__(self, method, target, headers, body):
        parts = urllib.parse.urlsplit(target)
        self.method, self.path, self.headers, self.body = method, urllib.parse.unquote(parts.path), headers, body
        self.query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))

    def json(self):
        return json.loads(self.body)

    def form(self):
        if self.headers.get("Content-Type", "").split(";")[0] != "application/x-www-form-urlencoded":
            raise Refusal(400, {"error": "invalid_request", "error_description": "not a form"})
        return dict(urllib.parse.parse_qsl(self.body.decode(), keep_blank_values=True))

    def bearer(self):
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        return token if kind == "Bearer" else None


class Folder:
    """The server's state on disk."""

    def __init__(self, path):
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        self.lock = threading.RLock()
        secret = self.path / "token-secret"
        if not secret.exists():
            self.write("token-secret", secrets.token_hex(32))
        self.secret = secret.read_bytes()

    def write(self, name, text):
        fresh = self.path / f"{name}.{secrets.token_hex(4)}"
        fresh.write_text(text)
        os.replace(fresh, self.path / name)

    def load(self, name, default):
        path = self.path / name
        return json.loads(path.read_text()) if path.exists() else default

    def control(self, name, default=None):
        return self.load("control.json", {}).get(name, default)

    def token(self, **claims):
        """A token that this server, started again, still knows."""
        lifetime = self.control("token_lifetime", 3600)
        claims["ends"] = time.time() + lifetime
        payload = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        return f"{payload}.{self._mark(payload)}", lifetime

    def claims(self, token):
        """What a token says, or None when it is not ours or over."""
        payload, _, mark = (token or "").partition(".")
        if not hmac.compare_digest(mark, self._mark(payload)):
            return None
        claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
        return None if claims["ends"] < time.time() or self.is_revoked(claims) else claims

    def is_revoked(self, claims):
        """Whether the client, or what it proved itself with, is taken no more."""
        revoked = self.control("revoked", [])
        return claims["client"] in revoked or claims.get("proof") in revoked

    def _mark(self, payload):
        return hmac.new(self.secret, payload.encode(), hashlib.sha256).hexdigest()


def b64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def from_b64url(text):
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise ValueError("not base64url without padding")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", required=True)
    parser.add_argument("--policies", required=True, help="the folder of roles that the documentation shows")
    parser.add_argument("--certificate", help="PEM chain; without it the server speaks plain HTTP")
    parser.add_argument("--private-key")
    return parser


def serve(routes, arguments):
    """Serves `routes`, a list of (method, path expression, function of the request and the expression's groups)."""
    compiled = [(method, re.compile(expression), answer) for method, expression, answer in routes]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            request = Request(self.command, self.path, self.headers, body)
            status, content, headers = 404, {"error": {"code": 404, "message": "no such path"}}, {}
            try:
                for method, expression, act in compiled:
                    match = expression.fullmatch(request.path)
                    if match and method == request.method:
                        content, headers = act(request, *match.groups())
                        status = 200
                        break
            except Refusal as refusal:
                status, content, headers = refusal.status, refusal.body, refusal.headers
            payload = json.dumps(content).encode()
            self.send_response(status)
            for name, value in {"Content-Type": "application/json; charset=utf-8", **headers}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = answer

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def get_request(self):
            connection, address = super().get_request()
            connection.settimeout(30)
            if context:
                connection = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            return connection, address

        def handle_error(self, request, client_address):
            """A peer that goes away in the middle is no failure of the server."""

    context = None
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate, arguments.private_key)
    Server(("127.0.0.1", arguments.port), Handler).serve_forever()
