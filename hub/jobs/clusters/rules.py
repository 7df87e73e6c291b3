"""What a cluster and an account on it may be called, and which of several accounts a job goes to. Pure."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import re
from collections.abc import Sequence

import msgspec

from hub.jobs.asked import Free
from hub.jobs.requests import Environment

NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9.:-]*[A-Za-z0-9])?")
LOGIN = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?")
_IMAGE = re.compile(r"\S+@sha256:[0-9a-f]{64}|/\S*\.sif")
_KEY_KIND = re.compile(r"(ssh-|ecdsa-sha2-|sk-)\S+")


class Jump(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A host on the way: `host_keys` are lines as in a `.pub` file; without `user`, it is the account's own name."""

    host: str
    host_keys: tuple[str, ...]
    port: int = 22
    user: str = ""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account that a job could go to."""

    id: str
    cluster: str
    reached: bool
    price_per_core_hour: float | None
    alive: int  # its jobs that have not ended
    kind: str = "slurm"
    price_per_gpu_hour: float | None = None
    defaults: dict[str, str] = {}
    idle: tuple[Free, ...] = ()  # as its agent told it last, at `told_at`, in seconds
    told_at: float = 0.0


class Certificate(msgspec.Struct, frozen=True, kw_only=True):
    """What a certificate of a person's site says, which signs the hub in with one key until it ends.

    `signer` is the fingerprint of the authority's key; `addresses` are those from which alone it may be used.
    """

    line: str
    key_id: str
    serial: str
    principals: tuple[str, ...]
    signer: str
    begins: dt.datetime
    ends: dt.datetime
    addresses: tuple[str, ...] = ()
    given: dt.datetime | None = None

    @property
    def shown(self) -> str:
        """By what its authority knows it, to revoke it there."""
        return f"{self.key_id or 'without an id'} (serial {self.serial})"


class Target(msgspec.Struct, frozen=True):
    """Where a job goes: a backend by its name, and the account on it, if it is a cluster."""

    backend: str
    account: str | None = None


def first_choice(accounts: Sequence[Account]) -> Account:
    """The one whose cluster answers, then the cheapest, then the least busy."""
    dearest = float("inf")

    def order(one: Account) -> tuple[bool, float, int, str]:
        price = dearest if one.price_per_core_hour is None else one.price_per_core_hour
        return (not one.reached, price, one.alive, one.cluster)

    return min(accounts, key=order)


# A person is told so long before a certificate ends, but not before half of it is over.
WARNED_BEFORE, WARNED_SHARE = dt.timedelta(hours=1), 0.2


def warned_at(given: dt.datetime, ends: dt.datetime) -> dt.datetime:
    """From when on its person is told that a certificate is about to end."""
    whole = max(ends - given, dt.timedelta())
    return ends - min(max(WARNED_BEFORE, whole * WARNED_SHARE), whole / 2)


def moment(at: dt.datetime) -> str:
    """A moment in words that mean the same everywhere."""
    return at.astimezone(dt.UTC).strftime("%Y-%m-%d %H:%M UTC")


def fingerprint(host_key: str) -> str:
    """As `ssh-keygen -l` prints it: `SHA256:...`. Raises ValueError for what is no public key."""
    words = host_key.split()
    if len(words) < 2:
        raise ValueError("a host key has a kind and a key")
    try:
        raw = base64.b64decode(words[1], validate=True)
    except binascii.Error:
        raise ValueError("the host key is not written in base64") from None
    return "SHA256:" + base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")


def same_fingerprint(one: str, other: str) -> bool:
    """Whether a person meant this fingerprint: with or without its first word and its padding."""
    return one.strip().removeprefix("SHA256:").rstrip("=") == other.removeprefix("SHA256:").rstrip("=")


def key_line(text: str) -> str:
    """`KIND KEY` from a line of a `.pub` file, of `known_hosts` or of `ssh-keyscan`. Raises ValueError."""
    lines = [words for line in text.splitlines() if (words := line.split()) and not words[0].startswith("#")]
    if len(lines) != 1:
        raise ValueError("a host key is one line")
    words = lines[0]
    if not _KEY_KIND.fullmatch(words[0]):
        words = words[1:]  # the names of the host
    if not words or not _KEY_KIND.fullmatch(words[0]):
        raise ValueError("a host key begins with its kind, such as ssh-ed25519")
    line = " ".join(words[:2])
    fingerprint(line)
    return line


def environment_faults(environment: Environment) -> list[tuple[str, str]]:
    """(field, what is wrong) of what cannot be set up on a cluster."""
    found = []
    if environment.container is not None and not _IMAGE.fullmatch(environment.container):
        said = "must be pinned by its digest (docker://NAME@sha256:...), or the path of a .sif file"
        found.append(("environment.container", said))
    for field in ("conda", "venv"):
        value = getattr(environment, field)
        if value is not None and ("\n" in value or value.startswith("-")):
            found.append((f"environment.{field}", "is no name or path of an environment"))
    return found
