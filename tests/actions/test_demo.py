"""The walk of `make run`: which commands it gives, what it says at the end, and that it never does its work twice."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import pytest

from hub.core.house import House
from hub.demo import run
from hub.people import embedded, once
from tests.conftest import NOW

SESSION = "ana/hydrogen-chloride"
RESULTS = {
    "verdict": "pass",
    "made_with": {"python": "3.11.2", "numpy": "2.4.6"},
    "constants": [{"constant": "w_e", "value_cm1": 2989.8828, "uncertainty_cm1": 0.016}],
}


class Hub:
    """A command tree that answers by heart and remembers what it was told."""

    def __init__(self, *, failing: str = "") -> None:
        self.given: list[str] = []
        self.said: list[str] = []
        self.failing = failing
        self.sessions: list[dict[str, Any]] = []
        self.entries: list[dict[str, Any]] = []

    def __call__(self, words: Sequence[str], stdout: TextIO | None = None) -> int:
        line = shlex.join(words)
        self.given.append(line)
        if self.failing and line.startswith(self.failing):
            return 1
        verb = " ".join(words[:2])
        if verb == "session create":
            self.sessions.append({"name": SESSION, "url": "http://hub.test/s/" + SESSION})
        if verb == "artifact get":
            Path(words[words.index("--output") + 1]).write_text(
                json.dumps(RESULTS) if words[2] == "results.json" else "# H35Cl: constants\n\nwords\n"
            )
        if verb == "note sign":
            self.entries.append({"name": f"{SESSION}#n1", "url": "http://hub.test/entries/1", "signatures": 1})
        if stdout is not None:
            stdout.write(json.dumps(self._answer(verb)))
        return 0

    def _answer(self, verb: str) -> Any:
        job = {"id": "job_1", "state": "SUCCEEDED", "url": "http://hub.test/jobs/1"}
        output = {"path": "spectrum.png", "digest": "sha256:" + "ab" * 32, "size_bytes": 70_000}
        answers: dict[str, Any] = {
            "whoami --json": {"handle": "ana"},
            "session list": self.sessions,
            "session show": {"session": self.sessions[0] if self.sessions else None},
            "note list": {"entries": self.entries},
            "job list": {"jobs": [job] if self.entries else []},
            "job submit": job,
            "job status": {**job, "outputs": [output]},
            "note post": {"name": f"{SESSION}#n1", "title": "H35Cl: constants", "url": "http://hub.test/entries/1"},
            "key list": [],
            "link --json": {"url": "http://hub.test/signin", "secret": "s3cret", "expires": "2024-06-01T12:15:00Z"},
        }
        return answers.get(verb, {})


Walk = Callable[[Hub], str]


@pytest.fixture
def walk() -> Walk:
    def go(hub: Hub) -> str:
        hub.said.clear()
        run.carry_out(hub, hub.said.append, lambda: "the-code")
        return "\n".join(hub.said)

    return go


def test_the_whole_way_is_walked_in_order_and_ends_with_where_everything_is(walk: Walk) -> None:
    hub = Hub()
    said = walk(hub)
    order = ["session create", "job submit", "job watch job_1 --follow", "job status", "artifact get report.md",
             "note post", "key create", "window open the-code", "note sign", "window close", "share create",
             f"verify '{SESSION}#n1'", "verify", "link"]  # fmt: skip
    positions = [next(i for i, line in enumerate(hub.given) if line.startswith(words)) for words in order]
    assert positions[:-2] == sorted(positions[:-2])
    assert "http://hub.test/s/ana/hydrogen-chloride" in said
    assert "http://hub.test/signin/s3cret" in said
    assert "abababababababab" in said


def test_what_is_shown_hides_the_code_that_proves_presence(walk: Walk) -> None:
    assert "the-code" not in walk(Hub())


def test_the_entry_holds_the_figures_the_tables_the_lines_and_what_follows(walk: Walk) -> None:
    hub = Hub()
    walk(hub)
    post = shlex.split(next(line for line in hub.given if line.startswith("note post")))
    attached = {post[i + 1] for i, word in enumerate(post) if word == "--attach"}
    assert attached == set(run.ATTACHED)
    assert post[post.index("--conclusions") + 1].startswith("In cm-1: w_e = 2989.88 ± 0.02. They agree")
    assert {post[i + 1] for i, word in enumerate(post) if word == "--tool"} == {"python 3.11.2", "numpy 2.4.6"}


def test_a_second_run_does_nothing_again_and_gives_a_fresh_sign_in_link(walk: Walk) -> None:
    hub = Hub()
    walk(hub)
    hub.given.clear()
    said = walk(hub)
    assert [line.split(" --")[0] for line in hub.given] == ["whoami", "session list", "note list", "job list", "link"]
    assert "Nothing is done again" in said
    assert "http://hub.test/signin/s3cret" in said


@pytest.mark.parametrize("failing", ["session create", "job submit", "job watch", "note post", "note sign", "verify"])
def test_a_command_that_fails_ends_the_walk_with_its_words(walk: Walk, failing: str) -> None:
    hub = Hub(failing=failing)
    with pytest.raises(run.NotCarriedOut):
        walk(hub)
    assert not any(line.startswith("link") for line in hub.given)


def test_a_walk_that_was_cut_short_is_walked_again_in_the_same_session(walk: Walk) -> None:
    hub = Hub(failing="note post")
    with pytest.raises(run.NotCarriedOut):
        walk(hub)
    hub.failing = ""
    hub.given.clear()
    walk(hub)
    assert not any(line.startswith("session create") for line in hub.given)
    assert any(line.startswith("note sign") for line in hub.given)


def test_the_proof_of_presence_is_the_owners_and_good_once(house: House) -> None:
    house.db.write(lambda tx: embedded.make_first_people(tx, house))
    code = run.proof_of_presence(house)
    with house.db.read() as conn:
        owner = embedded.owner_id(conn)
    assert house.db.write(lambda tx: once.use(tx, code, "step_up", NOW, person=owner)).person == owner
    with pytest.raises(Exception, match="used or expired"):
        house.db.write(lambda tx: once.use(tx, code, "step_up", NOW, person=owner))


def test_every_file_that_is_named_is_there() -> None:
    assert (run.FOLDER / run.SCRIPT).is_file()
    assert (run.FOLDER / run.LINES).is_file()
