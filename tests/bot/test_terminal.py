"""What reaches a terminal or a pipe: full lines off a terminal, a card on one, and no byte a name could smuggle in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bot.problems import CONFLICT, NOT_FOUND, NOT_SIGNED_IN, OTHER, UNAVAILABLE, USAGE
from tests.bot.conftest import Shell
from tests.bot.fake_hub import Answer, FakeHub, digest, job, problem, refuses, session

HOSTILE = "<b>x</b>[red]\x1b[2J\u202e\nname"
CLOCK = re.compile(r"\d\d:\d\d:\d\d|\d{4}-\d\d-\d\d \d\d:\d\d")


@pytest.fixture
def hub() -> FakeHub:
    fake = FakeHub()
    fake.views["/api/jobs/12"] = job(12, "SUCCEEDED", exit_code=0, outputs=[{"path": "band.svg"}, {"path": "c.json"}])
    fake.views["/api/jobs/job_12"] = fake.views["/api/jobs/12"]
    return fake


def without_times(lines: list[str]) -> list[str]:
    return [CLOCK.sub("TIME", line) for line in lines]


def now_and_then(hub: FakeHub, *states: dict[str, Any]) -> None:
    """The job's states, one for each time it is asked for."""
    coming = list(states)

    def next_state(request: httpx.Request) -> Answer | None:
        if request.method == "GET" and request.url.path == "/api/jobs/job_12":
            hub.views["/api/jobs/job_12"] = coming.pop(0) if len(coming) > 1 else coming[0]
        hub.faults.append(next_state)
        return None

    hub.faults = [next_state]


def test_off_a_terminal_every_fact_is_a_full_line(shell: Shell, hub: FakeHub) -> None:
    ran = shell("job", "status", "12", transport=hub)
    assert (ran.code, ran.err) == (0, "")
    assert without_times(ran.lines) == [
        "job 12 “fit” succeeded after 9 min 41 s, 2 outputs",
        "where: local",
        "submitted: by Ana at TIME",
        "ran: 9 min 41 s",
        "exit code: 0",
        "outputs: band.svg and c.json",
        "page: http://hub.test/jobs/job_12",
    ]


@pytest.mark.parametrize("how", [{"term": "dumb"}, {"term": ""}, {"COLLEGIUM_PLAIN": "1"}])
def test_a_terminal_that_cannot_redraw_gets_the_same_lines(shell: Shell, hub: FakeHub, how: dict[str, Any]) -> None:
    piped = shell("job", "status", "12", transport=hub)
    assert shell("job", "status", "12", transport=hub, is_terminal=True, **how) == piped
    assert shell("--plain", "job", "status", "12", transport=hub, is_terminal=True) == piped
    assert shell("job", "status", "12", "--plain", transport=hub, is_terminal=True) == piped
    assert "\x1b" not in piped.out


def test_on_a_terminal_the_state_is_shape_and_word_beside_its_colour(shell: Shell, hub: FakeHub) -> None:
    ran = shell("job", "status", "12", transport=hub, is_terminal=True)
    assert "✓ Succeeded" in re.sub(r"\x1b\[[0-9;]*m", "", ran.out)
    assert "job logs 12" in ran.out and "artifact get ana/personal:band.svg" in ran.out


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_name_is_text_whatever_is_in_it(shell: Shell, hub: FakeHub, is_terminal: bool) -> None:
    hub.views["/api/jobs"] = {"jobs": [job(12, "RUNNING", name=HOSTILE, reason=HOSTILE)], "cursor": None}
    hub.views["/api/jobs/12"] = job(12, "FAILED", name=HOSTILE, reason=HOSTILE, notes=[HOSTILE])
    for words in (("job", "list"), ("job", "status", "12")):
        out = re.sub(r"\x1b\[[0-9;]*m", "", shell(*words, transport=hub, is_terminal=is_terminal).out)
        assert (
            "<b>x</b>[red]\ufffd[2J\ufffd name" in out.replace("\n", " ").replace("  ", " ") or "<b>x</b>[red]" in out
        )
        assert "\x1b" not in out and "\u202e" not in out


def test_json_is_the_hubs_answer_and_a_problem_is_json_beside_it(shell: Shell, hub: FakeHub) -> None:
    ran = shell("job", "status", "12", "--json", transport=hub)
    assert ran.json["ref"] == "ana/personal#12" and ran.json["state"] == "SUCCEEDED"
    failed = shell("--json", "job", "status", "99", transport=hub)
    assert failed.out == "" and failed.code == NOT_FOUND
    assert '"code":"not_found"' in failed.err and '"exit_code":5' in failed.err


