"""What may leave for a chat company's servers: every command's reply, with a canary in every field, at every level."""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Union, get_args, get_origin, get_type_hints

import click
import httpx
import msgspec
import pytest

from bot import cluster_views, room_views, work_views
from bot import hub_views as views
from bot.cards import Detail, EventsLive, JobLive, Reply, Secret
from bot.chat_hub import ChatHub
from bot.commands import COMMANDS, run, tree
from bot.detail import is_opaque, reduced, reduced_problem, strictest
from bot.door import Door, Place
from bot.faces import job as job_face
from bot.problems import Problem, usage
from bot.uploads import LocalUploads
from bot.verbs import chat
from tests.bot.fake_hub import FakeHub

ID = "0123456789abcdefghjkmnpqrs"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)

# What a canary in a field of this name may reach. What is not listed leaves with `full` only.
NAMES = {
    "name", "title", "session_name", "handle", "backend", "session", "role", "meaning", "custody", "hub_role", "cards",
    "visibility", "chat_detail", "notify", "label", "via",
}  # fmt: skip
IDS: set[str] = {"hub_role", "cards", "notify"}
# Names that are contents: of a file, of a log.
CONTENTS = {
    "Artifact.name",
    "Attachment.name",
    "Check.name",
    "Output.path",
    "WorkflowStep.step",
    "Key.name",
    "Window.name",
}


def value_of(kind: Any, name: str, owner: str) -> Any:
    """A value of this type that says where it comes from."""
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return value_of(next(one for one in get_args(kind) if one is not type(None)), name, owner)
    if origin is tuple:
        return (value_of(get_args(kind)[0], name, owner),)
    if kind == dict[str, bool]:
        return {"live_cursor": True}
    if origin is dict or kind is dict:
        return {f"canary-{owner}.{name}-key": f"canary-{owner}.{name}-value"}
    if kind is str:
        return special(name, owner) or f"canary-{owner}.{name}"
    if kind is bool:
        return True
    if kind in (int, float):
        return 7 if kind is int else 0.5
    if kind is datetime:
        return NOW
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return filled(kind)
    return {"canary": f"canary-{owner}.{name}"}


def special(name: str, owner: str) -> str:
    """Fields whose value must have a form."""
    if name == "state":
        return {"Job": "RUNNING", "Link": "open"}.get(owner, "RUNNING")
    if name == "digest":
        return "sha256:" + "ab" * 32
    if name == "url":
        return f"https://hub.test/{'jobs' if owner == 'Job' else 'entries'}/{owner[:3].lower()}_{ID}"
    if name in ("id", "job", "entry", "artifact", "link", "experiment"):
        return f"{owner[:3].lower()}_{ID}"
    if name == "ref":
        return "canary-session.name#7"
    if name == "name" and owner in ("Entry", "WrittenEntry", "EntryVerification", "EntryRow"):
        return "canary-session.name#n7"
    if name == "name" and owner == "Artifact":
        return "canary-session.name:canary-Artifact.path@7"
    return ""


@functools.cache
def filled(shape: type[msgspec.Struct]) -> Any:
    hints = get_type_hints(shape)
    return shape(**{name: value_of(hints[name], name, shape.__name__) for name in shape.__struct_fields__})


