"""When a certificate is warned of, whatever its length; and what is said while one is good, ending, ended."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from hub.jobs.clusters import doctor
from hub.jobs.clusters.doctor import Work
from hub.jobs.clusters.rules import Certificate, moment, warned_at
from hub.jobs.clusters.views import AccountView, CertificateView, ClusterView
from hub.jobs.port import Standing

NOW = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("length", "before"),
    [
        (dt.timedelta(minutes=10), dt.timedelta(minutes=5)),
        (dt.timedelta(hours=1), dt.timedelta(minutes=30)),
        (dt.timedelta(hours=2), dt.timedelta(hours=1)),
        (dt.timedelta(hours=4), dt.timedelta(hours=1)),
        (dt.timedelta(hours=10), dt.timedelta(hours=2)),
        (dt.timedelta(days=5), dt.timedelta(days=1)),
        (dt.timedelta(), dt.timedelta()),
        (dt.timedelta(hours=-1), dt.timedelta()),
    ],
)
def test_it_is_told_an_hour_or_a_fifth_before_and_never_in_the_first_half(
    length: dt.timedelta, before: dt.timedelta
) -> None:
    assert warned_at(NOW, NOW + length) == NOW + length - before


def test_a_moment_means_the_same_everywhere() -> None:
    elsewhere = NOW.astimezone(dt.timezone(dt.timedelta(hours=-5)))
    assert moment(elsewhere) == moment(NOW) == "2026-03-01 12:00 UTC"


def test_a_certificate_without_an_id_is_shown_by_its_serial() -> None:
    one = Certificate(line="", key_id="", serial="3", principals=(), signer="", begins=NOW, ends=NOW)
    assert one.shown == "without an id (serial 3)"


def found(state: Any, ends: dt.datetime = NOW, alive: int = 0, **more: Any) -> dict[str, doctor.Finding]:
    given = None
    if state is not None:
        names = {"key_id": "ana", "serial": "7", "signer": "SHA256:x", "principals": ("ana",), "begins": NOW}
        given = CertificateView(**names, ends=ends, warned=NOW, state=state, **more)
    tested = None if state is None else NOW
    mine = AccountView(
        account="acc", cluster="raven", login="ana", line="", tested=tested, kind="certificate", certificate=given,
        standing=Standing(reached=True, version="22.05"),
    )  # fmt: skip
    one = ClusterView(
        cluster="cl", name="raven", kind="slurm", host="h", port=22, fingerprints=("SHA256:y",), account=mine
    )
    return {each.name: each for each in doctor.findings(one, Work(alive=alive), NOW)}


def test_before_the_first_one_there_is_something_to_do() -> None:
    told = found(None)
    assert told["your account"].holds is None and "signed by your site for ana" in told["your account"].hint
    assert "certificate" not in told


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (dt.timedelta(seconds=5), "1 minute from now"),
        (dt.timedelta(minutes=90), "90 minutes from now"),
        (dt.timedelta(hours=12), "12 hours from now"),
        (dt.timedelta(days=6), "6 days from now"),
    ],
)
def test_a_good_one_says_how_long(left: dt.timedelta, said: str) -> None:
    told = found("good", NOW + left, addresses=("10.0.0.0/8",))["certificate"]
    assert told.holds is True and said in told.words and "from 10.0.0.0/8 only" in told.words


def test_one_that_ends_is_told_with_what_to_do_and_the_rest_is_still_looked_at() -> None:
    told = found("ending", NOW + dt.timedelta(minutes=30))
    assert told["certificate"].holds is None and "It ends soon." in told["certificate"].hint
    assert told["connection"].holds is True


@pytest.mark.parametrize("alive", [0, 1, 2])
def test_when_it_has_ended_nothing_else_is_claimed(alive: int) -> None:
    told = found("ended", alive=alive)
    assert told["certificate"].holds is False and "until you give a new one" in told["certificate"].words
    assert "connection" not in told and "scheduler" not in told
    assert told["jobs"].holds is (None if alive else True)
    if alive:
        whom = "it" if alive == 1 else "them"
        assert f"sees what became of {whom}" in told["jobs"].hint and "as far as the hub knows" in told["jobs"].words