def test_watching_tells_each_state_once_and_its_exit_code_how_it_ended(shell: Shell, hub: FakeHub) -> None:
    began = (datetime.now(UTC) - timedelta(seconds=5)).isoformat()
    running = {"started_at": began, "reason": "Running."}
    now_and_then(
        hub,
        job(12, "QUEUED"),
        job(12, "RUNNING", **running, progress={"fraction": 0.31, "said": "31 of 100"}),
        job(12, "RUNNING", **running, progress={"fraction": 0.33, "said": "33 of 100"}),
        job(12, "FAILED", reason="It ended with exit code 3.", exit_code=3),
    )
    hub.views["/api/jobs/12"] = job(12)
    ran = shell("job", "watch", "12", transport=hub)
    assert without_times(ran.lines) == [
        "TIME job 12 “fit” queued, Next in the queue",
        "TIME job 12 “fit” running on local, 31 %, 31 of 100",
        "TIME job 12 “fit” failed after 9 min 41 s, It ended with exit code 3",
    ]
    assert ran.code == OTHER


def test_a_job_is_watched_in_json_without_a_word_until_it_ends(shell: Shell, hub: FakeHub) -> None:
    now_and_then(hub, job(12, "RUNNING"), job(12, "SUCCEEDED"))
    hub.views["/api/jobs/12"] = job(12)
    ran = shell("job", "watch", "12", "--json", transport=hub)
    assert ran.json["state"] == "SUCCEEDED" and ran.code == 0


def test_following_writes_the_log_between_the_states(shell: Shell, hub: FakeHub, here: Path) -> None:
    hub.results["job_submit"] = job(12)
    hub.log = b"one\r\ntwo 1%\rtwo 99%\nlast without an end"
    (here / "run.sh").write_text("true\n")
    hub.results["artifact_versioning"] = {"artifact": "art_1", "path": "run.sh", "number": 1}
    ran = shell("job", "submit", "run.sh", "--follow", transport=hub)
    assert ran.code == 0
    assert [line for line in ran.lines if not CLOCK.match(line)] == ["one", "two 99%", "last without an end"]


def test_while_the_hub_restarts_a_watcher_waits(shell: Shell, hub: FakeHub) -> None:
    hub.views["/api/jobs/12"] = job(12)
    hub.views["/api/jobs/job_12"] = job(12, "RUNNING")

    def back(request: httpx.Request) -> Answer | None:
        hub.views["/api/jobs/job_12"] = job(12, "SUCCEEDED")
        return None

    pass_on = lambda request: None  # noqa: E731
    hub.faults = [pass_on, pass_on, pass_on, refuses, back]
    ran = shell("job", "watch", "12", transport=hub)
    assert ran.code == 0 and "succeeded" in ran.lines[-1]


def test_a_log_goes_into_a_pipe_byte_for_byte(here: Path, tmp_path: Path, hub: FakeHub) -> None:
    from bot.commands import tree
    from bot.terminal import receive

    hub.log = bytes(range(256)) + b"\r\n\xff no end"
    out = (tmp_path / "out").open("w", encoding="ascii")
    environ = {"COLLEGIUM_HUB": "http://hub.test", "COLLEGIUM_TOKEN": "clg_x", "HOME": str(tmp_path)}
    with out:
        assert receive(tree, ["job", "logs", "12"], environ=environ, stdout=out, here=here, transport=hub) == 0
    assert (tmp_path / "out").read_bytes() == hub.log


def test_a_log_on_a_terminal_cannot_command_it(shell: Shell, hub: FakeHub) -> None:
    hub.log = b"\x1b[31mred\x1b[0m\x1b[2J\x1b]0;title\x07\n\xff\x9bend"
    assert shell("job", "logs", "12", transport=hub, is_terminal=True).out == "\x1b[31mred\x1b[0m\n\ufffd\ufffdend\n"


def test_the_end_of_a_log(shell: Shell, hub: FakeHub) -> None:
    hub.log = b"1\n2\n3\n4"
    assert shell("job", "logs", "12", "--tail", "2", transport=hub).lines == ["3", "4"]
    assert shell("job", "logs", "12", "--offset", "4", transport=hub).lines == ["3", "4"]


ARTIFACT = {"id": "art_1", "path": "out/band.svg", "number": 3, "digest": digest(b"<svg/>"), "size": 6}


def test_a_file_comes_whole_or_not_at_all(shell: Shell, hub: FakeHub, here: Path) -> None:
    hub.views["/api/artifacts/ana/personal:out/band.svg"] = ARTIFACT
    get = ("artifact", "get", "out/band.svg")
    content: list[bytes] = [b"<svg/>"]

    def serves(request: httpx.Request) -> Answer | None:
        hub.faults.append(serves)
        if not request.url.path.endswith("/content"):
            return None
        return httpx.Response(200, content=content[0])

    hub.faults = [serves]
    ran = shell(*get, transport=hub)
    assert ran.lines == ["Saved band.svg, 6 B, digest verified."]
    assert (here / "band.svg").read_bytes() == b"<svg/>"
    assert shell(*get, transport=hub).code == CONFLICT
    assert shell(*get, "--force", transport=hub).code == 0
    assert shell(*get, "-o", "-", transport=hub).out == "<svg/>"
    content[0] = b"<SVG/>"
    spoiled = shell(*get, "-o", "new/b.svg", transport=hub)
    assert spoiled.code == UNAVAILABLE and "not band.svg" in spoiled.err
    assert sorted(path.name for path in here.rglob("*")) == ["band.svg", "new"]