class CanaryHub(FakeHub):
    """A hub whose every answer is full of canaries."""

    answers: ClassVar[dict[str, Any]] = {
        "job_submit": views.Job, "job_cancel": views.Job, "job_hold": views.Job,
        "job_release": views.Job, "job_requeue": views.Job, "job_unwatch": views.Job, "job_watch": views.Job,
        "lab_notebook": views.WrittenEntry,
        "note_sign": views.WrittenEntry, "artifact_versioning": views.MadeArtifact, "artifact_alt": views.AltSet,
        "session_create": views.MadeSession, "session_share": views.Shared, "link_create": views.MadeLink,
        "link_revoke": views.Ended, "grant_revoke": views.Granted, "signin_link": views.SignInLink,
        "key_create": views.Key, "key_revoke": views.Key, "signing_window": views.Window,
        "signing_window_close": views.Ended, "session_change": views.ChangedSession,
        "account_create": views.Account, "account_role": views.Account, "account_disable": views.Account,
        "account_enable": views.Account, "account_reset": views.Account,
        "session_hand_over": views.HandedOver, "session_leave": views.Left, "grant_change": views.Granted,
        "room_message": room_views.Said, "room_hand": room_views.HandRaised, "room_poll": room_views.Poll,
        "room_hand_addressed": room_views.HandAddressed, "room_vote": room_views.Poll,
        "room_poll_close": room_views.Poll, "room_door": room_views.RoomDoor, "room_admit": room_views.Admitted,
        "room_standing": room_views.Standing, "message_edit": room_views.Said, "message_remove": room_views.Said,
        "message_react": room_views.Said, "message_report": room_views.Reported,
        "message_report_settle": room_views.Reported, "room_mute": room_views.Muted,
        "draft_create": room_views.DraftRow, "draft_rename": room_views.DraftRow,
        "draft_version": room_views.DraftVersion, "draft_restore": room_views.DraftRow,
        "draft_remove": room_views.DraftRemoved,
        "quota_set": cluster_views.Quota, "channel_set": chat._Channel, "notify_set": chat._Notify,
        "workflow_resume": views.Workflow, "run": work_views.Experiment, "experiment_cancel": work_views.Experiment,
    }  # fmt: skip

    def __init__(self) -> None:
        super().__init__()
        self.results = {name: msgspec.to_builtins(filled(shape)) for name, shape in self.answers.items()}

    def _view(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path.removeprefix("/api/")
        one: Any
        match path.split("/"):
            case ["me"]:
                one = filled(views.Me)
            case ["sessions"]:
                one = [filled(views.Session)]
            case ["who"]:
                one = filled(views.Who)
            case ["explain"]:
                one = filled(views.Explanation)
            case ["chats", "channels", _]:
                one = filled(chat._Channel)
            case ["chats", "notify"]:
                one = filled(chat._Notify)
            case ["quotas"]:
                one = filled(cluster_views.Quotas)
            case ["keys"]:
                one = [filled(views.Key)]
            case ["verify"]:
                one = filled(views.LedgerVerification)
            case ["jobs", "plan"]:
                one = filled(cluster_views.JobPlan)
            case ["jobs"]:
                one = filled(views.Jobs)
            case ["jobs", *_]:
                one = filled(views.Job)
            case ["entries", *_, "verification"]:
                one = filled(views.EntryVerification)
            case ["entries", *_]:
                one = filled(views.Entry)
            case ["artifacts", *_, "versions"]:
                one = filled(views.Artifacts)
            case ["artifacts", *_, "lineage"]:
                one = filled(views.Lineage)
            case ["artifacts", *_]:
                one = filled(views.Artifact)
            case ["drafts", *_, "versions", _]:
                one = filled(room_views.DraftVersionText)
            case ["drafts", *_]:
                one = filled(room_views.Draft)
            case ["sessions", *_, "drafts"]:
                one = [filled(room_views.DraftRow)]
            case ["sessions", *_, "messages"]:
                one = filled(room_views.SaidPage)
            case ["sessions", *_, "reports"]:
                one = [filled(room_views.Report)]
            case ["sessions", *_, "hands"]:
                one = [filled(room_views.Hand)]
            case ["sessions", *_, "polls"]:
                one = [msgspec.structs.replace(filled(room_views.Poll), closed=None)]
            case ["sessions", *_, "door"]:
                one = filled(room_views.RoomDoor)
            case ["sessions", *_, "participants"]:
                one = filled(views.Participants)
            case ["sessions", *_, "links"]:
                one = [filled(views.Link)]
            case ["sessions", *_, "entries"]:
                one = filled(views.Entries)
            case ["sessions", *_, "experiments"]:
                one = [filled(work_views.Experiment)]
            case ["workflows", _]:
                one = filled(views.Workflow)
            case ["experiments", _]:
                one = filled(work_views.Experiment)
            case ["sessions", *_, "artifacts"]:
                one = filled(views.Artifacts)
            case ["sessions", *_]:
                one = filled(views.Session)
            case _:
                return super()._view(request)
        return httpx.Response(200, json=msgspec.to_builtins(one))


# One line for every command of the tree; a new command without one fails the test below.
LINES: dict[str, list[str]] = {
    "job submit": ["job", "submit", "#!/bin/sh\necho canary-typed\n", "--session", "canary-typed/one"],
    "job plan": ["job", "plan", "#!/bin/sh\necho canary-typed\n"],
    "job status": ["job", "status", "7"],
    "job watch": ["job", "watch", "7", "--follow"],
    "job logs": ["job", "logs", "7"],
    "job cancel": ["job", "cancel", "7"],
    "job hold": ["job", "hold", "7"],
    "job unwatch": ["job", "unwatch", "7"],
    "job release": ["job", "release", "7"],
    "job requeue": ["job", "requeue", "7"],
    "job list": ["job", "list"],
    "job resume": ["job", "resume", "7"],
    "workflow submit": ["workflow", "submit", '[{"step": "canary-typed", "script": "canary-typed"}]'],
    "workflow show": ["workflow", "show", "wf_canary-typed"],
    "workflow resume": ["workflow", "resume", "wf_canary-typed"],
    "experiment list": ["experiment", "list"],
    "experiment show": ["experiment", "show", "canary-typed"],
    "experiment submit": ["experiment", "submit", '[{"tool": "canary-typed", "action": "canary-typed"}]'],
    "experiment resume": ["experiment", "resume", "canary-typed"],
    "experiment cancel": ["experiment", "cancel", "canary-typed"],
    "note post": ["note", "post", "canary-typed", "--text", "canary-typed"],
    "note show": ["note", "show", "7"],
    "note sign": ["note", "sign", "7", "--key", "canary-typed"],
    "note list": ["note", "list"],
    "draft list": ["draft", "list"],
    "draft show": ["draft", "show", "7"],
    "draft create": ["draft", "create", "canary-typed", "--text", "canary-typed"],
    "draft version": ["draft", "version", "7", "canary-typed"],
    "draft restore": ["draft", "restore", "canary-DraftRow.name", "7"],
    "draft rename": ["draft", "rename", "7", "canary-typed"],
    "draft remove": ["draft", "remove", "7", "--yes"],
    "artifact add": ["artifact", "add", "canary.txt"],
    "artifact log": ["artifact", "log", "canary-typed"],
    "artifact show": ["artifact", "show", "canary-typed"],
    "artifact describe": ["artifact", "describe", "canary-typed", "canary-typed"],
    "artifact get": ["artifact", "get", "canary-typed"],
    "artifact list": ["artifact", "list"],
    "share create": ["share", "create", "-p", "canary-typed@example.org:read"],
    "share list": ["share", "list"],
    "share revoke": ["share", "revoke", "canary-typed"],
    "session list": ["session", "list"],
    "session create": ["session", "create", "canary-typed"],
    "session show": ["session", "show"],
    "session change": ["session", "change", "--title", "canary-typed"],
    "session hand-over": ["session", "hand-over", "canary-typed", "canary-typed"],
    "session leave": ["session", "leave", "canary-typed"],
    "share change": ["share", "change", "canary-Person.handle", "read"],
    "who": ["who", "canary-typed"],
    "explain": ["explain", "canary-typed", "job_submit", "canary-typed"],
    "account create": ["account", "create", "canary-typed"],
    "account enable": ["account", "enable", "canary-typed"],
    "quota show": ["quota", "show"],
    "quota set": ["quota", "set", "canary-typed", "--money", "7"],
    "channel show": ["channel", "show"],
    "channel use": ["channel", "use", "canary-typed"],
    "channel cards": ["channel", "cards", "ends"],
    "notify": ["notify"],
    "use": ["use"],
    "room open": ["room", "open"],
    "room say": ["room", "say", "canary-typed"],
    "room read": ["room", "read"],
    "room edit": ["room", "edit", "canary-typed", "canary-typed"],
    "room unsay": ["room", "unsay", "canary-typed"],
    "room react": ["room", "react", "canary-typed", "👍"],
    "room report": ["room", "report", "canary-typed", "canary-typed"],
    "room reports": ["room", "reports"],
    "room settle": ["room", "settle", "canary-typed", "dismissed"],
    "room hand": ["room", "hand", "canary-typed"],
    "room lower": ["room", "lower"],
    "room hands": ["room", "hands"],
    "room next": ["room", "next", "canary-Hand.name"],
    "room poll": ["room", "poll", "canary-typed", "canary-typed", "canary-typed2"],
    "room vote": ["room", "vote", "1"],
    "room polls": ["room", "polls"],
    "room poll-close": ["room", "poll-close"],
    "room door": ["room", "door"],
    "room admit": ["room", "admit", "canary-Waiting.name"],
    "room standing": ["room", "standing", "canary-typed", "observe"],
    "room mute": ["room", "mute", "canary-typed"],
    "link": ["link"],
    "whoami": ["whoami"],
    "key create": ["key", "create", "canary-typed"],
    "key list": ["key", "list"],
    "key revoke": ["key", "revoke", "canary-typed"],
    "window open": ["window", "open", "canary-typed"],
    "window close": ["window", "close"],
    "verify": ["verify", "7"],
}


def leaves(command: click.Command, above: tuple[str, ...] = ()) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            yield from leaves(below, (*above, name))
    else:
        yield " ".join(above)


def said(line: list[str], tmp_path: Path) -> Reply:
    (tmp_path / "canary.txt").write_text("canary of a file\n")
    hub = ChatHub("https://hub.test", "clg_test", transport=CanaryHub())
    door = Door(
        lambda: hub,
        uploads=LocalUploads(tmp_path, tmp_path / "uploads.json", lambda *_: None),
        session=lambda: "canary-session.name",
        remember=lambda session: "canary.toml",
        place=Place("slack", "T1", "C1"),
        now=lambda: NOW,
        call="/",
    )
    return run(line, door)


def canaries(reply: Reply) -> set[str]:
    """Every canary in what may be sent, by the field it was put into."""
    text = msgspec.json.encode(reply).decode()
    return {one.rstrip("-") for one in re.findall(r"canary-[A-Za-z]+(?:\.[a-z_]+)?", text)}


def may_leave(canary: str, detail: Detail) -> bool:
    where = canary.removeprefix("canary-")
    if detail == "full":
        return True
    if where == "typed" or "." not in where:
        return False
    name = where.partition(".")[2]
    if where in CONTENTS:
        return False
    return name in NAMES if detail == "names" else name in IDS


# What only a shell does, since it writes into a folder, signs this machine in or has to do with keys.
SHELL_ONLY = {"export", "login", "logout", "completion"}
SHELL_ONLY |= {
    f"cluster {verb}"
    for verb in (
        "list",
        "show",
        "add",
        "change",
        "policy",
        "trust",
        "remove",
        "join",
        "certify",
        "token",
        "test",
        "leave",
        "doctor",
    )
} | {"job connect", "account role", "account disable", "account reset"}


def test_every_command_of_the_tree_is_looked_at() -> None:
    assert set(LINES) >= set(leaves(tree)) - SHELL_ONLY, "say in LINES how the new command is called"


@pytest.mark.parametrize("command", sorted(LINES))
def test_only_what_the_session_lets_out_leaves(command: str, tmp_path: Path) -> None:
    reply = said(LINES[command], tmp_path)
    assert reduced(reply, "full") == reply
    before: set[str] = canaries(reply)
    for detail in ("names", "ids"):
        left = reduced(reply, detail)
        escaped = {one for one in canaries(left) if not may_leave(one, detail)}
        assert not escaped, (detail, left)
        assert left.sentence and left.secret is None and left.data is None and not left.title
        assert canaries(left) <= before
        assert isinstance(left.live, JobLive | None) and not (left.live and left.live.log)
    at_most = reduced(reply, "ids")
    assert not at_most.fields and at_most.progress is None and not at_most.session
    assert not at_most.url or is_opaque(at_most.url)
    assert reduced(at_most, "ids").sentence  # what was reduced once may be reduced again


def test_the_canaries_do_sing(tmp_path: Path) -> None:
    """The test above proves nothing unless the fields it watches are shown where everything may leave."""
    shown = set().union(*(canaries(said(line, tmp_path)) for line in LINES.values()))
    for field in (
        "Job.name",
        "Entry.content",
        "Draft.text",
        "Entry.title",
        "Artifact.path",
        "Output.path",
        "Progress.said",
    ):
        assert f"canary-{field}" in shown, field


def test_names_tell_what_a_thing_is_called_and_ids_do_not(tmp_path: Path) -> None:
    job = said(LINES["job status"], tmp_path)
    assert "canary-Job.name" in reduced(job, "names").sentence
    assert reduced(job, "ids").sentence == "job 7 running"
    assert reduced(job, "ids").state == job.state
    entry = said(LINES["note show"], tmp_path)
    assert "canary-Entry.title" in reduced(entry, "names").sentence
    assert reduced(entry, "ids").sentence.startswith("entry 7, version 7, ")


def test_buttons_go_by_opaque_ids_or_stay_away(tmp_path: Path) -> None:
    job = reduced(said(LINES["job status"], tmp_path), "ids")
    assert [one.command for one in job.next] == [
        ("job", "logs", f"job_{ID}", "--follow"),
        ("job", "release", f"job_{ID}"),
        ("job", "cancel", f"job_{ID}"),
    ]
    assert reduced(said(LINES["artifact show"], tmp_path), "names").next == ()


def test_a_help_text_says_the_same_to_everybody() -> None:
    reply = run(["job", "--help"], Door(lambda: pytest.fail("help asks nobody"), call="/"))
    assert reduced(reply, "ids") == reply


def test_a_secret_does_not_pass_through_a_chat_that_may_not_know_much() -> None:
    reply = Reply(sentence="a link", secret=Secret("link", "https://hub.test/l/clgl_x"), live=EventsLive("ana/hcl", 0))
    for detail in ("names", "ids"):
        left = reduced(reply, detail)
        assert "clgl_x" not in msgspec.json.encode(left).decode()
        assert "not sent through this chat" in left.body
        assert left.live is None


def test_a_command_nobody_marked_says_nothing() -> None:
    reply = Reply(sentence="canary", title="canary", body="canary", url="https://hub.test/s/ana/hcl")
    assert "canary" not in msgspec.json.encode(reduced(reply, "names")).decode()
    assert reduced(reply, "ids").url == ""


def test_problems_are_told_by_their_code_below_full() -> None:
    told = Problem("job_not_found", "there is no job canary", status=404, hint="canary", errors=["canary"])
    assert reduced_problem(told, "full") is told
    for detail in ("names", "ids"):
        left = reduced_problem(told, detail)
        assert "canary" not in f"{left.detail}{left.hint}{left.errors}{left.path}{left.fix}"
        assert (left.code, left.status, left.exit_code) == ("job_not_found", 404, told.exit_code)
    typed = usage("There is no “jbo”.", fix="job")
    assert reduced_problem(typed, "ids") is typed


def test_the_strictest_of_several_sessions_counts() -> None:
    assert strictest("full", "names") == "names"
    assert strictest("full", "ids", "names") == "ids"
    assert strictest("full") == "full"
    assert strictest() == "ids"
    assert strictest("full", "whatever a newer hub knows") == "ids"


def test_the_face_of_a_job_needs_no_door() -> None:
    one = filled(views.Job)
    assert job_face.job_face(one, NOW, one.id).next[0].command[2] == one.id
    assert COMMANDS
