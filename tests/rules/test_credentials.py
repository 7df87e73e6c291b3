"""What is told from a private key, a token and a one-time code, and what must pass; hub and bot alike."""

from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from bot import private
from hub.core import credentials
from hub.core.errors import InvalidInput
from hub.core.ids import derived_secret, new_id, new_secret

RSA = rsa.generate_private_key(65537, 1024)
EC = ec.generate_private_key(ec.SECP256R1())
ED = ed25519.Ed25519PrivateKey.generate()
CLEAR = serialization.NoEncryption()


def written(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, form: str) -> str:
    how = CLEAR if form != "PKCS8-sealed" else serialization.BestAvailableEncryption(b"long enough")
    name = {"PKCS1": "TraditionalOpenSSL", "OpenSSH": "OpenSSH"}.get(form, "PKCS8")
    return key.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, name), how).decode()


PEMS = [
    written(RSA, "PKCS1"), written(RSA, "PKCS8"), written(EC, "PKCS1"), written(ED, "PKCS8"), written(ED, "OpenSSH"),
    written(RSA, "PKCS8-sealed"), written(EC, "OpenSSH"),
]  # fmt: skip
PUBLIC = [
    key.public_key()
    .public_bytes(
        getattr(serialization.Encoding, encoding), getattr(serialization.PublicFormat, form)
    ).decode()
    for key in (RSA, EC, ED)
    for encoding, form in (("PEM", "SubjectPublicKeyInfo"), ("OpenSSH", "OpenSSH"))
]  # fmt: skip


def unnamed(_: str) -> str:
    """Keys are new in every process, and every worker has to know a test by the same name."""
    return "text"


def kubeconfig(pem: str) -> str:
    sealed = base64.b64encode(pem.encode()).decode()
    return f"    client-certificate-data: LS0tLS1CRUdJTiBDRVJU\n    client-key-data: {sealed}"


def code_of(text: str) -> str:
    found = credentials.kind_of(text)
    return "" if found is None else found.code


@pytest.mark.parametrize("pem", PEMS, ids=unnamed)
def test_a_private_key_is_known_in_every_form_it_is_pasted_in(pem: str) -> None:
    for pasted in (
        pem, f"my key:\n{pem}\nplease", " ".join(pem.split()), pem.replace("-----", "—--"), kubeconfig(pem),
        base64.b64encode(pem.encode()).decode(), pem.replace("\n", "\\n"),
    ):  # fmt: skip
        assert code_of(pasted) == "private_key_refused"


@pytest.mark.parametrize("prefix", ["clg", "clga", "clgs", "clgc", "clgh", "clgd", "clge", "clgt"])
def test_a_token_of_a_hub_is_known(prefix: str) -> None:
    assert code_of(f"use {new_secret(prefix)} for it") == "token_refused"


@pytest.mark.parametrize(
    "pasted",
    [
        "AKIA" + "QWERTYUIOPASDFGH", "key=ASIA" + "QWERTYUIOPASDFGH", "ghp_" + "a1B2" * 9, "github_pat_" + "A1_b" * 8,
        "xoxb-" + "123456789012-abcdef", "xapp-" + "1-A012-345-abcdef", "glpat-" + "abcd" * 5, "AI" "za" + "a1-_b" * 7,
        "hf_" + "abc" * 11, "https://oauth:glpat-" + "abcd" * 5 + "@git.example.org/x",
    ],
)  # fmt: skip
def test_a_cloud_key_with_a_clear_prefix_is_known(pasted: str) -> None:
    assert code_of(f"here: {pasted}\n") == "token_refused"


@pytest.mark.parametrize(
    "pasted",
    [
        "123456", " 123 456\n", "my code is 123456", "OTP: 123456", "2FA code 12345678", "verification code: 123-456",
        "Duo passcode 123456", "the one-time password is 123456", derived_secret(b"k", "", "recovery", "x"),
        "account role ben operator --code 123456", "account disable ben -c 123456", new_secret("code"),
        f"account reset ben --code={derived_secret(b'k', '', 'step_up', 'x')}",
        f"role ben guest -c '{derived_secret(b'k', '', 'step_up', 'x')}'",
        f"my code is {derived_secret(b'k', '', 'step_up', 'x')}", f"use {new_secret('code')} for it",
        "otpauth://totp/Hub:ana?secret=JBSWY3DPEHPK3PXP&issuer=Hub",
    ],
    ids=unnamed,
)  # fmt: skip
def test_a_one_time_code_is_known(pasted: str) -> None:
    assert code_of(pasted) == "code_refused"


@pytest.mark.parametrize(
    "said",
    [
        *PUBLIC, hashlib.sha256(b"x").hexdigest(), f"sha256:{hashlib.sha256(b'y').hexdigest()}", new_id("job"),
        "SHA256:" + base64.b64encode(hashlib.sha256(b"z").digest()).decode().rstrip("="),
        f"https://hub.example.org/l/{new_secret('clgl')}", f"https://hub.example.org/i/{new_secret('clgi')}",
        "-----BEGIN CERTIFICATE-----\nMIIB", "BEGIN PRIVATE KEY is how such a block starts", "job 123456",
        "slurm job 1234567 is 123456 seconds old", "1234567", "12345", "2026-11-29", "123456.7", "error code 123456",
        "the AKIA prefix is Amazon's", "clg_ tokens", "ghp_short", "commit 3f786850e387550fdab836ed7e6dc881de23001b",
        "a login of 2868 people", "the passcode is on the page", "my code is 123456789", "xoxb- is Slack's", "",
        "123 4567", "E=210000 eV", "my code is in job 123456", "ecdsa-sha2-nistp256 AAAAE2VjZHNh",
        "550e8400-e29b-41d4-a716-446655440000",
        "job submit run.sh --args '--code 7'", "the --code option", "python fit.py -c 123456",
        f"open {new_secret('code')}",
    ],
    ids=unnamed,
)  # fmt: skip
def test_what_is_public_or_only_a_number_passes(said: str) -> None:
    assert credentials.kind_of(said) is None
    assert private.problem_in(said) is None


def test_the_refusal_says_what_was_seen_that_nothing_was_kept_and_how_to_replace_it() -> None:
    for pasted in (PEMS[0], new_secret("clg"), "ghp_" + "a1B2" * 9, "123456", "otpauth://totp/x?secret=abc"):
        with pytest.raises(InvalidInput) as refused:
            credentials.refuse(pasted, "$.params.text")
        in_chat = private.problem_in(pasted)
        assert in_chat is not None and in_chat.code == refused.value.code
        for said, hint in ((str(refused.value), refused.value.hint), (in_chat.detail, in_chat.hint)):
            assert "looks like" in said and "othing of it was kept" in said and "replace it: " in hint
            assert pasted not in said + hint
        assert "delete it there" in in_chat.hint


def test_hub_and_bot_look_for_the_same() -> None:
    told = [
        [(kind.code, kind.what, kind.mark.pattern, kind.mark.flags, kind.replace) for kind in kinds]
        for kinds in (credentials.KINDS, private.KINDS)
    ]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "text",
    [
        "-" * 200_000, "BEGIN " * 40_000, "a" * 200_000, "my code is " * 20_000, "1" * 200_000,
        "LS0tLS1CRUdJTi" * 20_000, "otpauth://" * 20_000,
    ],
    ids=unnamed,
)  # fmt: skip
def test_a_long_text_is_looked_through_in_one_go(text: str) -> None:
    assert credentials.kind_of(text) is None
