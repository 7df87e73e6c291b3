"""A mirror shows what it was told last, keeps what went, lists again what it lost, and says when it knows nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from hub.jobs.backends.kubernetes_api import ClusterAway, Refused
from hub.jobs.backends.mirror import REMEMBERED, REMEMBERED_SECONDS, STALE_SECONDS, Kind, marked, owned


def thing(name: str, version: int, **labels: str) -> dict[str, Any]:
    head = {"name": name, "uid": f"u-{name}", "resourceVersion": str(version), "labels": labels}
    return {"metadata": head | {"ownerReferences": [{"uid": "j"}]}}


class Cluster:
    """Answers lists and watches out of what a test wrote down; a watch that has no more ends the mirror's thread."""

    def __init__(self, stop: threading.Event, *watches: Any) -> None:
        self.stop, self.watches = stop, list(watches)
        self.lists: list[tuple[list[dict[str, Any]], str]] = []
        self.asked: list[str] = []

    def items(self, kind: str, **query: object) -> tuple[list[dict[str, Any]], str]:
        return self.lists.pop(0)

    def watch(self, kind: str, version: str, seconds: int, **query: object) -> Iterator[dict[str, Any]]:
        self.asked.append(version)
        for each in self.watches.pop(0):
            if isinstance(each, Exception):
                raise each
            yield each
        if not self.watches:
            self.stop.set()


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def followed(*watches: Any, lists: Any) -> tuple[Kind, Cluster, Clock]:
    stop, clock = threading.Event(), Clock()
    cluster = Cluster(stop, *watches)
    cluster.lists = list(lists)
    kind = Kind(cluster, "jobs", "x", clock)  # type: ignore[arg-type]
    kind.follow(stop)
    return kind, cluster, clock


def event(type_: str, each: dict[str, Any]) -> dict[str, Any]:
    return {"type": type_, "object": each}


def test_events_change_what_was_listed_and_the_watch_goes_on_from_the_last_of_them() -> None:
    bookmark = event("BOOKMARK", {"metadata": {"name": "", "resourceVersion": "9"}})
    first = [event("ADDED", thing("b", 6)), event("MODIFIED", thing("a", 7)), event("DELETED", thing("b", 8)), bookmark]
    kind, cluster, _ = followed(first, [], lists=[([thing("a", 4)], "5")])
    assert {name: each["metadata"]["resourceVersion"] for name, each in kind.all().items()} == {"a": "7"}
    assert [each["metadata"]["name"] for each in kind.gone()] == ["b"]
    assert cluster.asked == ["5", "9"]
    assert kind.lists == 1


@pytest.mark.parametrize("lost", [Refused(410, "too old"), Refused(500, "x"), RuntimeError("a fault of ours")])
def test_what_is_lost_is_listed_again(lost: Exception) -> None:
    kind, cluster, _ = followed([lost], [], lists=[([thing("a", 4)], "5"), ([thing("b", 50)], "51")])
    assert list(kind.all()) == ["b"]
    assert cluster.asked == ["5", "51"] and kind.lists == 2


def test_a_connection_that_breaks_off_goes_on_where_it_was_and_lists_nothing() -> None:
    broken = [event("ADDED", thing("b", 6)), ClusterAway("cut")]
    kind, cluster, _ = followed(broken, [], lists=[([], "5")])
    assert list(kind.all()) == ["b"]
    assert cluster.asked == ["5", "6"] and kind.lists == 1


def test_silence_for_too_long_is_no_knowledge() -> None:
    kind, _, clock = followed([], lists=[([thing("a", 4)], "5")])
    clock.now += STALE_SECONDS
    assert list(kind.all()) == ["a"]
    clock.now += 1
    with pytest.raises(ClusterAway):
        kind.all()


def test_before_anything_was_heard_nothing_is_shown() -> None:
    with pytest.raises(ClusterAway):
        Kind(Cluster(threading.Event()), "jobs", "x").all()  # type: ignore[arg-type]


def test_why_nothing_is_heard_is_said_until_something_is() -> None:
    kind, _, clock = followed([Refused(401, "Unauthorized")], [], lists=[([], "5"), ([], "6")])
    assert kind.said == ""  # it was listed again since
    kind.said = "Unauthorized"
    clock.now += STALE_SECONDS + 1
    with pytest.raises(ClusterAway, match="for a while: Unauthorized"):
        kind.all()


def test_what_went_is_remembered_for_a_while_and_not_without_bounds() -> None:
    many = [event("DELETED", thing(f"p{number}", number + 6)) for number in range(REMEMBERED + 5)]
    kind, _, clock = followed(many, lists=[([], "5")])
    assert len(kind.gone()) == REMEMBERED
    clock.now += REMEMBERED_SECONDS
    assert kind.gone() == []


def test_pods_are_found_by_their_owner_and_by_their_labels() -> None:
    one, other = thing("a", 1, job="1", run="1"), thing("b", 2, job="1", run="2")
    other["metadata"]["ownerReferences"] = [{"uid": "k"}]
    assert owned({"a": one, "b": other}, "j") == [one]
    assert marked([one, other], {"job": "1", "run": "2"}) == [other]
    assert marked([{"metadata": {}}], {"job": "1"}) == []
