"""A file at one version: what it looks like, where it came from, what rests on it, how to get it back."""

from __future__ import annotations

import datetime as dt

import msgspec
from markupsafe import Markup

from hub.artifacts import lineage, views
from hub.artifacts.lineage import Graph, Node
from hub.artifacts.views import ArtifactView, FileRow, UseRow
from hub.core import limits
from hub.core.context import Scope
from hub.core.errors import HubError
from hub.jobs import views as jobs
from hub.notebook import views as notebook
from hub.sessions import views as sessions
from hub.web.pages import frames, pictures, render, words
from hub.web.pages.faces import Fact, State

_STORED = State("Stored, digest checked", "sealed", "ok")
_IN_PLACE = State("In place, not verified", "unknown", "wait")


class File(msgspec.Struct, frozen=True, kw_only=True):
    """The version itself."""

    kind: str
    size: str
    version: int
    state: State
    folder: str
    name: str
    room: str
    content: str
    digest: str


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """A version of the same path."""

    version: int
    href: str
    here: bool
    text: str
    at: dt.datetime


class Use(msgspec.Struct, frozen=True):
    """What rests on this content."""

    href: str
    title: str
    text: str


class Item(msgspec.Struct, frozen=True):
    """A line of the lineage's list."""

    title: str
    href: str
    text: str


class Lineage(msgspec.Struct, frozen=True):
    """The picture and its twin."""

    picture: Markup
    items: list[Item]
    truncated: bool


class Again(msgspec.Struct, frozen=True):
    """A way to have the file again."""

    text: str
    command: str


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /artifacts/{ref}"""
    view = views.artifact(scope, params["ref"])
    session = sessions.session(scope, view.session)
    graph = _named(scope, views.lineage_graph(scope, view.id))
    folder, slash, name = view.path.rpartition("/")
    made_by = _job_name(scope, view.job)
    return render.html(
        "artifact.html",
        frames.within(scope, session, view.path, "Files"),
        now=scope.now,
        file=File(
            kind=pictures.kind_word(view.media_type),
            size=words.size(view.size),
            version=view.number,
            state=_STORED if view.kind == "stored" else _IN_PLACE,
            folder=folder + slash,
            name=name,
            room=f"{frames.home_of(session)}?look=artifact:{view.id}",
            content=f"/api/artifacts/{view.id}/content" if view.kind == "stored" else "",
            digest=view.digest or "",
        ),
        says=_says(scope, view, graph, made_by),
        preview=pictures.preview(scope, view),
        describe=view.id if _can_be_described(scope, view) else "",
        described=view.alt or "",
        most=limits.ALT_CHARACTERS,
        lineage=pictured(graph) if len(graph.nodes) > 1 else None,
        again=[Again("Bring this version back, every byte checked.", f"collegium artifact get {view.name}")],
        facts=_facts(view, made_by),
        versions=[_past(row, view) for row in views.history(scope, view.id).artifacts],
        uses=[use for row in views.uses(scope, view.id) if (use := _use(scope, row)) is not None],
    )


def pictured(graph: Graph, label: str = "") -> Lineage:
    """The graph as its picture (made of escaped text where it is drawn) and as a list."""
    return Lineage(
        picture=Markup(lineage.drawing(graph, label) if label else lineage.drawing(graph)),  # noqa: S704
        items=[
            Item(
                item.node.label,
                item.node.href,
                _in_words(item),
            )
            for item in lineage.as_list(graph)
        ],
        truncated=graph.truncated,
    )


def _in_words(item: lineage.ListItem) -> str:
    """A node's detail, and what it came from."""
    detail = item.node.detail.rstrip(".")
    return f"{detail}, from {words.listing([each.label for each in item.made_from])}" if item.made_from else detail


def _named(scope: Scope, graph: Graph) -> Graph:
    """The jobs of the graph under the names people gave them, as far as the reader may see them."""

    def named(node: Node) -> Node:
        found = _job(scope, node.id) if node.kind == "job" else None
        if found is None:
            return node
        return msgspec.structs.replace(node, label=f"job {found.number} · {found.name}", detail=found.reason)

    return msgspec.structs.replace(graph, nodes=[named(node) for node in graph.nodes])


def _job(scope: Scope, job: str | None) -> jobs.JobView | None:
    if job is None:
        return None
    try:
        return jobs.job(scope, job)
    except HubError:
        return None


def _job_name(scope: Scope, job: str | None) -> str:
    found = _job(scope, job)
    return "" if found is None else f"job {found.number}"


def _can_be_described(scope: Scope, view: ArtifactView) -> bool:
    """Whether this is a picture, and the reader one who may put words to it."""
    return view.preview.kind in {"image", "svg"} and scope.access.may(view.session, "artifact:write")


def _says(scope: Scope, view: ArtifactView, graph: Graph, made_by: str) -> str:
    at = words.ago(frames.instant(view.at), scope.now)
    if view.job is None:
        said = f"{view.author.name} added this {at}."
    else:
        sources = sum(edge.target == view.job for edge in graph.edges)
        said = f"Made by {made_by or 'a job'}, {at}" + (f", from {words.count(sources, 'file')}." if sources else ".")
    if view.newest != view.number:
        said += f" The newest version is {view.newest}."
    return said


def _facts(view: ArtifactView, made_by: str) -> list[Fact]:
    at = frames.instant(view.at)
    facts = [Fact("Made by", made_by or "a job", href=f"/jobs/{view.job}")] if view.job else []
    facts += [Fact("Person", view.author.name), Fact("When", words.moment(at), at=at), Fact("Type", view.media_type)]
    if view.tools_used:
        facts.append(Fact("With", words.listing(view.tools_used)))
    if view.commit:
        facts.append(Fact("Commit", view.commit, code=True))
    facts.append(Fact("Kept", view.words))
    facts.append(Fact("Seen by", "who can see this?", href=f"/who?object={view.id}"))
    if view.pinned:
        facts.append(Fact("Pinned", "never removed while something rests on it"))
    return facts


def _past(row: FileRow, view: ArtifactView) -> Past:
    return Past(
        version=row.number,
        href=f"/artifacts/{row.id}",
        here=row.id == view.id,
        text=f"{words.size(row.size)}, {'made by a job' if row.job else row.author.name}",
        at=frames.instant(row.at),
    )


def _use(scope: Scope, row: UseRow) -> Use | None:
    """What cites this content, as far as the reader may know of it."""
    if row.kind != "entry":
        return None
    try:
        entry = notebook.entry(scope, row.id)
    except HubError:
        return None
    return Use(f"/entries/{entry.id}", entry.title, "signed" if entry.signatures else f"entry {entry.number}")
