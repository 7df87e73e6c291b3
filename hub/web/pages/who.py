"""Who can see this? Everybody with a way to a session, a job, an entry or a file, by what, and until when."""

from __future__ import annotations

import msgspec

from hub.artifacts import views as artifacts
from hub.core.context import Scope
from hub.jobs import views as jobs
from hub.notebook import views as notebook
from hub.sessions import reach
from hub.sessions.reach import WhoView
from hub.web.pages import frames, render, ways, words
from hub.web.pages.faces import Person


class Seer(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody, or some group, in the list; `glyph` where there is no one face."""

    title: str
    text: str
    may: str
    person: Person | None = None
    glyph: str = ""


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /who?object=..."""
    found = reach.who_sees(scope, params.get("object") or "personal")
    called, href = _called(scope, found)
    return render.html(
        "who.html",
        frames.within(scope, found.session, "Who can see this?", "People"),
        now=scope.now,
        called=called,
        href=href,
        says=says(found),
        seers=[*_people(scope, found), *beyond(scope, found)],
        notes=notes(found),
    )


def says(found: WhoView) -> str:
    """The answer in a sentence."""
    parts = [words.count(len(found.people), "person")]
    if found.links_open == 1:
        parts.append("whoever has the open link")
    elif found.links_open:
        parts.append(f"whoever has one of {words.count(found.links_open, 'open link')}")
    if found.members:
        parts.append(f"every member of this hub ({found.members} in all)")
    return f"{words.sentence(words.listing(parts))} can see this."


def beyond(scope: Scope, found: WhoView) -> list[Seer]:
    """Those who are no participants: by links, as members of the hub, and the hub's own services."""
    seers = [
        Seer(title=title, text=text, may=frames.role_word(link.role), glyph="link")
        for link, (title, text) in ((each, ways.open_link(each, scope.now)) for each in found.links or ())
    ]
    if found.links is None and found.links_open:
        title = words.sentence(words.count(found.links_open, "open link"))
        seers.append(Seer(title=title, text="Who may share the session sees which", may="", glyph="link"))
    if found.members:
        text = "The session is open to them: they may look, and change nothing"
        seers.append(Seer(title="Every member of this hub", text=text, may="Reads", glyph="people"))
    if found.services:
        named = words.listing([each.name for each in found.services])
        seers.append(Seer(title=f"Services of this hub: {named}", text=found.services_say, may="As they", glyph="key"))
    return seers


def notes(found: WhoView) -> list[tuple[str, str]]:
    """What else is good to know."""
    if not found.operators:
        return []
    named = words.listing([each.name for each in found.operators])
    return [(f"{'Operator' if len(found.operators) == 1 else 'Operators'} of this hub: {named}.", found.operators_say)]


def _people(scope: Scope, found: WhoView) -> list[Seer]:
    return [
        Seer(
            title=each.person.name,
            text=ways.of(scope, each),
            may=frames.role_word(each.role),
            person=frames.person(each.person),
        )
        for each in found.people
    ]


def _called(scope: Scope, found: WhoView) -> tuple[str, str]:
    """What people call the object, and its page."""
    if found.kind == "job":
        return f"job {jobs.job(scope, found.object).ref}", f"/jobs/{found.object}"
    if found.kind == "entry":
        return f"entry {notebook.entry(scope, found.object).name}", f"/entries/{found.object}"
    if found.kind == "artifact":
        return f"file {artifacts.artifact(scope, found.object).name}", f"/artifacts/{found.object}"
    return f"session {found.session_name}", f"/s/{found.session_name}"
