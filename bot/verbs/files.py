"""Files named in a command: what came along is sent and becomes a version; all else is a path in the session."""

from pathlib import PurePath

from bot.door import Door
from bot.hub_views import MadeArtifact
from bot.problems import NOT_FOUND, Problem, nearest
from bot.uploads import digest_of


def in_session(door: Door, name: str, session: str | None) -> str:
    """The path in the session of the file called `name`, which is sent when it came with the command.

    Bytes that are already the newest version at that path are not sent again.
    """
    offered = door.uploads.find(name)
    if offered is None:
        return name
    digest = digest_of(offered.source)
    if newest_digest(door, offered.path, session) != digest.removeprefix("sha256:"):
        door.uploads.send(door.hub, offered, session)
        door.hub.act(
            "artifact_versioning",
            MadeArtifact,
            idempotency_key=door.key(),
            session_id=session,
            artifact_path=offered.path,
            digest=digest,
        )
    return offered.path


TEXT_FILES = (".md", ".markdown", ".txt")


def title_and_text(door: Door, name: str, command: str) -> tuple[str, str]:
    """A text file that came with the command: its first heading, else its name, and what stands below.

    Raises Problem when no such file came; `command` is what to write it after.
    """
    written = door.read(name)
    if written is None:
        meant = nearest(name, door.uploads.names())
        raise Problem(
            "no_such_file",
            f"There is no file {name} here.",
            fix=f"{command} {meant}" if meant else "",
            exit_code=NOT_FOUND,
        )
    first, _, rest = written.lstrip("\n").partition("\n")
    if first.startswith("# "):
        return first[2:].strip(), rest.lstrip("\n")
    return PurePath(name).stem.replace("_", " "), written


def newest_digest(door: Door, path: str, session: str | None) -> str:
    """The digest of what the session holds at that path; empty when it holds nothing."""
    try:
        return (door.hub.artifact(door.artifact_ref(path, session)).digest or "").removeprefix("sha256:")
    except Problem as problem:
        if problem.exit_code == NOT_FOUND:
            return ""
        raise
