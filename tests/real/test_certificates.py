"""Certificates before a real sshd: what lets the hub in is kept, what does not is told in words of its own."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import random
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import asyncssh
import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.errors import Conflict, HubError, InvalidInput, NotFound, Unavailable
from hub.core.house import House
from hub.jobs import ssh
from hub.jobs.clusters import certificates, reaching
from hub.jobs.clusters import views as cluster_views
from hub.jobs.clusters.rules import fingerprint
from hub.jobs.clusters.tables import cluster_accounts, clusters
from hub.jobs.ssh import CertificateEnded, Certified, Connection, KeyRefused, Login
from tests.faults.storm import FakeCluster
from tests.real.user_ca import UserCa

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

Perform = Callable[..., Any]


@pytest.fixture
def box() -> Iterator[FakeCluster]:
    with FakeCluster("1") as made:
        calm = {"squeue_fails": 0, "squeue_slow": 0, "sacct_fails": 0, "sacct_lags": 0, "forgets_after": 60}
        made.write("knobs.json", {**made.knobs, **calm})
        made.keys.write_text("")  # nobody is let in by a key alone
        yield made


@pytest.fixture
def ca(box: FakeCluster) -> UserCa:
    return UserCa(box).trusted()


@pytest.fixture
def today(house: House) -> dt.datetime:
    """The hub's clock is the sshd's, and stands still until it is moved."""
    now = dt.datetime.now(dt.UTC)
    house.clock.set(now)  # type: ignore[attr-defined]
    return now


@pytest.fixture
def public(today: dt.datetime, perform: Perform, operator: Actor, ana: Actor, box: FakeCluster) -> str:
    """The key that is to be signed, of Ana's account on the cluster."""
    key = {"fingerprint": fingerprint(box.host_key), "path": [str(box.bin)]}
    perform(operator, "cluster_add", name="raven", host="127.0.0.1", port=box.port, **key)
    made = perform(ana, "cluster_join", cluster="raven", login=box.user, certificate=True)
    assert made["line"] == "" and made["public_key"].endswith(" collegium:ana@raven")
    return str(made["public_key"])


def row(house: House) -> Any:
    with house.db.read() as conn:
        return conn.execute(sa.select(cluster_accounts)).one()


def rows(house: House) -> tuple[Any, Any]:
    with house.db.read() as conn:
        return conn.execute(sa.select(clusters)).one(), conn.execute(sa.select(cluster_accounts)).one()


def certify(perform: Perform, ana: Actor, text: str) -> Any:
    return perform(ana, "cluster_certify", cluster="raven", certificate=text)


def test_a_certificate_lets_the_hub_in_and_is_kept(
    house: House, perform: Perform, ana: Actor, public: str, ca: UserCa
) -> None:
    with pytest.raises(Conflict, match="no certificate was given yet"):
        perform(ana, "cluster_test", cluster="raven")
    with pytest.raises(Unavailable, match="no tested account"):
        perform(ana, "job_submit", script="#!/bin/sh\n", job_type="slurm")
    made = certify(perform, ana, f"# signed today\n{ca.sign(public, '-z', '7')}\n")
    given = made["certificate"]
    assert (given["key_id"], given["serial"], given["state"]) == ("ana at the site", "7", "good")
    assert given["signer"] == fingerprint((ca.key.with_suffix(".pub")).read_text())
    assert made["tested"] is not None and made["standing"]["version"] == "99.fake"
    assert perform(ana, "cluster_test", cluster="raven")["tested"] is not None
    assert perform(ana, "job_submit", script="#!/bin/sh\n", job_type="slurm")["id"]


def test_the_key_alone_is_never_offered(house: House, perform: Perform, ana: Actor, public: str, ca: UserCa) -> None:
    """Even where somebody has listed it, which nobody was asked to do."""
    certify(perform, ana, ca.sign(public))
    ca.box.allow(public)
    ca.box.more = []
    ca.box.restart()
    with pytest.raises(Conflict, match="does not let") as refused:
        perform(ana, "cluster_test", cluster="raven")
    assert refused.value.code == "certificate_refused"


def other_key(ca: UserCa) -> str:
    return (ca.box.base / "client.pub").read_text()


