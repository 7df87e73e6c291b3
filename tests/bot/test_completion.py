"""What a shell is told when the tab key is pressed: words of the tree, names from the hub, and never a fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from bot import completion
from bot.commands import tree
from bot.terminal import receive
from tests.bot.conftest import Shell, Stream
from tests.bot.fake_hub import FakeHub, session

JOBS = {
    "jobs": [
        {"id": "job_2", "number": 12, "ref": "ana/hcl#12", "name": "fit band", "state": "OUT_OF_MEMORY"},
        {"id": "job_1", "number": 1, "ref": "ana/hcl#1", "name": "x\ty\n\x1b[31m", "state": "RUNNING"},
    ]
}
ENTRIES = {"entries": [{"id": "ent_1", "name": "ana/hcl#n3", "number": 3, "title": "Anharmonicity"}]}
PATHS = ("figures/band.svg", "data/lines.csv", "-rf", "a b.txt", "x;reboot", "$(reboot)", "*", "`id`", "größe.csv")


@pytest.fixture
def hub() -> FakeHub:
    fake = FakeHub()
    fake.views["/api/sessions"] = [session("ana/personal", personal=True), session("ana/hcl"), session("ben/hcl")]
    fake.views["/api/jobs"] = JOBS
    for name in ("ana/hcl", "ana/personal"):
        fake.views[f"/api/sessions/{name}/entries"] = ENTRIES
        fake.views[f"/api/sessions/{name}/artifacts"] = {
            "artifacts": [{"id": f"art_{n}", "path": path} for n, path in enumerate(PATHS)]
        }
    return fake


@pytest.fixture
def press(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`press("job sta", transport=hub)` is what bash gets for the tab key after `collegium job sta`."""

    def tab(line: str, *, transport: httpx.BaseTransport | None = None, how: str = "bash_complete", **more: str) -> Any:
        words = ["collegium", *line.split(" ")]
        monkeypatch.setenv("COMP_WORDS", " ".join(words))
        monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
        environ = {"HOME": str(tmp_path), "COLLEGIUM_HUB": "https://hub.test", "COLLEGIUM_TOKEN": "clg_x"}
        out, err = Stream(), Stream()
        environ |= {completion.VARIABLE: how, **more}
        code = receive(tree, [], environ=environ, stdout=out, stderr=err, here=tmp_path, transport=transport)
        assert (code, err.text) == (0, "")
        found = []
        for each in out.text.splitlines():
            kind, _, value = each.partition(",")
            if kind:
                found.append(value if kind == "plain" else kind)
        return found

    return tab


def test_words_of_the_tree_need_no_hub(press: Any) -> None:
    assert press("jo") == ["job"]
    assert press("job ca") == ["cancel"]
    assert press("log") == ["login", "logout"]
    assert "--session" in press("job list --s")
    assert press("note sign 1 --meaning re") == ["reviewed", "rejected"]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("use ", ["ana/personal", "ana/hcl", "ben/hcl"]),
        ("use ana/h", ["ana/hcl"]),
        ("job list --session b", ["ben/hcl"]),
        ("share create b", ["ben/hcl"]),
        ("job status ", ["12", "1"]),
        ("job cancel 12", ["12"]),
        ("note show ", ["3"]),
        ("note post t --entry ", ["3"]),
        ("artifact get fig", ["figures/band.svg"]),
        ("artifact get --session ana/hcl d", ["data/lines.csv"]),
        ("job submit ", ["file"]),
        ("artifact add ", ["file"]),
        ("export ", ["dir"]),
    ],
)
def test_names_come_from_the_hub(press: Any, hub: FakeHub, line: str, found: list[str]) -> None:
    assert press(line, transport=hub) == found


def test_a_name_a_shell_would_act_on_is_not_offered(press: Any, hub: FakeHub) -> None:
    assert press("artifact show ", transport=hub) == ["figures/band.svg", "data/lines.csv", "größe.csv"]


def test_what_is_told_beside_a_name_is_one_plain_line(press: Any, hub: FakeHub) -> None:
    for how in ("zsh_complete", "fish_complete"):
        told = "\n".join(press("job status ", transport=hub, how=how))
        assert "\x1b" not in told and "\t\t" not in told


class Broken(httpx.BaseTransport):
    """A hub that is not there."""

    def __init__(self, answer: httpx.Response | None) -> None:
        self.answer, self.asked = answer, 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.answer is None:
            raise httpx.ReadTimeout("slow")
        return self.answer


@pytest.mark.parametrize(
    "answer", [None, httpx.Response(401), httpx.Response(500, text="x"), httpx.Response(200, json={"jobs": 1})]
)
def test_whatever_goes_wrong_is_silence_after_one_question(press: Any, answer: httpx.Response | None) -> None:
    broken = Broken(answer)
    assert press("use ", transport=broken) == []
    assert broken.asked == 1


def test_no_hub_at_all_is_silence(press: Any) -> None:
    assert press("use ", COLLEGIUM_HUB="", COLLEGIUM_TOKEN="") == []
    assert press("use ", COLLEGIUM_HUB="nonsense") == []


@pytest.mark.parametrize("which", completion.SHELLS)
def test_the_script_is_printed_as_it_is(shell: Shell, which: str) -> None:
    ran = shell("completion", which)
    assert ran.code == 0 and ran.lines[0].startswith("# ")
    assert ran.out.partition("\n")[2].strip() == completion.source(which, tree).strip()
    drawn = shell("completion", which, is_terminal=True)
    assert drawn.code == 0


def test_another_shell_is_told_which_there_are(shell: Shell) -> None:
    ran = shell("completion", "tcsh")
    assert ran.code == 2 and "bash" in ran.err
