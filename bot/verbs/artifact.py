"""`artifact`: files under version, by their digest. Add one, see where it came from, get it back."""

from typing import Any

import click
import msgspec

from bot.cards import FileLive, Next, Reply, Table
from bot.door import Door
from bot.faces.artifact import artifact_card, artifact_row, log_card, made_card
from bot.faces.who import session_of
from bot.grammar import KeyValue, Noun, session_option
from bot.hub_views import AltSet, MadeArtifact
from bot.problems import NOT_FOUND, UNREADABLE, Problem, nearest
from bot.verbs.files import in_session
from bot.words import counted, size


@click.group("artifact", cls=Noun)
def artifact() -> None:
    """Files under version: add one, see where it came from, get it back."""


@artifact.command("add", fields={"artifact_path": "--as", "metadata": "--meta", "lineage": "--from", "alt": "--alt"})
@click.argument("file")
@click.option("--as", "path", metavar="PATH", help="Its path in the session; else its own.")
@click.option("-m", "--meta", "metadata", type=KeyValue(), multiple=True, help="A fact about it.")
@click.option("--from", "inputs", metavar="INPUT", multiple=True, help="A file it was made from.")
@click.option("--alt", help="What a picture shows, for those who cannot see it.")
@session_option
@click.pass_obj
def add_artifact(
    door: Door,
    file: str,
    path: str | None,
    metadata: tuple[tuple[str, str], ...],
    inputs: tuple[str, ...],
    alt: str | None,
    session: str | None,
) -> Reply:
    """Make FILE the newest version at its path in the session."""
    place = door.session(session)
    offered = door.uploads.find(file)
    if offered is None:
        raise Problem("no_such_file", f"There is no file {file} here.", exit_code=NOT_FOUND, fix=_near(door, file))
    lineage = [in_session(door, one, place) for one in inputs]
    digest = door.uploads.send(door.hub, offered, place)
    made = door.hub.act(
        "artifact_versioning",
        MadeArtifact,
        idempotency_key=door.key(),
        session_id=place,
        artifact_path=path or offered.path,
        digest=digest,
        metadata={key: _value(text) for key, text in metadata} or None,
        lineage=lineage or None,
        alt=alt,
    )
    return made_card(made, door.named_session(session))


def _value(text: str) -> Any:
    """A number or a truth value as such, everything else as the text it is."""
    try:
        value = msgspec.json.decode(text)
    except UNREADABLE:
        return text
    return value if isinstance(value, bool | int | float) else text


def _near(door: Door, file: str) -> str:
    meant = nearest(file, door.uploads.names())
    return f"artifact add {meant}" if meant else ""


@artifact.command("log")
@click.argument("path")
@session_option
@click.pass_obj
def artifact_log(door: Door, path: str, session: str | None) -> Reply:
    """Show the versions at PATH, newest first, and what each was made from."""
    one = door.hub.artifact(door.artifact_ref(path, session))
    return log_card(one, door.hub.versions(one.id), door.hub.lineage(one.id))


@artifact.command("show")
@click.argument("path")
@session_option
@click.pass_obj
def show_artifact(door: Door, path: str, session: str | None) -> Reply:
    """Show the file at PATH: its size, its digest, how it is kept."""
    return artifact_card(door.hub.artifact(door.artifact_ref(path, session)))


@artifact.command("describe", fields={"alt": "TEXT"})
@click.argument("path")
@click.argument("text")
@session_option
@click.pass_obj
def describe_artifact(door: Door, path: str, text: str, session: str | None) -> Reply:
    """Say in words what the picture at PATH shows, for those who cannot see it."""
    found = door.hub.artifact(door.artifact_ref(path, session))
    told = door.hub.act("artifact_alt", AltSet, idempotency_key=door.key(), artifact=found.id, alt=text)
    return Reply(sentence=f"{found.path} is described: {told.alt}", url=found.url, data=told)


@artifact.command("get")
@click.argument("path")
@click.option("-o", "--output", metavar="FILE", help="Where to put it; `-` is standard output.")
@click.option("--force", is_flag=True, help="Replace a file that is there.")
@session_option
@click.pass_obj
def get_artifact(door: Door, path: str, output: str | None, force: bool, session: str | None) -> Reply:
    """Fetch the newest version at PATH and check its digest."""
    found = door.hub.artifact(door.artifact_ref(path, session))
    name = found.path.rpartition("/")[2]
    return Reply(
        sentence=f"{found.path}, {size(found.size)}.",
        named=f"a file, {size(found.size)}.",
        session=session_of(found.name),
        live=FileLive(found.id, name, output or name, found.digest or "", found.size, overwrite=force),
        url=found.url,
        data=found,
    )


@artifact.command("list")
@session_option
@click.option("--cursor", help="Where the page before ended.")
@click.pass_obj
def list_artifacts(door: Door, session: str | None, cursor: str | None) -> Reply:
    """List the session's files at their newest version."""
    place = door.named_session(session)
    page = door.hub.artifacts(place, cursor=cursor)
    more = (
        f"More: {door.written('artifact', 'list', '--session', place, '--cursor', page.cursor)}" if page.cursor else ""
    )
    counts = counted(len(page.artifacts), "file") + (" and more." if page.cursor else ".")
    return Reply(
        sentence=f"{place}: {counts}",
        named=f"{place}: {counts}",
        ident=counts,
        session=place,
        table=Table(
            ("path", "version", "size", "when", "sha256"),
            tuple(artifact_row(one) for one in page.artifacts),
            more,
        ),
        next=() if page.artifacts else (Next("add one", ("artifact", "add", "FILE")),),
        data=page,
    )
