"""What `make run` carries out: the main job of the hub, from files on a disk to a signed result somebody can be sent.

Every step is a command of the one tree that shell and chat use, so that what is shown here can be typed as it stands.
A hub on which it was carried out before is not asked to do it again; it only says where everything is.
"""

from __future__ import annotations

import datetime as dt
import io
import json
import shlex
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

import msgspec

from hub.core import limits
from hub.core.house import House
from hub.core.ids import new_secret
from hub.people import embedded, once

FOLDER = Path(__file__).parent
SESSION = "hydrogen-chloride"
SCRIPT, LINES = "analysis.py", "data/hcl_lines.csv"
ATTACHED = ("spectrum.png", "fit.png", "constants.csv", "levels.csv", "results.json", LINES)
# What the figures show, for those who cannot see them: the numbers are in the tables beside.
DESCRIPTIONS = {
    "spectrum.png": "The potential well with its levels, and the lines of each band as sticks over their wavenumbers.",
    "fit.png": "The lines of each band against m with their cubic, and the residuals below.",
}
KEY = "notebook"
OPEN_FOR = "7d"
TELLING = ("w_e", "w_e x_e", "B_e", "alpha_e")


class Invoke(Protocol):
    """Carries out a command of the tree as the owner, given in the folder `FOLDER`; returns its exit code."""

    def __call__(self, words: Sequence[str], stdout: TextIO | None = None) -> int: ...


class NotCarriedOut(Exception):
    """A command failed; what went wrong has been said by the command itself."""


class Told(msgspec.Struct, frozen=True):
    """Where the results are, for the closing lines."""

    session: str
    room: str
    job: str
    entry: str
    entry_url: str


def carry_out(invoke: Invoke, say: Callable[[str], None], step_up: Callable[[], str]) -> None:
    """Carry out the main job and say what was done; `step_up` makes a code that proves the owner is here.

    Raises NotCarriedOut when a step fails. Whoever runs this can read the data folder, which on one machine is the
    proof of being its owner: that is why the code may be made without asking.
    """
    walk = _Walk(invoke, say)
    me = walk.ask("whoami")
    session = f"{me['handle']}/{SESSION}"
    told = walk.finished(session)
    if told is None:
        told = walk.whole_way(session, step_up)
    else:
        say(f"This hub carried out its first job before; {told.entry} is signed. Nothing is done again.")
    link = walk.ask("link")
    say("")
    say(f"  Room      {told.room}")
    say(f"  Job       {told.job}")
    say(f"  Entry     {told.entry_url}")
    say(f"  Sign in   {link['url']}/{link['secret']}   (once, until {link['expires'][11:16]} UTC)")


def proof_of_presence(house: House) -> str:
    """A step-up code for the owner of an embedded hub, good once and for five minutes."""
    secret = new_secret("code")
    with house.db.read() as conn:
        owner = embedded.owner_id(conn)
    expires_at = house.clock.now() + dt.timedelta(seconds=limits.STEP_UP_SECONDS)
    house.db.write(lambda tx: once.issue(tx, secret, "step_up", person=owner, expires_at=expires_at))
    return secret


