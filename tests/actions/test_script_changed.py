"""A script that somebody else changed runs only when its submitter has seen the change."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from hub.artifacts import leases
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import Conflict, HubError
from hub.core.house import House
from hub.jobs.tables import jobs
from hub.ledger.tables import ledger
from tests.actions.test_jobs import _grant, count, job_of
from tests.actions.test_orchestrator import ask, carry_on, show, states

Perform = Callable[..., Any]


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class Lab:
    """A session of Ana's that Ben writes in as well."""

    def __init__(self, house: House, perform: Perform, ana: Actor, ben: Actor) -> None:
        self.house, self._perform, self.ana, self.ben = house, perform, ana, ben
        perform(ana, "session_create", name="lab")
        house.db.write(_grant(house, "ana", "lab", ben))
        with house.scope(ana) as scope:
            self.id = scope.access.session("lab", "job:submit")

    def write(self, by: Actor, data: bytes, path: str = "fit.py") -> None:
        blob = leases.keep(self.house, self.id, [data], owner=by.id, filename=path)
        self._perform(by, "artifact_versioning", session_id=self.id, artifact_path=path, digest=blob.digest)

    def submit(self, by: Actor, script: str = "fit.py", **params: Any) -> dict[str, Any]:
        made: dict[str, Any] = self._perform(by, "job_submit", session_id=self.id, script=script, **params)
        return made

    def refused(self, by: Actor, script: str = "fit.py", **params: Any) -> HubError:
        with pytest.raises(Conflict) as caught:
            self.submit(by, script, **params)
        assert caught.value.code == "script_changed"
        return caught.value


@pytest.fixture
def lab(house: House, perform: Perform, ana: Actor, ben: Actor) -> Lab:
    return Lab(house, perform, ana, ben)


def test_a_script_changed_by_somebody_else_is_asked_about_with_the_diff_and_runs_once_confirmed(
    lab: Lab, ana: Actor, ben: Actor
) -> None:
    lab.write(ana, b"print(1)\n")
    lab.submit(ana)
    lab.write(ben, b"print(2)\n")
    before = count(lab.house, ledger)
    error = lab.refused(ana)
    assert count(lab.house, ledger) == before
    assert error.message.startswith("Ben changed fit.py since you last saw it: you saw version 1, now it is version 2")
    assert (error.path, error.errors) == (
        "$.params.script",
        (f"$.params.script: fit.py@2 by Ben is {digest(b'print(2)' + bytes([10]))}",),
    )
    [told] = error.facts["scripts"]
    assert told["diff"].split("\n") == [
        "--- fit.py@1", "+++ fit.py@2", "@@ -1 +1 @@", "-print(1)", "+print(2)",
    ]  # fmt: skip
    assert (told["seen"]["by"], told["now"]["by"], told["confirm"]) == ("Ana", "Ben", digest(b"print(2)\n"))
    made = lab.submit(ana, confirm=told["confirm"])
    assert job_of(lab.house, ana, made["id"]).script.digest == told["confirm"]
    lab.submit(ana)  # it ran, so it has been seen


@pytest.mark.parametrize("how", ["bare digest", "a list"])
def test_a_digest_is_confirmed_however_it_is_written(lab: Lab, ana: Actor, ben: Actor, how: str) -> None:
    lab.write(ana, b"1")
    lab.write(ben, b"2")
    bare = hashlib.sha256(b"2").hexdigest()
    lab.submit(ana, confirm=bare if how == "bare digest" else [f"sha256:{bare}"])


def test_a_digest_that_is_not_the_newest_confirms_nothing(lab: Lab, ana: Actor, ben: Actor) -> None:
    lab.write(ana, b"1")
    lab.write(ben, b"2")
    seen = digest(b"2")
    lab.write(ben, b"3")
    assert "+3" in lab.refused(ana, confirm=seen).facts["scripts"][0]["diff"]


def test_nobody_is_asked_about_what_they_made_ran_or_never_saw(lab: Lab, ana: Actor, ben: Actor) -> None:
    lab.write(ana, b"1")
    lab.submit(ben)  # never saw another: he chose it as it is
    lab.write(ben, b"2")
    lab.submit(ben)  # his own
    lab.write(ana, b"2")
    lab.submit(ben)  # the same bytes
    lab.write(ana, b"3")
    lab.refused(ben)
    lab.submit(ben, "fit.py@3")  # he named the version
    lab.submit(ben, "#!/bin/sh\necho written out\n")
    lab.refused(ben)
    lab.write(ben, b"4")
    lab.submit(ben)


