"""What cards show, read from the hub in one look: faces of jobs, workflows, entries and links by their ids.

The hub reads them for the bot; how much of each leaves is the `chat_detail` of its session, and a session nobody knows
any more lets out as little as there is.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import msgspec

from bot.cards import Detail, Next, Reply
from bot.chat_hub import ChatHub, LinkFace, SessionFace
from bot.detail import reduced, strictest
from bot.faces.entry import entry_card
from bot.faces.experiment import experiment_face
from bot.faces.job import job_face
from bot.faces.link import link_face
from bot.faces.workflow import workflow_face
from bot.hub_views import Entry, Job, Workflow
from bot.notify_rules import Face, Standing, Thing, of_experiment, of_job, of_workflow
from bot.slack import render
from bot.slack_blocks import reply_blocks

_AT_ONCE = 50
_LOOPBACK = "Links open on the hub's own machine only."
# What is left out, one after the other, when a platform says that a message is too long.
_SHORTER = ("body", "table", "fields")


class Seen(msgspec.Struct, frozen=True):
    """What one look found."""

    faces: dict[Thing, Face]
    sessions: dict[str, SessionFace]
    workflow_of: dict[str, str]


def look(hub: ChatHub, things: Iterable[Thing], sessions: Iterable[str], *, over: Iterable[str] = ()) -> Seen:
    """The faces of things; `over` are jobs known to have ended, which are read with their outputs."""
    wanted = list(dict.fromkeys(things))
    ended = set(over)
    seen = Seen({}, {}, {})
    named = sorted(set(sessions))
    _sessions(hub, seen, set(named[_AT_ONCE:]))
    for start in range(0, max(len(wanted), 1), _AT_ONCE):
        _some(hub, seen, wanted[start : start + _AT_ONCE], ended, named[:_AT_ONCE] if start == 0 else [])
    return seen


def _sessions(hub: ChatHub, seen: Seen, ids: set[str]) -> None:
    missing = sorted(ids - seen.sessions.keys())
    for start in range(0, len(missing), _AT_ONCE):
        for one in hub.look(sessions=tuple(missing[start : start + _AT_ONCE])).sessions:
            seen.sessions[one.id] = one


def _some(hub: ChatHub, seen: Seen, things: list[Thing], ended: set[str], sessions: list[str]) -> None:
    by_kind: dict[str, list[str]] = {"sessions": sessions} if sessions else {}
    for thing in things:
        name = {"job": "ended_jobs" if thing.id in ended else "jobs", "entry": "entries"}.get(thing.kind)
        by_kind.setdefault(name or f"{thing.kind}s", []).append(thing.id)
    if not by_kind:
        return
    found = hub.look(**{kind: tuple(ids) for kind, ids in by_kind.items()})
    seen.sessions.update({one.id: one for one in found.sessions})
    jobs = {job.id: job for job in (*found.jobs, *found.ended_jobs)}
    if late := tuple(job.id for job in found.jobs if job.is_over):
        jobs |= {job.id: job for job in hub.look(ended_jobs=late).ended_jobs}
    _sessions(hub, seen, {job.session for job in jobs.values() if job.session})
    now = datetime.now(UTC)
    for job in jobs.values():
        if job.workflow:
            seen.workflow_of[job.id] = job.workflow
        seen.faces[Thing("job", job.id)] = _job(job, seen.sessions.get(job.session), now)
    by_name = {one.name: one for one in seen.sessions.values()}
    for workflow in found.workflows:
        seen.workflow_of.update({step.job: workflow.workflow for step in workflow.steps})
        seen.faces[Thing("workflow", workflow.workflow)] = _workflow(workflow, by_name.get(workflow.session_name))
    _sessions(hub, seen, {one.session for one in found.experiments})
    for experiment in found.experiments:
        seen.faces[Thing("experiment", experiment.experiment)] = _face(
            experiment_face(experiment), of_experiment(experiment), seen.sessions.get(experiment.session)
        )
    for entry in found.entries:
        seen.faces[Thing("entry", entry.id)] = _entry(entry, by_name)
    for link in found.links:
        seen.faces[Thing("link", link.id)] = _link(link, seen.sessions.get(link.session))


def _job(job: Job, session: SessionFace | None, now: datetime) -> Face:
    ran = (now - job.started_at).total_seconds() if job.started_at else 0.0
    face = job_face(job, now, job.ref)
    # Nobody can watch in a message; what goes on is shown by the card itself.
    kept = tuple(one for one in face.next if one.ident)
    return _face(msgspec.structs.replace(face, next=kept), of_job(job, ran), session)


def _workflow(one: Workflow, session: SessionFace | None) -> Face:
    return _face(workflow_face(one), of_workflow(one, 0.0), session)


def _entry(one: Entry, sessions: dict[str, SessionFace]) -> Face:
    is_signed = any(signature.valid for signature in one.signatures)
    standing = Standing("well" if is_signed else "", word=f"{one.version}:{len(one.signatures)}")
    return _face(entry_card(one), standing, sessions.get(one.name.partition("#")[0]))


def _link(one: LinkFace, session: SessionFace | None) -> Face:
    return _face(link_face(one), Standing("" if one.state == "open" else "stopped", word=one.state), session)


def _face(reply: Reply, standing: Standing, session: SessionFace | None) -> Face:
    room = () if session is None else (Next("open the room", url=session.url),)
    detail: Detail = "ids" if session is None else strictest(session.chat_detail)
    return Face(msgspec.structs.replace(reply, next=(*reply.next, *room), data=None), standing, detail)


def content(face: Face, shorter: int = 0) -> dict[str, Any]:
    """The face as Slack shows it; `shorter` is how often it was said to be too long."""
    left_out: dict[str, Any] = {"body": "", "table": None, "fields": ()}
    reply = msgspec.structs.replace(face.reply, **{name: left_out[name] for name in _SHORTER[:shorter]})
    shown = render(reply, strictest(face.detail))
    if shorter > len(_SHORTER):
        return {"text": shown["text"], "blocks": []}
    if is_loopback(face.reply.url):
        note = {"type": "context", "elements": [{"type": "plain_text", "text": _LOOPBACK, "emoji": False}]}
        shown = {**shown, "blocks": [*shown["blocks"], note]}
    return shown


def is_loopback(url: str) -> bool:
    """Whether an address means this machine to whoever opens it."""
    return (urlsplit(url).hostname or "") in ("localhost", "127.0.0.1", "::1")


def reply_content(face: Face, users: tuple[str, ...]) -> dict[str, Any]:
    """What the thread is told, with the submitter's name in front when they want to be mentioned."""
    said = reply_blocks(Reply(sentence=reduced(face.reply, strictest(face.detail)).sentence))
    if not users:
        return said
    text = " ".join(f"<@{user}>" for user in users) + f" {said['text']}"
    first, *rest = said["blocks"]
    section = first["elements"][0]
    called: list[dict[str, Any]] = [
        part for user in users for part in ({"type": "user", "user_id": user}, {"type": "text", "text": " "})
    ]
    opened = {**section, "elements": [*called, *section["elements"]]}
    return {"text": text, "blocks": [{**first, "elements": [opened, *first["elements"][1:]]}, *rest]}
