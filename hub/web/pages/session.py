"""The room of a session: the thing looked at, who is here, what is said, and the shelf of what one can look at."""

from __future__ import annotations

import secrets
from typing import Any, Literal

import msgspec
from markupsafe import Markup

from hub.artifacts import views as artifacts
from hub.core import limits
from hub.core.context import Scope
from hub.core.errors import HubError
from hub.jobs import views as jobs
from hub.ledger import followers
from hub.notebook import views as notebook
from hub.rooms import views as rooms
from hub.rooms.drafts import views as drafts
from hub.sessions import views as sessions
from hub.web.pages import frames, job, lesson, people, pictures, render, talk, words
from hub.web.pages.faces import Act, State, Way, job_state

_ON_SHELF = {"draft": 4, "job": 4, "artifact": 8, "entry": 4}
_RUNNING = ("RUNNING", "COLLECTING", "PENDING", "SUBMITTING", "QUEUED")


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """The thing looked at."""

    kind: Literal["artifact", "entry", "job", "draft", "none"]
    id: str = ""
    title: str = ""
    text: str = ""
    href: str = ""
    point: str = ""
    html: Markup = Markup("")


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A thing on the shelf."""

    kind: str
    id: str
    href: str
    title: str
    text: str
    here: bool
    state: State | None = None


class Room(msgspec.Struct, frozen=True, kw_only=True):
    """The room itself, with what the page needs to come alive."""

    id: str
    name: str
    title: str
    me: str
    my_name: str
    says: str
    may_speak: bool
    may_draft: bool
    home: str
    client_id: str
    here: str
    after: int
    head: int
    earlier: str
    latest: str
    reports: int


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /s/{owner}/{name}?look=KIND:ID&before=SEQUENCE"""
    after = followers.newest(scope.conn)
    session = sessions.session(scope, frames.ref(params))
    home = frames.home_of(session)
    shelf = _shelf(scope, session.id, home)
    stage, facts = _look(scope, session.id, params.get("look") or _default(shelf))
    before = frames.number(params, "before")
    said = rooms.messages(scope, session.id, before=before, begins=True)
    here = f"{home}?look={stage.kind}:{stage.id}" if stage.id else home
    earlier = said.messages[0].sequence if len(said.messages) == limits.PAGE_ITEMS else 0
    belong = people.rows(scope, session.id)
    return render.html(
        "room.html",
        frames.within(scope, session, "Room", "Room", look="room-page"),
        now=scope.now,
        room=Room(
            id=session.id,
            name=session.name,
            title=session.title,
            me=scope.actor.id,
            my_name=scope.actor.name,
            says=_belong(len(belong)),
            may_speak=scope.access.may(session.id, "room:speak"),
            may_draft=scope.access.may(session.id, "draft:write"),
            home=home,
            client_id=secrets.token_hex(8),
            here=here,
            after=after,
            head=said.head,
            earlier=f"{here}{'&' if '?' in here else '?'}before={earlier}" if earlier else "",
            latest=here if before is not None else "",
            reports=rooms.open_reports(scope, session.id),
        ),
        people=belong,
        shelf=[msgspec.structs.replace(item, here=item.id == stage.id) for item in shelf],
        messages=talk.lines(scope, said.messages, home),
        recipients=talk.recipients(scope, session),
        **{"class": lesson.show(scope, session.id)},
        most=limits.MESSAGE_CHARACTERS,
        stage=stage,
        ways=_ways(session.name, home),
        **facts,
    )


def _belong(people: int) -> str:
    return "Only you belong here" if people == 1 else f"{words.sentence(words.count(people, 'person'))} belong here"