def test_a_script_that_was_put_back_to_what_ran_long_ago_has_changed_all_the_same(
    lab: Lab, ana: Actor, ben: Actor
) -> None:
    lab.write(ana, b"1")
    lab.submit(ben)
    lab.write(ana, b"2")
    lab.submit(ben, confirm=digest(b"2"))
    lab.write(ana, b"1")
    assert lab.refused(ben).facts["scripts"][0]["seen"]["number"] == 2


def test_every_changed_script_of_a_workflow_is_told_in_one_answer(
    lab: Lab, perform: Perform, ana: Actor, ben: Actor
) -> None:
    for path in ("one.py", "two.py", "three.py"):
        lab.write(ana, b"1", path)
    for path in ("one.py", "two.py"):
        lab.write(ben, b"2" + path.encode(), path)
    steps = [{"step": path, "script": path} for path in ("one.py", "three.py", "two.py", "one.py")]
    steps[3]["step"] = "again"
    with pytest.raises(Conflict, match="2 more scripts changed as well") as caught:
        perform(ana, "job_submit", session_id=lab.id, workflow=steps)
    told = caught.value.facts["scripts"]
    assert [(each["step"], each["path"], each["where"]) for each in told] == [
        ("one.py", "one.py", "$.params.workflow[0].script"),
        ("two.py", "two.py", "$.params.workflow[2].script"),
        ("again", "one.py", "$.params.workflow[3].script"),
    ]
    assert told[2]["diff"] == "(as above)"
    with pytest.raises(Conflict):
        perform(ana, "job_submit", session_id=lab.id, workflow=steps, confirm=[told[0]["confirm"]])
    perform(ana, "job_submit", session_id=lab.id, workflow=steps, confirm=[each["confirm"] for each in told])


def test_a_change_of_bytes_that_are_no_text_is_said_in_words(lab: Lab, ana: Actor, ben: Actor) -> None:
    lab.write(ana, b"#!/bin/sh\n")
    lab.write(ben, b"\x7fELF\0\0")
    assert lab.refused(ana).facts["scripts"][0]["diff"] == "(not text: 10 bytes before, 6 now)"


def test_an_experiment_asks_when_it_starts_and_what_was_confirmed_holds_when_its_node_submits(
    lab: Lab, clock: FrozenClock, perform: Perform, ana: Actor, ben: Actor
) -> None:
    lab.write(ana, b"print(1)\n")
    lab.write(ben, b"print(2)\n")
    node = {"tool": "distributed_collaboration", "action": "job_submit", "script": "fit.py", "retries": 1}
    with pytest.raises(Conflict, match=r"Ben changed fit\.py") as caught:
        ask(perform, ana, [node], session_id=lab.id)
    assert caught.value.path == "$.params.dag[0]"
    new = digest(b"print(2)\n")
    begun = ask(perform, ana, [node], session_id=lab.id, confirm=new)
    carry_on(lab.house, clock)
    assert states(show(lab.house, ana, begun["experiment"])) == ["RUNNING", "RUNNING"]
    assert count(lab.house, jobs) == 1
    perform(ana, "experiment_cancel", experiment=begun["experiment"])
    again = ask(perform, ana, None, resume=begun["experiment"])  # it ran, so it has been seen
    assert again["state"] == "RUNNING"


def test_a_script_that_is_changed_after_an_experiment_began_ends_its_node_and_runs_nothing(
    lab: Lab, clock: FrozenClock, perform: Perform, ana: Actor, ben: Actor
) -> None:
    lab.write(ana, b"print(1)\n")
    begun = ask(
        perform, ana, [{"tool": "distributed_collaboration", "action": "job_submit", "script": "fit.py"}],
        session_id=lab.id,
    )  # fmt: skip
    lab.write(ben, b"print(2)\n")
    carry_on(lab.house, clock)
    shown = show(lab.house, ana, begun["experiment"])
    assert states(shown) == ["FAILED", "FAILED"] and shown.nodes[0].words.startswith("Ben changed fit.py")
    assert count(lab.house, jobs) == 0
