"""A certificate given in the shell: from a file, from standard input, or by a signer that runs on one's own machine.

Whether a cluster takes it is the subject of tests with a real sshd; here it is the way there and the words.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from bot.door import Door
from bot.hub_client import HubClient
from bot.problems import Problem
from bot.slack import receive
from hub.core.context import Actor
from hub.core.house import House
from hub.jobs.backends.slurm import Site
from hub.jobs.clusters import reaching
from hub.jobs.clusters.rules import fingerprint
from hub.web.application import create
from tests.bot.conftest import InProcess, Shell
from tests.conftest import Perform
from tests.site_ca import SiteCa

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGh5cG90aGV0aWNhbGhvc3RrZXlvZmFjbHVzdGVy"
SITE = Site(user="olga", home="/h", root="/h/r", version="22.05.8", forgets_after=300.0, accounting=True)


@pytest.fixture
def as_operator(house: House, shell: Shell, perform: Perform, operator: Actor) -> Iterator[Any]:
    with TestClient(create(house), base_url="http://hub.test", raise_server_exceptions=False) as application:
        token = perform(operator, "token_create", name="test")["secret"]
        yield lambda *words, **more: shell(*words, transport=InProcess(application), token=token, COLUMNS="160", **more)


@pytest.fixture
def ca(house: House, tmp_path: Path) -> SiteCa:
    return SiteCa(tmp_path / "site", house.clock.now())


@pytest.fixture
def public(as_operator: Any, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is to be signed, of an account on a cluster that lets in whoever is asked about."""
    monkeypatch.setattr(reaching, "shown_key", lambda host, port: HOST_KEY)
    monkeypatch.setattr(reaching, "try_out", lambda *_: SITE)
    as_operator("cluster", "add", "raven", "login.raven.example.org", "--fingerprint", fingerprint(HOST_KEY))
    joined = as_operator("cluster", "join", "raven", "olga", "--certificate")
    assert joined.code == 0 and "good for nothing without a certificate" in joined.out
    assert "authorized_keys" not in joined.out
    return str(as_operator("cluster", "show", "raven", "--json").json["cluster"]["account"]["public_key"])


def test_from_a_file_and_until_it_has_ended(
    as_operator: Any, public: str, ca: SiteCa, house: House, tmp_path: Path
) -> None:
    assert "no certificate for it was given yet" in as_operator("cluster", "show", "raven").out
    place = tmp_path / "key-cert.pub"
    place.write_text(ca.sign(public, "olga", hours=12, serial=7))
    given = as_operator("cluster", "certify", "raven", str(place))
    assert given.code == 0 and "raven lets olga in by this certificate" in given.out and "22.05.8" in given.out
    shown = as_operator("cluster", "show", "raven").out
    assert "nothing is wrong" in shown and "serial 7, good until" in shown and "12 hours from now" in shown
    house.clock.advance(11 * 3600)  # type: ignore[attr-defined]
    assert "It ends soon." in as_operator("cluster", "show", "raven").out
    assert "olga, the certificate ends at" in as_operator("cluster", "list").out
    house.clock.advance(3600)  # type: ignore[attr-defined]
    over = as_operator("cluster", "show", "raven").out
    assert "certificate fails" in over and "Nobody signs in until you give a new one" in over
    assert "olga, the certificate ended at" in as_operator("cluster", "list").out
    refused = as_operator("cluster", "certify", "raven", str(place))
    assert refused.code != 0 and "it ended at" in refused.err and "nothing was saved" in refused.err
    left = as_operator("cluster", "leave", "raven").out
    assert "Nothing is to be deleted on raven" in left and "serial 7" in left and "authorized_keys" not in left


SIGNER = """
import shutil, sys
certificate, key, way = sys.argv[1:4]
assert open(key).read() == open(sys.argv[4]).read(), "the public key lies there"
if way == "beside":
    shutil.copy(certificate, key.removesuffix(".pub") + "-cert.pub")
elif way == "printed":
    print(open(certificate).read())
elif way == "fails":
    sys.exit(3)
"""