def _shelf(scope: Scope, session: str, home: str) -> list[Item]:
    """What was made here lately: jobs first, then files one can look at, then entries."""
    found = [
        Item(kind="job", id=row.id, href=f"{home}?look=job:{row.id}", title=f"Job {row.number} · {row.name}", text="",
             here=False, state=job_state(row.state))
        for row in jobs.job_list(scope, session).jobs[: _ON_SHELF["job"]]
    ]  # fmt: skip
    shown = [row for row in artifacts.session_files(scope, session).artifacts if pictures.worth_showing(row)]
    found += [
        Item(kind="artifact", id=row.id, href=f"{home}?look=artifact:{row.id}", title=row.path,
             text=f"v{row.number}, {words.ago(frames.instant(row.at), scope.now)}", here=False)
        for row in shown[: _ON_SHELF["artifact"]]
    ]  # fmt: skip
    found += [
        Item(kind="draft", id=row.id, href=f"{home}?look=draft:{row.id}", title=row.name,
             text=f"Draft, {words.ago(frames.instant(row.updated), scope.now)}", here=False)
        for row in drafts.session_drafts(scope, session)[: _ON_SHELF["draft"]]
    ]  # fmt: skip
    found += [
        Item(kind="entry", id=row.id, href=f"{home}?look=entry:{row.id}", title=row.title,
             text=f"Entry {row.number}, version {row.version}", here=False)
        for row in notebook.session_entries(scope, session).entries[: _ON_SHELF["entry"]]
    ]  # fmt: skip
    return found


def _default(shelf: list[Item]) -> str:
    """What to look at first: a job that runs, else a picture, else whatever there is."""
    running = [item for item in shelf if item.state is not None and item.state.tint in ("run", "wait")]
    visual = [item for item in shelf if item.kind == "artifact"]
    pictured = [item for item in visual if item.title.lower().endswith((".png", ".svg", ".jpg", ".jpeg", ".webp"))]
    for choice in (running, pictured, visual, shelf):
        if choice:
            return f"{choice[0].kind}:{choice[0].id}"
    return ""


def _look(scope: Scope, session: str, look: str) -> tuple[Stage, dict[str, Any]]:
    """The stage, and what its template needs; something that is not of this session is not shown here."""
    kind, _, ident = look.partition(":")
    show = {"artifact": _artifact, "entry": _entry, "job": _job, "draft": _draft}.get(kind)
    if show is not None and ident:
        try:
            found = show(scope, session, ident)
        except HubError:
            found = None
        if found is not None:
            return found
    return Stage(kind="none", title="Nothing is looked at yet"), {}


def _artifact(scope: Scope, session: str, ident: str) -> tuple[Stage, dict[str, Any]] | None:
    view = artifacts.artifact(scope, ident)
    if view.session != session:
        return None
    preview = pictures.preview(scope, view)
    text = f"v{view.number}, {words.short(view.digest or '')}"
    page = f"/artifacts/{view.id}"
    stage = Stage(kind="artifact", id=view.id, title=view.path, text=text, href=page, point=preview.point)
    return stage, {"preview": preview}


def _entry(scope: Scope, session: str, ident: str) -> tuple[Stage, dict[str, Any]] | None:
    view = notebook.entry(scope, ident)
    if view.session != session:
        return None
    stage = Stage(
        kind="entry",
        id=view.id,
        title=view.title,
        text=f"Entry {view.number}, version {view.version}",
        href=f"/entries/{view.id}",
        point=f"entry:{view.id}",
        html=Markup(view.html),  # noqa: S704 - made safe where it was rendered (hub/notebook/markdown.py)
    )
    return stage, {}


def _job(scope: Scope, session: str, ident: str) -> tuple[Stage, dict[str, Any]] | None:
    view = jobs.job(scope, ident)
    if view.session != session:
        return None
    stage = Stage(
        kind="job",
        id=view.id,
        title=f"Job {view.number} · {view.name}",
        text="",
        href=f"/jobs/{view.id}",
        point=f"job:{view.id}",
    )
    return stage, {"log": job.log(scope, view), "state": job_state(view.state), "says": job.says(view, scope.now)}


def _draft(scope: Scope, session: str, ident: str) -> tuple[Stage, dict[str, Any]] | None:
    view = drafts.draft(scope, ident)
    if view.session != session:
        return None
    text = f"Draft {view.number}, written together"
    stage = Stage(kind="draft", id=view.id, title=view.name, text=text, point=f"draft:{view.id}")
    versions = [(version, frames.instant(version.at)) for version in view.versions]
    return stage, {"draft": view, "versions": versions, "may_enter": scope.access.may(session, "entry:write")}


def _ways(name: str, home: str) -> list[Way]:
    return [
        Way("Run something", "Its log appears here.", command=f"collegium job submit run.sh -s {name}"),
        Way("Add a file", "Pictures and tables can be looked at.", Act("Add files", href=f"{home}/files#add")),
        Way("Write", "Entries can be read together.", Act("Open the notebook", href=f"{home}/notebook")),
    ]
