"""Passwords: what may be one, how one is kept, and whether one fits.

Kept as argon2id over the whole text in NFC (no truncation), with the parameters inside, so that they can be raised
later. Nothing about composition is asked for; what is refused is what attackers try first.
"""

from __future__ import annotations

import functools
import hashlib
import threading
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from msgspec import Meta

from hub.core import limits
from hub.core.errors import InvalidInput, Unavailable

# A one-time code, of the shell or of an app, as it is typed.
Code = Annotated[str, Meta(min_length=1, max_length=200)]
HASHER = PasswordHasher(time_cost=2, memory_cost=32 * 1024, parallelism=1)
# A hash takes 32 MiB while it runs; more of them at once would let strangers decide how much memory the hub needs.
_TURNS = threading.BoundedSemaphore(2)
_SHA1_HEX = 40
_LINE_BYTES = 200


def hashed(password: str) -> str:
    """What is stored of a password or passphrase."""
    with _TURNS:
        return HASHER.hash(_bytes(password))


def matches(stored: str, password: str) -> bool:
    """Whether this is the password that was stored."""
    try:
        with _TURNS:
            return HASHER.verify(stored, _bytes(password))
    except (VerificationError, InvalidHashError):
        return False


def is_outdated(stored: str) -> bool:
    """Whether it was stored with other parameters than today's, and should be stored again at the next sign-in."""
    return HASHER.check_needs_rehash(stored)


def spend(password: str) -> None:
    """Cost what `matches` costs: nobody learns from the time of an answer whether an account exists."""
    matches(_nobodys(), password)


def check(password: str, about: Iterable[str], breached: str) -> None:
    """Raises InvalidInput for a password that would be guessed early.

    `about` is what everybody knows of the person (handle, name, e-mail); `breached` the operator's file, or empty.
    """
    text = unicodedata.normalize("NFC", password)
    least, most = limits.PASSWORD_LEAST_CHARACTERS, limits.PASSWORD_CHARACTERS
    if not least <= len(text) <= most:
        raise _refused(f"a password has {least} to {most} characters", "password_length")
    plain = text.casefold()
    known = {part.casefold() for each in about for part in (each, each.partition("@")[0]) if part}
    if plain in known:
        raise _refused("your handle, name or e-mail cannot be your password", "password_is_known_of_you")
    repeated = plain[: (plain + plain).find(plain, 1)]  # the shortest text it is a repetition of; mostly itself
    if len(repeated) == 1 or {plain, repeated} & _common():
        raise _refused("this password is among the first that are tried everywhere", "password_common")
    if breached and _is_listed(Path(breached), hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()):
        raise _refused("this password was published in a breach of some other site", "password_breached")


def _refused(message: str, code: str) -> InvalidInput:
    return InvalidInput(message, code=code, path="$.params.password", hint="several words in a row are easy to keep")


def _bytes(password: str) -> bytes:
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


@functools.cache
def _nobodys() -> str:
    return HASHER.hash(b"nobody has this password")


@functools.cache
def _common() -> frozenset[str]:
    from zxcvbn.frequency_lists import FREQUENCY_LISTS

    return frozenset(FREQUENCY_LISTS["passwords"])


def _is_listed(path: Path, digest: str) -> bool:
    """Whether a sorted file of hexadecimal SHA-1 lines holds this one: by halving, never reading more than a few lines.

    Raises Unavailable when the file cannot be read: then nobody can set a password, and the operator hears of it.
    """
    wanted = digest.upper().encode()
    try:
        with path.open("rb") as file:
            low, high = 0, file.seek(0, 2)
            while low < high:
                # The line sought, if it is there, begins at or after `low` and before `high`.
                middle = (low + high) // 2
                file.seek(max(middle - 1, 0))
                if middle:
                    file.readline(_LINE_BYTES)
                if file.tell() >= high:
                    high = middle
                    continue
                found = file.readline(_LINE_BYTES)[:_SHA1_HEX].upper()
                if found == wanted:
                    return True
                if found < wanted:
                    low = file.tell()
                else:
                    high = middle
    except OSError as error:
        raise Unavailable(
            "the hub's list of breached passwords cannot be read; no password was set",
            code="breach_list_unreadable",
            hint=f"the operator named it in COLLEGIUM_BREACHED_PASSWORDS: {error.strerror}",
        ) from None
    return False
