"""A session's notebook: its entries, newest first, and a sheet to write the next one on."""

from __future__ import annotations

import datetime as dt

import msgspec

from hub.core.context import Scope
from hub.notebook import views as notebook
from hub.notebook.views import EntryRow
from hub.sessions import views as sessions
from hub.web.pages import frames, render, words
from hub.web.pages.faces import Act, State, Way

UNSIGNED = State("Not signed", "later")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An entry in the list."""

    href: str
    title: str
    text: str
    state: State


class Sheet(msgspec.Struct, frozen=True, kw_only=True):
    """The form an entry is written on: empty for a new one, filled for its next version."""

    heading: str
    button: str
    session: str
    entry_id: str = ""
    base_version: int = 0
    title: str = ""
    content: str = ""
    conclusions: str = ""
    tools: str = ""
    artifacts: str = ""
    rows: int = 10


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /s/{owner}/{name}/notebook?cursor="""
    session = sessions.session(scope, frames.ref(params))
    page = notebook.session_entries(scope, session.id, params.get("cursor"))
    may_write = scope.access.may(session.id, "entry:write")
    here = f"{frames.home_of(session)}/notebook"
    return render.html(
        "notebook.html",
        frames.within(scope, session, "Notebook", "Notebook"),
        now=scope.now,
        rows=[_row(row, scope.now) for row in page.entries],
        says=_says(page.entries, more=page.cursor is not None),
        older=f"{here}?cursor={page.cursor}" if page.cursor else "",
        may_write=may_write,
        ways=_ways(may_write),
        form=Sheet(heading="Write an entry", button="Save entry", session=session.id),
    )


def signed_state(signatures: int) -> State:
    """How often an entry's newest version was signed; whether that holds is said on its page."""
    if not signatures:
        return UNSIGNED
    return State({1: "Signed", 2: "Signed twice"}.get(signatures, f"Signed {signatures} times"), "pen", "ok")


def _row(row: EntryRow, now: dt.datetime) -> Row:
    at = words.ago(frames.instant(row.at), now)
    text = f"Entry {row.number}, version {row.version} by {row.author.name}, {at}"
    return Row(
        href=f"/entries/{row.id}",
        title=row.title,
        text=f"{text}; {words.count(row.attachments, 'file')}" if row.attachments else text,
        state=signed_state(row.signatures),
    )


def _says(entries: list[EntryRow], *, more: bool) -> str:
    if not entries:
        return (
            "An entry is text with maths, the files it rests on, and what you conclude. Every version is kept, and a "
            "signature covers the text and every file."
        )
    signed = sum(bool(entry.signatures) for entry in entries)
    if more:
        return f"The newest {words.count(len(entries), 'entry')}; {words.part(signed)} of them signed."
    tail = (
        "none is signed"
        if not signed
        else "all are signed"
        if signed == len(entries)
        else (f"{words.number(signed)} {'is' if signed == 1 else 'are'} signed")
    )
    if len(entries) == 1:
        tail = "it is signed" if signed else "it is not signed yet"
    return f"{words.sentence(words.count(len(entries), 'entry'))}; {tail}."


def _ways(may_write: bool) -> list[Way]:
    if not may_write:
        return []
    return [
        Way("From this page", "Write in Markdown.", Act("Write an entry", href="#write", look="main")),
        Way("From your shell", "Files you name are brought along.", command="collegium note post text.md"),
        Way("From chat", "In a channel linked to this session.", command="/collegium note post"),
    ]
