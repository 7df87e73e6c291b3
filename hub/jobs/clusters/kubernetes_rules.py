"""What can be said of a Kubernetes cluster before anybody speaks to it: address, authority, token, rights. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from urllib.parse import urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from hub.jobs.backends.kubernetes_rules import RIGHTS, Cluster, pinned_image

AUTHORITY_BYTES, TOKEN_BYTES = 64 << 10, 16 << 10
MANIFEST = "deploy/kubernetes/collegium.yaml"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?")
_ACCOUNT = "system:serviceaccount:"


class Server(msgspec.Struct, frozen=True):
    """Where an API server listens."""

    url: str
    host: str
    port: int


class Token(msgspec.Struct, frozen=True):
    """What a token says of itself; nobody has checked it."""

    login: str = ""
    namespace: str = ""
    until: float | None = None  # seconds since 1970


def server(said: str) -> Server:
    """Raises ValueError for what is no address of an API server, such as one without TLS."""
    try:
        parts = urlsplit(said.strip())
        port = parts.port or 443
    except ValueError:
        raise ValueError("this is no address, such as https://203.0.113.7:6443") from None
    if parts.scheme != "https":
        raise ValueError("the API server's address begins with https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the address names nobody; the account is known by its token")
    if not parts.hostname or not _HOST.fullmatch(parts.hostname) or parts.query or parts.fragment:
        raise ValueError("this is no address of an API server, such as https://203.0.113.7:6443")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Server(f"https://{host}:{port}{parts.path.rstrip('/')}", parts.hostname, port)


def authority(pem: str) -> tuple[str, ...]:
    """The fingerprints (SHA-256, as `openssl x509 -fingerprint` prints them) of the certificates. Raises ValueError."""
    if "PRIVATE KEY" in pem:
        raise ValueError("there is a private key in it; only certificates are wanted")
    try:
        found = x509.load_pem_x509_certificates(pem.encode())
    except ValueError:
        raise ValueError("there is no certificate in it: it begins with -----BEGIN CERTIFICATE-----") from None
    return tuple(each.fingerprint(hashes.SHA256()).hex(":").upper() for each in found)


def token(said: str) -> tuple[str, Token]:
    """The token in one piece, and what it says of itself. Raises ValueError."""
    whole = said.strip()
    if not _TOKEN.fullmatch(whole):
        raise ValueError("a token is one word of letters, digits and dots")
    return whole, _claims(whole)


def _claims(token: str) -> Token:
    parts = token.split(".")
    if len(parts) != 3:
        return Token()
    try:
        body = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        subject, until = str(body.get("sub") or ""), body.get("exp")
    except (binascii.Error, ValueError, AttributeError):
        return Token()
    namespace, _, name = subject.removeprefix(_ACCOUNT).partition(":") if subject.startswith(_ACCOUNT) else ("", "", "")
    return Token(name, namespace, float(until) if isinstance(until, int | float) else None)


def faults(described: Cluster) -> list[tuple[str, str]]:
    """(field, what is wrong with it) of a description that no job could be run by."""
    found = []
    for field, said in (("porter_image", described.porter_image), ("image", described.image)):
        try:
            if said or field == "porter_image":
                pinned_image(said, field)
        except ValueError as error:
            found.append((field, str(error).removeprefix(f"{field}: ")))
    return found


# --- rights


_VERBS = {
    "create": "make", "get": "look at", "list": "list", "watch": "watch", "patch": "suspend", "delete": "remove",
}  # fmt: skip
_KINDS = {"jobs": "Jobs", "pods": "pods", "events": "events"}


def wanted() -> list[tuple[str, str, str]]:
    """(group, kind, verb) of everything the hub does in its namespace."""
    return [(group, kind, verb) for group, kind, verbs in RIGHTS for verb in verbs]


def in_words(kind: str, verb: str) -> str:
    """`make Jobs (create jobs)`."""
    said = "run commands in pods" if kind == "pods/exec" else f"{_VERBS[verb]} {_KINDS[kind]}"
    return f"{said} ({verb} {kind})"


def joined(words: Iterable[str]) -> str:
    """`a, b and c`."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