@pytest.mark.parametrize("way", ["beside", "printed", "fails", "nothing"])
def test_by_a_signer_that_runs_here(as_operator: Any, public: str, ca: SiteCa, tmp_path: Path, way: str) -> None:
    (tmp_path / "signer.py").write_text(SIGNER)
    (tmp_path / "made").write_text(ca.sign(public, "olga"))
    (tmp_path / "expected").write_text(public + "\n")
    words = [sys.executable, tmp_path / "signer.py", tmp_path / "made", "{key}", way, tmp_path / "expected"]
    given = as_operator("cluster", "certify", "raven", "--command", " ".join(map(str, words)))
    if way in ("beside", "printed"):
        assert given.code == 0 and "lets olga in" in given.out, given.err
    else:
        said = "ended with code 3; nothing was sent" if way == "fails" else "neither wrote key-cert.pub"
        assert given.code != 0 and said in given.err


def test_whoever_adds_a_cluster_is_told_the_three_ways_in_their_order(
    as_operator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "shown_key", lambda host, port: HOST_KEY)
    added = as_operator("cluster", "add", "crow", "login.crow.example.org", "--fingerprint", fingerprint(HOST_KEY)).out
    ways = [added.index(f"{at}. collegium cluster join crow LOGIN") for at in (1, 2, 3)]
    assert ways == sorted(ways) and "--agent: " in added and "--certificate: " in added


def test_ssh_keygen_itself_is_such_a_signer(as_operator: Any, public: str, house: House, tmp_path: Path) -> None:
    keygen = shutil.which("ssh-keygen")
    assert keygen is not None, "OpenSSH's client is part of what the tests need"
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "ca")], check=True)
    now = house.clock.now()
    times = f"{now:%Y%m%d%H%M%S}Z:{now.replace(hour=23):%Y%m%d%H%M%S}Z"
    signer = f"{keygen} -q -s {tmp_path / 'ca'} -I olga -n olga -V {times} {{key}}"
    given = as_operator("cluster", "certify", "raven", "--command", signer)
    assert given.code == 0 and "23:00" in given.out, given.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "Where is the certificate?"),
        (("a", "--command", "sign {key}"), "Where is the certificate?"),
        (("/nowhere/key-cert.pub",), "cannot be read"),
        (("--command", "sign"), "does not say where the public key goes"),
        (("--command", "sign '{key}"), "a quote that is not closed"),
        (("--command", "/nowhere/sign {key}"), "cannot be run"),
    ],
)
def test_what_cannot_be_a_certificate_is_told_before_the_hub_is_asked(
    as_operator: Any, public: str, words: tuple[str, ...], said: str
) -> None:
    refused = as_operator("cluster", "certify", "raven", *words)
    assert refused.code != 0 and said in refused.err


def test_only_an_account_by_certificates_takes_one(
    as_operator: Any, monkeypatch: pytest.MonkeyPatch, ca: SiteCa, tmp_path: Path
) -> None:
    monkeypatch.setattr(reaching, "shown_key", lambda host, port: HOST_KEY)
    as_operator("cluster", "add", "raven", "login.raven.example.org", "--fingerprint", fingerprint(HOST_KEY))
    assert "signs in by certificates" in as_operator("cluster", "certify", "raven", "--command", "x {key}").err
    assert "exclude each other" in as_operator("cluster", "join", "raven", "olga", "--agent", "--certificate").err
    as_operator("cluster", "join", "raven", "olga")
    (tmp_path / "cert").write_text(ca.sign((ca.folder / "ca.pub").read_text(), "olga"))
    assert "without a certificate" in as_operator("cluster", "certify", "raven", str(tmp_path / "cert")).err


def test_no_chat_takes_one() -> None:
    door = Door(lambda: HubClient("https://hub.test", "clg_test"), call="/collegium ")
    with pytest.raises(Problem, match="command of the shell"):
        receive(["cluster", "certify", "raven", "key-cert.pub"], door)