@pytest.mark.parametrize(
    ("answer", "code", "said"),
    [
        (problem(401, "not_signed_in", "this token is not valid"), NOT_SIGNED_IN, "this token is not valid"),
        (problem(500, "internal", "something went wrong inside the hub"), OTHER, "Request: r1"),
        (
            problem(503, "unavailable", "no Slurm cluster", hint="ask the operator"),
            UNAVAILABLE,
            "Hint: ask the operator",
        ),
    ],
)
def test_a_problem_is_told_on_standard_error(shell: Shell, hub: FakeHub, answer: Answer, code: int, said: str) -> None:
    hub.faults = [lambda request: answer]
    ran = shell("whoami", transport=hub)
    assert (ran.code, ran.out) == (code, "") and said in ran.err and ran.err.startswith("Error: ")


def test_a_hub_that_is_down_is_said_to_be_down(shell: Shell, hub: FakeHub) -> None:
    hub.faults = [refuses]
    ran = shell("whoami", transport=hub)
    assert ran.code == UNAVAILABLE
    assert ran.err.splitlines() == [
        "Error: No hub answers at https://hub.test.",
        "Hint: Is it running? `collegium up` starts one; --hub or COLLEGIUM_HUB names another.",
    ]
    nowhere = shell("whoami", COLLEGIUM_HUB="")
    assert nowhere.code == UNAVAILABLE and nowhere.err.startswith("Error: No hub is known here.")


def test_where_it_is_wrong_is_told_by_the_option(shell: Shell, hub: FakeHub) -> None:
    errors = ["$.params.resources.memory: 'lots' is no amount of memory"]
    hub.faults = [
        lambda request: problem(
            400, "invalid", "'lots' is no amount of memory", path="$.params.resources.memory", errors=errors,
            hint="say `job_type` too",
        )
    ]  # fmt: skip
    ran = shell("job", "submit", "#!/bin/sh", "--memory", "lots", transport=hub)
    assert ran.err.splitlines() == [
        "Error: 'lots' is no amount of memory",
        "Where: --memory",
        "Hint: say `--type` too",
    ]


def test_a_typing_error_on_a_terminal_says_what_was_meant(shell: Shell) -> None:
    ran = shell("job", "sumbit", "run.sh", is_terminal=True)
    assert ran.code == USAGE
    assert re.sub(r"\x1b\[[0-9;]*m", "", ran.err).split("\n")[0] == (
        "Error: There is no “job sumbit”. Did you mean job submit?"
    )


def test_the_session_in_use_is_kept_and_meant(shell: Shell, hub: FakeHub, tmp_path: Path) -> None:
    hub.views["/api/sessions/hcl"] = hub.views["/api/sessions/ana/hcl"] = session("ana/hcl")
    hub.views["/api/jobs/ana/hcl%2312"] = job(12, "RUNNING", session_name="ana/hcl")
    assert shell("use", "hcl", transport=hub).lines[0] == "From now on commands mean ana/hcl, where you are owner."
    assert shell("job", "status", "12", transport=hub).code == 0
    assert shell("use", transport=hub).lines == ["Commands mean the session ana/hcl."]
    assert shell("use", "--personal", transport=hub).code == 0
    assert shell("use", transport=hub).lines == ["Commands mean the session ana/personal."]


def test_a_reader_that_goes_away_is_no_error() -> None:
    program = (
        "import sys\nfrom bot.commands import tree\nfrom bot.terminal import receive\n"
        "sys.exit(receive(tree, ['job', 'submit', '--help']))"
    )
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as out:
        ended = subprocess.run([sys.executable, "-c", program], stdout=out, stderr=subprocess.PIPE, check=False)
    assert ended.returncode == 141 and ended.stderr == b""


def test_a_stop_by_hand_says_that_the_job_goes_on(shell: Shell, hub: FakeHub) -> None:
    hub.views["/api/jobs/12"] = job(12)

    def stops(request: httpx.Request) -> Answer | None:
        raise KeyboardInterrupt

    hub.faults = [lambda request: None, lambda request: None, stops]
    ran = shell("job", "watch", "12", transport=hub)
    assert ran.code == 130 and "The job goes on." in ran.err and "job cancel" in ran.err
