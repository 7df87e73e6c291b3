"""What an operator says of a Kubernetes cluster is read strictly, and what is missing there is said in words."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from hub.jobs.backends.kubernetes_rules import Cluster
from hub.jobs.clusters import kubernetes_rules as rules
from tests.certificates import Authority

DIGEST = "@sha256:" + "a" * 64


def jwt(**claims: object) -> str:
    parts = ({"alg": "RS256"}, claims)
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(each).encode()).decode().rstrip("=") for each in parts), "x"]
    )


@pytest.mark.parametrize(
    ("said", "url", "host", "port"),
    [
        ("https://k.example.org", "https://k.example.org:443", "k.example.org", 443),
        (" https://203.0.113.7:6443/ ", "https://203.0.113.7:6443", "203.0.113.7", 6443),
        ("https://[2001:db8::1]:6443", "https://[2001:db8::1]:6443", "2001:db8::1", 6443),
        ("https://rancher.example.org/k8s/clusters/c-1", "https://rancher.example.org:443/k8s/clusters/c-1",
         "rancher.example.org", 443),
    ],
)  # fmt: skip
def test_the_address_of_an_api_server(said: str, url: str, host: str, port: int) -> None:
    assert rules.server(said) == rules.Server(url, host, port)


@pytest.mark.parametrize(
    "said",
    ["http://k.example.org", "k.example.org", "https://", "https://ana:x@k.example.org", "https://k.example.org?a=b",
     "https://k.example.org:99999", "https://-k", "https://k example", "https://k.example.org/#x"],
)  # fmt: skip
def test_what_is_no_address_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match=r"address|https"):
        rules.server(said)


def test_an_authority_is_known_by_the_fingerprint_that_openssl_prints(tmp_path: Path) -> None:
    root = Authority(tmp_path).root
    (found,) = rules.authority(root.read_text())
    if openssl := shutil.which("openssl"):
        argv = [openssl, "x509", "-in", str(root), "-noout", "-fingerprint", "-sha256"]
        assert subprocess.run(argv, check=True, capture_output=True, text=True).stdout.strip().endswith(f"={found}")
    assert len(rules.authority(root.read_text() * 2)) == 2


@pytest.mark.parametrize("said", ["", "x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="no certificate"):
        rules.authority(said)


def test_a_private_key_is_not_wanted() -> None:
    with pytest.raises(ValueError, match="private key"):
        rules.authority("-----BEGIN EC PRIVATE KEY-----")


def test_a_token_says_whose_it_is_and_how_long() -> None:
    said = jwt(sub="system:serviceaccount:collegium-jobs:collegium-hub", exp=1_800_000_000)
    whole, says = rules.token(f" {said}\n")
    assert whole == said
    assert says == rules.Token("collegium-hub", "collegium-jobs", 1_800_000_000.0)


@pytest.mark.parametrize("said", ["opaque", "a.b.c", "a.b.c.d", jwt(), jwt(sub=7, exp="soon"), "e30.W10.x"])
def test_a_token_that_says_nothing_is_taken_as_it_is(said: str) -> None:
    assert rules.token(said) == (said, rules.Token())


@pytest.mark.parametrize("said", ["", "two words", "line\nline", 'quote"', "null\0"])
def test_what_is_no_token_is_refused(said: str) -> None:
    with pytest.raises(ValueError, match="one word"):
        rules.token(said)


def test_images_are_wanted_by_their_digest() -> None:
    good = Cluster(namespace="n", claim="c", porter_image="busybox" + DIGEST, image="python" + DIGEST)
    assert rules.faults(good) == []
    bad = Cluster(namespace="n", claim="c", porter_image="", image="python:3.13")
    assert [field for field, _ in rules.faults(bad)] == ["porter_image", "image"]


def test_every_right_has_words() -> None:
    words = [rules.in_words(kind, verb) for _, kind, verb in rules.wanted()]
    assert words[0] == "make Jobs (create jobs)" and "run commands in pods (create pods/exec)" in words
    assert len(set(words)) == len(words)
    assert rules.joined(["a"]) == "a" and rules.joined(["a", "b", "c"]) == "a, b and c"