BAD: dict[str, tuple[Callable[[UserCa, str], str], str, str]] = {
    "another key": (lambda ca, own: ca.sign(other_key(ca)), "certificate_other_key", "not for the one that this hub"),
    "another name": (
        lambda ca, own: ca.sign(own, login="bob,eve"),
        "certificate_other_login",
        "it is for bob, eve, and",
    ),
    "no name": (lambda ca, own: ca.sign(own, login=""), "certificate_other_login", "it is for nobody"),
    "ended": (lambda ca, own: ca.sign(own, valid="-2h:-1h"), "certificate_ended", "it ended at "),
    "not yet": (lambda ca, own: ca.sign(own, valid="+1h:+2h"), "certificate_not_yet", "by this hub's clock it is"),
    "of a host": (lambda ca, own: ca.sign(own, "-h"), "certificate_of_host", "certificate of a host"),
    "too long": (lambda ca, own: ca.sign(own, valid="-5m:+30d"), "certificate_too_long", "not short-lived"),
    "for ever": (lambda ca, own: ca.sign(own, valid="always:forever"), "certificate_too_long", "good for ever"),
    "a command": (
        lambda ca, own: ca.sign(own, "-O", "force-command=/bin/date"),
        "certificate_forces_command",
        "/bin/date",
    ),
    "an option": (lambda ca, own: ca.sign(own, "-O", "critical:x@y=1"), "certificate_option", "'x@y'"),
    "a key": (lambda ca, own: own, "certificate_unreadable", "this is a public key"),
    "garbage": (lambda ca, own: "hello", "certificate_unreadable", "no OpenSSH certificate"),
    "cut off": (lambda ca, own: ca.sign(own)[:300], "certificate_unreadable", "damaged"),
    "two of them": (lambda ca, own: ca.sign(own) * 2, "certificate_unreadable", "the one line"),
    "a private key": (lambda ca, own: ca.key.read_text(), "private_key_refused", "looks like a private key"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_sign_in_is_refused_with_its_own_words_and_nothing_is_saved(
    house: House, perform: Perform, ana: Actor, public: str, ca: UserCa, name: str
) -> None:
    make, code, said = BAD[name]
    before = row(house)
    with pytest.raises(InvalidInput) as refused:
        certify(perform, ana, make(ca, public))
    assert refused.value.code == code and said in f"{refused.value.message} {refused.value.hint}"
    assert row(house) == before


def test_a_certificate_whose_signature_is_another_ones_is_damaged(
    house: House, perform: Perform, ana: Actor, public: str, ca: UserCa
) -> None:
    kind, text = ca.sign(public).split()[:2]
    broken = bytearray(base64.b64decode(text))
    broken[-5] ^= 1
    with pytest.raises(InvalidInput, match="damaged"):
        certify(perform, ana, f"{kind} {__import__('base64').b64encode(bytes(broken)).decode()}")


@pytest.mark.parametrize("why", ["revoked", "signed by a stranger", "from elsewhere only"])
def test_what_the_cluster_refuses_is_told_and_not_saved(
    house: House, perform: Perform, ana: Actor, public: str, ca: UserCa, why: str
) -> None:
    signer, options, said = ca, (), "or it has revoked it"
    if why == "signed by a stranger":
        signer = UserCa(ca.box, "stranger")
    elif why == "from elsewhere only":
        options, said = ("-O", "source-address=203.0.113.0/24"), "may be used from 203.0.113.0/24 only"
    text = signer.sign(public, *options, "-z", "12")
    if why == "revoked":
        ca.revoke(text)
    before = row(house)
    with pytest.raises(Conflict) as refused:
        certify(perform, ana, text)
    assert refused.value.code == "certificate_refused" and "(serial 12)" in refused.value.message
    assert said in f"{refused.value.message} {refused.value.hint}" and row(house) == before
    assert fingerprint(signer.key.with_suffix(".pub").read_text()) in refused.value.hint


def test_one_that_is_refused_leaves_the_one_before_in_use(
    house: House, perform: Perform, ana: Actor, public: str, ca: UserCa
) -> None:
    certify(perform, ana, ca.sign(public, "-z", "1"))
    before = row(house)
    with pytest.raises(InvalidInput):
        certify(perform, ana, ca.sign(public, "-z", "2", valid="-2h:-1h"))
    assert row(house) == before
    assert certify(perform, ana, ca.sign(public, "-z", "3"))["certificate"]["serial"] == "3"


def test_it_is_given_for_ones_own_account_only(
    perform: Perform, ana: Actor, ben: Actor, public: str, ca: UserCa
) -> None:
    text = ca.sign(public)
    with pytest.raises(NotFound):
        certify(perform, ben, text)
    perform(ben, "cluster_join", cluster="raven", login=ca.box.user)
    with pytest.raises(Conflict, match="without a certificate"):
        certify(perform, ben, text)
    with pytest.raises(Conflict, match="this hub signs in by certificates"):
        perform(ana, "cluster_join", cluster="raven", login=ca.box.user)
    with pytest.raises(InvalidInput, match="needs no certificate"):
        perform(ana, "cluster_join", cluster="raven", login=ca.box.user, certificate=True, agent=True)


def test_sshd_itself_refuses_one_that_has_ended(ca: UserCa, box: FakeCluster) -> None:
    """Should the hub's clock be wrong."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    text = ca.sign(key.export_public_key().decode(), valid="-2h:-1h")
    certified = Certified(key, asyncssh.import_certificate(text), lambda: "")

    async def go() -> None:
        far = Connection(Login("127.0.0.1", box.user, (box.host_key,), box.port), certified)
        with pytest.raises(KeyRefused, match="does not accept the certificate"):
            await far.run("true")

    asyncio.run(go())


def test_nothing_is_begun_on_an_open_line_once_the_certificate_has_ended(
    house: House, perform: Perform, ana: Actor, public: str, ca: UserCa
) -> None:
    certify(perform, ana, ca.sign(public))

    async def go() -> None:
        far = reaching.connection_of(house, *rows(house))
        assert (await far.run("echo in")).out == b"in\n"
        begun = asyncio.create_task(far.run("sleep 1; echo whole", seconds=10))
        await asyncio.sleep(0.3)
        house.clock.advance(13 * 3600)  # type: ignore[attr-defined]
        with pytest.raises(CertificateEnded, match="ended at "):
            await far.run("touch must-not-be")
        with pytest.raises(CertificateEnded):
            async with far.stream("touch must-not-be"):
                pass
        with pytest.raises(CertificateEnded):
            await far.sftp()
        assert (await begun).out == b"whole\n", "what is under way comes to its end"
        assert far.breaker == ssh.Breaker(), "nobody was asked, so nobody is left alone"
        await far.close()

    asyncio.run(go())
    assert not (ca.box.home / "must-not-be").exists()


def test_giving_it_up_names_the_certificate_and_no_line(
    house: House, perform: Perform, ana: Actor, operator: Actor, public: str, ca: UserCa
) -> None:
    certify(perform, ana, ca.sign(public, "-z", "9"))
    left = perform(ana, "cluster_leave", cluster="raven")
    assert left["line"] == left["cleared"]["line"] == ""
    assert (
        "ana at the site (serial 9)" in left["cleared"]["certificate"] and "is erased" in left["cleared"]["certificate"]
    )
    kept = row(house)
    assert (kept.private_sealed, kept.certificate, kept.certificate_until) == (None, None, None)
    with house.scope(ana) as scope:
        assert cluster_views.erased(scope) == []
    gone = perform(operator, "cluster_remove", name="raven")
    assert not gone["cleared"]


def test_a_thousand_broken_certificates_are_refused_in_words(ca: UserCa, box: FakeCluster) -> None:
    public = (box.base / "client.pub").read_text()
    kind, text = ca.sign(public, "-O", "source-address=10.0.0.0/8").split()[:2]
    whole, chance = base64.b64decode(text), random.Random(7)
    for _ in range(1000):
        broken = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        broken = broken[: chance.choice([len(broken), chance.randrange(len(broken))])]
        if bytes(broken) == whole:
            continue
        with pytest.raises(HubError) as refused:
            certificates.read(f"{kind} {base64.b64encode(bytes(broken)).decode()}")
        assert refused.value.status == 400


def test_the_digest_of_the_authority_is_as_ssh_keygen_prints_it(ca: UserCa, box: FakeCluster) -> None:
    said = subprocess.run(["ssh-keygen", "-l", "-f", f"{ca.key}.pub"], capture_output=True, text=True, check=True)
    public = (box.base / "client.pub").read_text()
    assert certificates.read(ca.sign(public)).said.signer == said.stdout.split()[1]