class _Walk:
    """The commands one after the other, each said before it is carried out."""

    def __init__(self, invoke: Invoke, say: Callable[[str], None]) -> None:
        self._invoke = invoke
        self._say = say

    def ask(self, *words: str) -> Any:
        """What the hub answers to a command, as JSON values."""
        answer = io.StringIO()
        if self._invoke([*words, "--json"], answer) != 0:
            raise NotCarriedOut(f"collegium {shlex.join(words)}")
        return json.loads(answer.getvalue())

    def show(self, *words: str) -> None:
        """Carry out a command as a person sees it."""
        self._say(f"$ collegium {shlex.join(words)}")
        if self._invoke(words) != 0:
            raise NotCarriedOut(f"collegium {shlex.join(words)}")

    def finished(self, session: str) -> Told | None:
        """Where the results of an earlier run are, if it came to its end."""
        known = {one["name"]: one for one in self.ask("session", "list")}
        if session not in known:
            return None
        entries = self.ask("note", "list", "--session", session).get("entries", [])
        signed = [one for one in entries if one.get("signatures")]
        jobs = self.ask("job", "list", "--session", session).get("jobs", [])
        ended = [one for one in jobs if one["state"] == "SUCCEEDED"]
        if not signed or not ended:
            return None
        first = signed[-1]
        return Told(session, known[session]["url"], ended[-1]["url"], first["name"], first["url"])

    def whole_way(self, session: str, step_up: Callable[[], str]) -> Told:
        """Submit, watch, collect, write, sign, share, verify."""
        here = ("--session", session)
        if session not in {one["name"] for one in self.ask("session", "list")}:
            self._heading("A session to work in")
            self.show("session", "create", SESSION, "--title", "Hydrogen chloride in the infrared")
        room = self.ask("session", "show", session)["session"]["url"]

        self._heading("A job: the analysis of 36 measured lines, with its log as it is written")
        self._say(f"$ collegium job submit {SCRIPT} {LINES} --in {LINES} --session {session} --follow")
        job = self.ask(
            "job", "submit", SCRIPT, LINES, "--in", LINES, "--name", "constants of HCl", "--time", "10:00", *here
        )
        if self._invoke(["job", "watch", job["id"], "--follow"]) != 0:
            raise NotCarriedOut("the job did not succeed")

        self._heading("Its outputs came back by themselves, each under the digest of its content")
        job = self.ask("job", "status", job["id"])
        for line in _outputs(job.get("outputs", [])):
            self._say(line)

        for name, words in DESCRIPTIONS.items():
            self.ask("artifact", "describe", name, words, *here)

        entry = self._note(here)
        self._heading("Signed with a key the hub holds, in a window that this one proof of presence opens")
        if KEY not in {key["name"] for key in self.ask("key", "list") if not key.get("revoked")}:
            self.show("key", "create", KEY)
        self.ask("window", "open", step_up(), "--key", KEY)
        self.show("note", "sign", entry["name"], "--key", KEY)
        self.ask("window", "close", "--key", KEY)

        self._heading("A link for somebody else, and proof that everything holds")
        self.show("share", "create", session, "--expires", OPEN_FOR, "--label", "first result")
        self.show("verify", entry["name"])
        self.show("verify")
        return Told(session, room, job["url"], entry["name"], entry["url"])

    def _note(self, here: tuple[str, str]) -> Any:
        """The report as a notebook entry, with figures, tables and the measured lines attached."""
        self._heading("The notebook entry, written from the report")
        with tempfile.TemporaryDirectory() as folder:
            report, results = Path(folder) / "report.md", Path(folder) / "results.json"
            for file in (report, results):
                self.ask("artifact", "get", file.name, "--output", str(file), *here)
            found = json.loads(results.read_text(encoding="utf-8"))
            attached = [word for name in ATTACHED for word in ("--attach", name)]
            tools = [word for name, at in found["made_with"].items() for word in ("--tool", f"{name} {at}")]
            self._say("$ collegium note post report.md " + shlex.join(attached[:4]) + " ...")
            words = ("note", "post", str(report), *attached, *tools, "--conclusions", conclusions(found), *here)
            entry = self.ask(*words)
        self._say(f"{entry['name']}: {entry['title']}")
        return entry

    def _heading(self, text: str) -> None:
        self._say("")
        self._say(f"── {text}")


def _outputs(outputs: list[dict[str, Any]]) -> Iterator[str]:
    for one in outputs:
        digest = (one.get("digest") or "").removeprefix("sha256:")
        yield f"  {one['path']:<16} {one.get('size_bytes', 0):>9,} bytes   sha256 {digest[:16]}…"


def conclusions(results: dict[str, Any]) -> str:
    """What follows, in the two sentences a reader of the notebook wants first."""
    rows = {row["constant"]: row for row in results["constants"]}
    values = ", ".join(
        f"{name} = {rows[name]['value_cm1']:.6g} ± {rows[name]['uncertainty_cm1']:.1g}"
        for name in TELLING
        if name in rows
    )
    verdicts = {
        "pass": "They agree with the accepted constants within the stated calibration bias of the spectrometer.",
        "fail": "They do not all agree with the accepted constants; see the table.",
    }
    return f"In cm-1: {values}. " + verdicts.get(results["verdict"], "No accepted values were given to compare with.")
