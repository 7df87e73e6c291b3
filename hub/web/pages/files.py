"""The files of a session at their newest versions: pictures and tables as cards, everything as a table."""

from __future__ import annotations

import datetime as dt

import msgspec

from hub.artifacts import views as artifacts
from hub.artifacts.views import FileRow
from hub.core.context import Scope
from hub.sessions import views as sessions
from hub.web.pages import frames, pictures, render, words
from hub.web.pages.faces import Act, Way

_CARDS = 8


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A file in the table."""

    href: str
    path: str
    version: int
    size: str
    maker: str
    at: dt.datetime
    digest: str


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /s/{owner}/{name}/files?cursor="""
    session = sessions.session(scope, frames.ref(params))
    page = artifacts.session_files(scope, session.id, params.get("cursor"))
    many = artifacts.file_count(scope, session.id)
    may_write = scope.access.may(session.id, "artifact:write")
    shown = [row for row in page.artifacts if pictures.worth_showing(row)][:_CARDS]
    here = f"{frames.home_of(session)}/files"
    return render.html(
        "files.html",
        frames.within(scope, session, "Files", "Files"),
        now=scope.now,
        rows=[_row(row) for row in page.artifacts],
        cards=[] if params.get("cursor") else [pictures.card(scope, row) for row in shown],
        says=_says(many),
        older=f"{here}?cursor={page.cursor}" if page.cursor else "",
        ways=_ways(may_write),
        may_write=may_write,
        session=session.name,
    )


def _row(row: FileRow) -> Row:
    return Row(
        href=f"/artifacts/{row.id}",
        path=row.path,
        version=row.number,
        size=words.size(row.size),
        maker=f"a job of {row.author.name}" if row.job else row.author.name,
        at=frames.instant(row.at),
        digest=row.digest or "",
    )


def _says(many: int) -> str:
    if not many:
        return (
            "What you add and what jobs bring back stands here. Every version is kept, under the digest of its content."
        )
    return f"{words.sentence(words.count(many, 'file'))}, each at its newest version; every older one is kept."


def _ways(may_write: bool) -> list[Way]:
    if not may_write:
        return []
    return [
        Way("From this page", "Choose files, or drop them.", Act("Add files", href="#add", look="main")),
        Way("From your shell", "Resumable, by digest.", command="collegium artifact add data.csv"),
        Way("From a job", "What a job writes comes back by itself.", command="collegium job submit run.sh"),
    ]
