"""Every line a look at a Kubernetes cluster can end in, and what each says to do; and what is said without a look."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from hub.jobs.clusters import doctor, kubernetes_diagnosis, kubernetes_rules
from hub.jobs.clusters.diagnosis import Line
from hub.jobs.clusters.doctor import Finding, Work
from hub.jobs.clusters.kubernetes_diagnosis import Refused, Seen
from hub.jobs.clusters.views import ClusterView, ServiceView
from hub.jobs.port import Standing

NOW = dt.datetime(2026, 11, 30, 12, tzinfo=dt.UTC)


def service(**more: Any) -> ServiceView:
    known: dict[str, Any] = {"server": "https://k.example:6443", "login": "collegium-hub", "namespace": "jobs"}
    known |= {"claim": "workspace", "image": "", "attested": NOW, "every_session": True, "tested": NOW}
    return ServiceView(**(known | more))


def seen(**more: Any) -> Seen:
    known: dict[str, Any] = {"seconds": 0.1, "version": "v1.34.4", "clock_off": 0.0, "wrote": True}
    known |= {"told": {"space": "100000000 50000000", "files": "1000000 900000"}, "nodes": (3, 3)}
    return Seen(**(known | more))


def lines(of: ServiceView | None = None, **more: Any) -> dict[str, Line]:
    found = kubernetes_diagnosis.of_cluster("harbour", of or service(), seen(**more), NOW)
    return {each.name: each for each in found}


def findings(of: ServiceView, work: Work | None = None) -> dict[str, Finding]:
    one = ClusterView(
        cluster="cl", name="harbour", kind="kubernetes", host="k.example", port=6443, fingerprints=("AB:CD",),
        service=of,
    )  # fmt: skip
    return {each.name: each for each in doctor.findings(one, work or Work(), NOW)}


def test_what_is_well_has_nothing_to_do() -> None:
    found = lines()
    assert {line.level for line in found.values()} == {"ok"} and not any(line.hint for line in found.values())
    assert list(found) == [
        "API server", "certificate", "token", "version", "clock", "rights", "workspace", "space", "nodes",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("more", "name", "level", "words"),
    [
        ({"seconds": 9.0}, "API server", "warning", "9.0 s"),
        ({"version": "v1.27.3"}, "version", "warning", "older than 1.29"),
        ({"version": ""}, "version", "warning", "does not say"),
        ({"clock_off": 600.0}, "clock", "failed", "10 minutes ahead"),
        ({"missing": ("make Jobs (create jobs)",), "wrote": False}, "rights", "failed", "may not make Jobs"),
        ({"workspace": "no porter can be had", "wrote": False}, "workspace", "failed", "No porter can be had"),
        ({"told": {"space": "2048 100"}}, "space", "warning", "2.0 MiB"),
        ({"nodes": (2, 3)}, "nodes", "warning", "2 of 3"),
        ({"nodes": (0, 3)}, "nodes", "failed", "0 of 3"),
    ],
)
def test_what_is_not_well_is_told_with_what_to_do(more: dict[str, Any], name: str, level: str, words: str) -> None:
    found = lines(**more)
    assert (found[name].level, words in found[name].words, bool(found[name].hint)) == (level, True, True), found[name]
    assert {each.level for other, each in found.items() if other != name} == {"ok"}


@pytest.mark.parametrize(
    ("why", "last"), [("unreachable", "API server"), ("authority", "certificate"), ("token", "token")]
)
def test_behind_a_refusal_nothing_is_claimed(why: Any, last: str) -> None:
    found = lines(refused=Refused(why, "it said no", "do this"))
    assert list(found)[-1] == last and found[last].level == "failed" and "It said no" in found[last].words
    assert [each.level for each in found.values()] == ["ok"] * (len(found) - 1) + ["failed"]


def test_a_refusal_that_nobody_thought_of_is_told_as_it_was_said() -> None:
    found = lines(refused=Refused("refused", "the server is being converted"))
    assert found["API server"].level == "failed" and "being converted" in found["API server"].words


def test_a_hub_with_no_right_at_all_is_asked_whether_the_namespace_is_there() -> None:
    every = tuple(kubernetes_rules.in_words(kind, verb) for _, kind, verb in kubernetes_rules.wanted())
    assert "Is the namespace jobs there" in lines(missing=every)["rights"].hint
    assert "Is the namespace" not in lines(missing=every[1:])["rights"].hint


def test_a_token_that_lapses_soon_is_told_of_before_and_the_hubs_own_cluster_has_none() -> None:
    assert lines(service(token_until=NOW + dt.timedelta(days=31)))["token"].level == "ok"
    soon = lines(service(token_until=NOW + dt.timedelta(days=29)))["token"]
    assert soon.level == "warning" and "2026-12-29" in soon.words and "--account-token" in soon.hint
    own = lines(service(server=""))
    assert "its own pod" in own["token"].words and "certificate" not in own


def test_a_cluster_that_was_not_tried_and_how_often_it_is_asked_are_told() -> None:
    told = {"alive": 0, "watched": False, "now": NOW.timestamp()}
    found = {each.name: each for each in kubernetes_diagnosis.of_hub(service(tested=None), **told)}  # type: ignore[arg-type]
    assert found["tried"].level == "warning" and "calls per minute" not in found
    stands = Standing(reached=True, per_minute={"exec": 60, "jobs": 2}, at=NOW.timestamp())
    found = {each.name: each for each in kubernetes_diagnosis.of_hub(service(standing=stands), **told)}  # type: ignore[arg-type]
    assert found["calls per minute"].words == "Exec 60, jobs 2." and "tried" not in found


def test_without_a_look_nobody_is_told_to_sign_up_where_the_hub_has_one_account_for_all() -> None:
    stands = Standing(reached=True, version="v1.34.4", per_minute={"exec": 60})
    found = findings(service(standing=stands))
    assert all(each.holds for each in found.values()) and "your account" not in found and "host key" not in found
    assert found["authority"].words == "Pinned: AB:CD." and found["version"].words == "Kubernetes v1.34.4."
    away = findings(service(standing=Standing(reached=False, said="nobody answers")), Work(alive=2))
    assert away["connection"].holds is False and "pods that have started run on" in away["connection"].hint
    assert away["jobs"].holds is False
    assert findings(service(tested=None))["hub's account"].holds is None
    assert findings(service(token_until=NOW))["token"].holds is False
    assert findings(service(token_until=NOW + dt.timedelta(days=3)))["token"].holds is None
