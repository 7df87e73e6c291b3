"""Setting a hub up, as values: which steps there are, in what state they stand, what may be typed into them. Pure.

No step waits for another. Each is done when its test passed, can be skipped, and can be repeated at any time; what it
needs to be of use is said in its words.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import Literal
from urllib.parse import quote, urlsplit

import msgspec

from hub.core.errors import InvalidInput

StepName = Literal["public_url", "owner", "slack", "mail", "backup", "clusters"]
StepState = Literal["open", "testing", "done", "failed", "skipped"]
Security = Literal["starttls", "tls", "none"]


class Check(msgspec.Struct, frozen=True):
    """One thing that was tried: whether it holds, in words, and what to do when it does not."""

    name: str
    holds: bool
    words: str
    hint: str = ""


class StepRule(msgspec.Struct, frozen=True):
    """One step: what it is called, what it brings, the settings it stores."""

    name: StepName
    title: str
    text: str
    settings: tuple[str, ...] = ()


STEPS: tuple[StepRule, ...] = (
    StepRule(
        "public_url",
        "Public address",
        "The address under which people reach this hub, and the certificate it shows them.",
        ("public_url", "tls_certificate", "tls_key"),
    ),
    StepRule("owner", "First owner", "Who operates this hub: your name, your handle, the address mail goes to."),
    StepRule(
        "slack", "Slack", "Jobs, notes and sharing from the channels of a workspace, with cards to follow.", ("join",)
    ),
    StepRule("mail", "Mail", "Invitations and sign-in by mail; without it you pass links on yourself.",
             ("smtp_url", "mail_from")),
    StepRule("backup", "Backup place", "A folder on another disk, where encrypted backups of the whole hub go.",
             ("backup_to",)),
    StepRule("clusters", "Clusters",
             "Where jobs can go, each person's under their own account; without any, they run on this machine."),
)  # fmt: skip
BY_NAME: dict[str, StepRule] = {step.name: step for step in STEPS}
STORED: frozenset[str] = frozenset(name for step in STEPS for name in step.settings)
# Read when a process starts: whoever serves the address must be started again to serve another.
NEEDS_RESTART = frozenset({"public_url", "tls_certificate", "tls_key"})


def sentence(words: str) -> str:
    """Words as a sentence begins."""
    return words[:1].upper() + words[1:]


def state_after(checks: Iterable[Check]) -> StepState:
    """What a test makes of a step."""
    return "done" if all(check.holds for check in checks) else "failed"


def is_finished(states: Iterable[StepState]) -> bool:
    """Nothing is left to do when every step was done or was skipped on purpose."""
    return all(state in {"done", "skipped"} for state in states)


def checked_public_url(text: str) -> str:
    """The origin in `text`. Raises InvalidInput for what cannot be a hub's address."""
    text = text.strip()
    if text.isascii() and text and "://" not in text and "/" not in text.rstrip("/"):
        raise _bad_url(f"{text[:100]!r} has no scheme", f"write https://{text[:100]}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise _bad_url(f"{text[:100]!r} is not a URL") from None
    if parts.scheme not in {"https", "http"}:
        raise _bad_url(f"{text[:100]!r} does not begin with https://")
    if not text.isascii() or not text.isprintable() or any(c in text for c in "\\ \"<>^`{|}'"):
        raise _bad_url(f"{text[:100]!r} holds characters that no address has", "write an international name as xn--...")
    if "@" in parts.netloc:
        raise _bad_url("the address of a hub names no user")
    if parts.path.strip("/") or parts.query or parts.fragment or "?" in text or "#" in text:
        raise _bad_url("a hub has a host of its own: the address ends after host and port")
    if port == 0 or not _is_host(host):
        raise _bad_url(f"{text[:100]!r} names no host")
    if parts.scheme == "http" and not is_loopback(host):
        raise InvalidInput(
            f"http://{host} would send passwords and sign-ins in the clear",
            code="http_refused",
            path="$.params.public_url.url",
            hint=f"use https://{host}; http is for this machine alone (http://127.0.0.1:PORT)",
        )
    shown = f"[{host}]" if ":" in host else host
    standard = 443 if parts.scheme == "https" else 80
    return f"{parts.scheme}://{shown}" + (f":{port}" if port not in {None, standard} else "")


def _bad_url(message: str, hint: str = "write it as https://hub.example.org") -> InvalidInput:
    return InvalidInput(message, code="bad_url", path="$.params.public_url.url", hint=hint)


def _is_host(host: str) -> bool:
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host).scope_id is None
        except ValueError:
            return False
    label = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
    return len(host) <= 253 and re.fullmatch(rf"{label}(?:\.{label})*", host) is not None


def is_loopback(host: str) -> bool:
    """Whether this host is the very machine that asks."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class MailServer(msgspec.Struct, frozen=True):
    """A mail server, as a person says it."""

    host: str
    port: int
    security: Security
    user: str = ""
    password: str = ""


_SCHEMES: dict[Security, str] = {"starttls": "smtp+starttls", "tls": "smtps", "none": "smtp"}
_PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}


def smtp_url(server: MailServer) -> str:
    """The setting for a mail server. Raises InvalidInput."""
    if not _is_host(server.host.lower()):
        raise InvalidInput(f"{server.host[:100]!r} names no host", code="bad_mail_server", path="$.params.mail.host")
    if server.security == "none" and server.password and not is_loopback(server.host):
        raise InvalidInput(
            "the password would travel in the clear",
            code="mail_in_the_clear",
            path="$.params.mail.security",
            hint="choose STARTTLS or TLS; nearly every server has one of them",
        )
    host = f"[{server.host}]" if ":" in server.host else server.host
    user = quote(server.user, safe="") + (f":{quote(server.password, safe='')}" if server.password else "")
    port = server.port or _PORTS[server.security]
    return f"{_SCHEMES[server.security]}://{user + '@' if user else ''}{host}:{port}"


def checked_backup_place(text: str, data: PurePath) -> str:
    """A folder for backups, away from what is backed up; paths are compared as they are. Raises InvalidInput."""
    place = PurePath(text.strip())
    if not place.is_absolute():
        raise InvalidInput(
            f"{text[:200]!r} does not begin with /",
            code="bad_backup_place",
            path="$.params.backup.folder",
            hint="write the whole path; processes of the hub start in different folders",
        )
    if place == data or data in place.parents:
        raise InvalidInput(
            f"{place} lies in the data folder: what takes the hub away would take its backups along",
            code="backup_in_data",
            path="$.params.backup.folder",
            hint="name a folder on another disk",
        )
    if place in data.parents:
        raise InvalidInput(
            f"{place} holds the data folder itself",
            code="backup_around_data",
            path="$.params.backup.folder",
            hint="name a folder of its own, on another disk",
        )
    return str(place)
