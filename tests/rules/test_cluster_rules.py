"""What people paste as host keys, and what must never be pasted; the line that lets a hub in."""

from __future__ import annotations

import pytest

from hub.core import credentials
from hub.core.errors import InvalidInput
from hub.core.settings import load
from hub.jobs.clusters import keys, rules

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGh5cG90aGV0aWNhbGhvc3RrZXlvZmFjbHVzdGVy"


@pytest.mark.parametrize(
    "pasted",
    [
        KEY,
        f"{KEY} root@login",
        f"login.example.org {KEY}",
        f"[login.example.org]:2222,192.0.2.7 {KEY}",
        f"# login.example.org:22 SSH-2.0-OpenSSH_9.2\nlogin.example.org {KEY}\n",
    ],
)
def test_a_host_key_is_known_in_every_form_it_is_printed_in(pasted: str) -> None:
    assert rules.key_line(pasted) == KEY


@pytest.mark.parametrize(
    "pasted",
    [
        "",
        "# only a remark",
        "what is this",
        f"{KEY}\n{KEY}",
        "ssh-ed25519",
        "ssh-ed25519 no-base64!",
        "a b c d",
        "login",
    ],
)
def test_what_is_no_host_key_is_refused(pasted: str) -> None:
    with pytest.raises(ValueError):
        rules.key_line(pasted)


@pytest.mark.parametrize(
    "pasted",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----\nxxxx",
        "-----BEGIN RSA PRIVATE KEY-----\nxxxx",
        "-----BEGIN PRIVATE KEY-----xxxx",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----",
        "see here: b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQ",
        "PuTTY-User-Key-File-3: ssh-ed25519",
    ],
)
def test_a_private_key_is_known_and_not_repeated(pasted: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        credentials.refuse_private_keys([("$.params.host", "login"), ("$.params.root", pasted)])
    assert (refused.value.code, refused.value.path) == ("private_key_refused", "$.params.root")
    assert pasted not in f"{refused.value} {refused.value.hint}"


def test_a_public_key_is_no_private_one() -> None:
    credentials.refuse_private_keys([("$.params.host_key", KEY), ("$.params.root", "/scratch/PRIVATE KEY")])


def test_the_line_lets_the_hub_in_from_its_own_addresses_alone() -> None:
    assert keys.authorized_line(f"{KEY} note") == f"restrict {KEY} note"
    assert keys.authorized_line(f"{KEY} note", "192.0.2.7,2001:db8::/64") == (
        f'restrict,from="192.0.2.7,2001:db8::/64" {KEY} note'
    )


@pytest.mark.parametrize("wrong", ["hub.example.org", '192.0.2.7",command="rm', "192.0.2.7, 192.0.2.8", "192.0.2.7,"])
def test_addresses_of_the_hub_that_are_none_are_refused(wrong: str) -> None:
    assert load({"COLLEGIUM_SSH_FROM": "192.0.2.7,198.51.100.0/24"}).ssh_from == "192.0.2.7,198.51.100.0/24"
    with pytest.raises(InvalidInput, match="COLLEGIUM_SSH_FROM"):
        load({"COLLEGIUM_SSH_FROM": wrong})
