"""What may be a password, how one is kept, and the halving search in a file of breached ones."""

from __future__ import annotations

import hashlib
import random
import unicodedata
from pathlib import Path

import argon2
import pytest

from hub.core.errors import InvalidInput, Unavailable
from hub.people import passwords


def test_a_password_of_1024_characters_counts_to_its_last_one() -> None:
    long = "correct horse battery staple " * 35 + "x" * 9
    assert len(long) == 1024
    passwords.check(long, (), "")
    stored = passwords.hashed(long)
    assert stored.startswith("$argon2id$")
    assert passwords.matches(stored, long)
    assert not passwords.matches(stored, long[:-1] + "y")


def test_twins_that_share_their_first_72_bytes_differ() -> None:
    first, second = "é" * 36 + "first", "é" * 36 + "second"
    assert first.encode()[:72] == second.encode()[:72]
    assert not passwords.matches(passwords.hashed(first), second)


def test_one_password_typed_on_two_keyboards_is_one_password() -> None:
    composed = unicodedata.normalize("NFC", "Ångström über Öre")
    apart = unicodedata.normalize("NFD", composed)
    assert composed != apart
    assert passwords.matches(passwords.hashed(composed), apart)


@pytest.mark.parametrize("stored", ["", "$argon2id$", "plain text", "$2b$12$abcdefghijklmnopqrstuu"])
def test_what_is_not_a_hash_matches_nothing(stored: str) -> None:
    assert not passwords.matches(stored, stored)


@pytest.mark.parametrize(
    ("password", "code"),
    [
        ("short", "password_length"),
        ("elevenchars", "password_length"),
        ("x" * 1025, "password_length"),
        ("aaaaaaaaaaaaaaaa", "password_common"),
        ("Passwordpassword", "password_common"),
        ("1Qaz2wsx3edc", "password_common"),
        ("ANA@University.edu", "password_is_known_of_you"),
        ("ana.de.las.montañas", "password_is_known_of_you"),
        ("Ana María Montaña", "password_is_known_of_you"),
    ],
)
def test_refused(password: str, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        passwords.check(password, ("ana", "Ana María Montaña", "ana@university.edu", "ana.de.las.montañas@x.org"), "")
    assert refused.value.code == code
    assert password not in str(refused.value)


def test_what_was_stored_with_other_parameters_is_outdated() -> None:
    weak = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("a good old password")
    assert passwords.matches(weak, "a good old password")
    assert passwords.is_outdated(weak)
    assert not passwords.is_outdated(passwords.hashed("a good old password"))


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("many", [0, 1, 2, 3, 200])
def test_every_line_of_a_breach_file_is_found_and_nothing_else(tmp_path: Path, many: int, ending: bytes) -> None:
    """With counts of different lengths behind the digests, as they are published."""
    numbers = random.Random(many)
    listed = [f"the password number {number}" for number in range(many)]
    digests = sorted(hashlib.sha1(each.encode()).hexdigest().upper() for each in listed)
    file = tmp_path / "pwned.txt"
    file.write_bytes(
        b"".join(f"{d}:{numbers.randrange(1, 10 ** numbers.randrange(1, 8))}".encode() + ending for d in digests)
    )
    for each in listed:
        with pytest.raises(InvalidInput) as refused:
            passwords.check(each, (), str(file))
        assert refused.value.code == "password_breached"
    for number in range(20):
        passwords.check(f"not in that file {number}", (), str(file))


def test_a_breach_file_is_never_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "pwned.txt"
    file.write_text("".join(f"{number:040X}:{number}\n" for number in range(20_000)))
    read = 0
    real_open = Path.open

    class Counting:
        def __init__(self, inner: object) -> None:
            self.inner = inner

        def __enter__(self) -> Counting:
            return self

        def __exit__(self, *_: object) -> None:
            self.inner.close()  # type: ignore[attr-defined]

        def __getattr__(self, name: str) -> object:
            return getattr(self.inner, name)

        def readline(self, limit: int) -> bytes:
            nonlocal read
            line: bytes = self.inner.readline(limit)  # type: ignore[attr-defined]
            read += len(line)
            return line

    monkeypatch.setattr(Path, "open", lambda self, mode: Counting(real_open(self, mode)))
    passwords.check("a password that nobody published", (), str(file))
    assert 0 < read < 4000


def test_without_its_breach_file_the_hub_takes_no_password_at_all(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as refused:
        passwords.check("a password that nobody published", (), str(tmp_path / "gone.txt"))
    assert refused.value.code == "breach_list_unreadable"
