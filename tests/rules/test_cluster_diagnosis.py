"""Every line a look at a cluster can end in, and what each says to do."""

from __future__ import annotations

from typing import Any

import pytest

from hub.jobs.clusters import diagnosis
from hub.jobs.clusters.diagnosis import Bound, Line, Refused, Seen
from hub.jobs.port import Standing

WELL: dict[str, str] = {
    "version": "22.05.8", "folder": "/s/jobs", "written": "yes", "space": "100000000 50000000", "files": "1000 900",
}  # fmt: skip
NOW = 1_700_000_000.0


def seen(**more: Any) -> Seen:
    known: dict[str, Any] = {"queue_seconds": 0.2, "clock_off": 0.0, "root": "/s/jobs", "signed_in": 0.5}
    return Seen(**(known | {"told": WELL | more.pop("told", {})} | more))


def of_site(**more: Any) -> dict[str, Line]:
    return {line.name: line for line in diagnosis.of_site("raven", seen(**more))}


def of_connection(**more: Any) -> dict[str, Line]:
    return {line.name: line for line in diagnosis.of_connection("raven", "anan", seen(**more))}


def of_hub(standing: Standing | None, **more: Any) -> dict[str, Line]:
    known: dict[str, Any] = {"kind": "key", "alive": 0, "watched": False, "now": NOW}
    return {line.name: line for line in diagnosis.of_hub(standing, **(known | more))}


def test_what_is_well_has_nothing_to_do() -> None:
    lines = [*of_connection().values(), *of_site().values(), *diagnosis.of_quota([])]
    assert {line.level for line in lines} == {"ok"} and not any(line.hint for line in lines)
    assert diagnosis.worst(lines) == "ok" == diagnosis.worst([])


@pytest.mark.parametrize(
    ("more", "name", "level", "words"),
    [
        ({"missing": ("sbatch",)}, "commands", "failed", "no sbatch"),
        ({"queue_said": "Unable to contact", "told": {"ping": "Slurmctld(primary) is DOWN"}}, "scheduler", "failed",
         "is DOWN"),
        ({"queue_seconds": None}, "scheduler", "failed", "does not answer"),
        ({"queue_seconds": 12.0}, "scheduler", "warning", "12 s"),
        ({"told": {"version": ""}}, "version", "failed", "does not say"),
        ({"told": {"version": "20.11.9"}}, "version", "warning", "older than the 22.05"),
        ({"told": {"AccountingStorageType": "accounting_storage/none"}}, "accounting", "warning", "no accounting"),
        ({"clock_off": 7.0}, "clock", "warning", "7 s ahead of"),
        ({"clock_off": -3600.0}, "clock", "failed", "60 minutes behind"),
        ({"told": {"written": "no dd: error: No space left on device"}}, "folder of jobs", "failed", "No space"),
        ({"told": {"written": "no mktemp: Permission denied"}}, "folder of jobs", "failed", "Permission denied"),
        ({"told": {"written": ""}}, "folder of jobs", "failed", "not tried"),
        ({"told": {"space": "1000000 1000"}}, "space", "warning", "1000.0 KiB of 976.6 MiB"),
        ({"told": {"files": "1000 3"}}, "space", "warning", "3 more files"),
    ],
)  # fmt: skip
def test_what_is_not_well_on_a_cluster(more: dict[str, Any], name: str, level: str, words: str) -> None:
    line = of_site(**more)[name]
    assert line.level == level and words in line.words and line.hint


@pytest.mark.parametrize(
    ("refused", "names"),
    [
        (Refused("unreachable", "no route"), ["reachable"]),
        (Refused("host_key", "another key"), ["reachable", "host key"]),
        (Refused("key", "does not accept"), ["reachable", "host key", "sign-in"]),
    ],
)
def test_what_keeps_one_out_comes_last_and_fails(refused: Refused, names: list[str]) -> None:
    lines = of_connection(refused=refused)
    assert list(lines) == names and [line.level for line in lines.values()] == ["ok"] * (len(names) - 1) + ["failed"]
    assert lines[names[-1]].hint


def test_who_has_seen_only_the_host_key_says_nothing_of_signing_in() -> None:
    assert list(of_connection(only_key=True)) == ["reachable", "host key"]
    assert of_connection(signed_in=20.0)["reachable"].level == "warning"


@pytest.mark.parametrize(
    ("standing", "more", "level", "words"),
    [
        (None, {}, "ok", "said nothing yet"),
        (None, {"kind": "agent"}, "warning", "not connected"),
        (None, {"kind": "agent", "alive": 1}, "failed", "not connected"),
        (None, {"alive": 2}, "failed", "2 of your jobs have not ended there. No agent"),
        (Standing(reached=True, at=NOW - 20), {"alive": 1, "watched": True}, "ok", "20 s ago: it reached"),
        (Standing(reached=True, at=NOW - 600), {"alive": 1, "watched": True}, "warning", "10 minutes ago"),
        (Standing(reached=False, said="no route", at=NOW), {"alive": 1, "watched": True}, "failed", "no route"),
    ],
)
def test_the_last_word_of_an_agent(standing: Standing | None, more: dict[str, Any], level: str, words: str) -> None:
    line = of_hub(standing, **more)["agent"]
    assert line.level == level and words in line.words


def test_a_cluster_that_is_left_alone_and_one_that_is_asked_too_often_are_told() -> None:
    assert of_hub(Standing(reached=True))["left alone"].level == "ok"
    away = of_hub(Standing(reached=False, said="no route", alone_until=NOW + 90))["left alone"]
    assert away.level == "warning" and "another 90 s" in away.words and "No route" in away.words
    assert of_hub(Standing(reached=False, alone_until=NOW - 1))["left alone"].level == "ok"
    never = of_hub(Standing(reached=False, said="another host key", alone_for_good=True))["left alone"]
    assert never.level == "failed" and "operator" in never.hint
    calls = of_hub(Standing(reached=True, per_minute={"squeue": 5, "sacct": 2, "submit": 40}))["calls per minute"]
    assert calls.level == "warning" and "squeue 5" in calls.words
    assert of_hub(Standing(reached=True, per_minute={"squeue": 6, "submit": 40}))["calls per minute"].level == "ok"


def test_only_quotas_that_are_close_or_used_up_are_told() -> None:
    def of(used: float, *, hard: bool = True, most: float = 10.0) -> list[Line]:
        return list(diagnosis.of_quota([Bound("you", "core hours", most, used, hard, "an operator")]))

    assert [line.level for line in of(1)] == ["ok"]
    assert [line.level for line in of(9)] == ["warning"]
    assert [line.level for line in of(10)] == ["failed"] == [line.level for line in of(0, most=0.0)]
    assert [line.level for line in of(12, hard=False)] == ["warning"]
    assert "10 of 10 core hours" in of(10)[0].words and "ask an operator" in of(10)[0].hint
