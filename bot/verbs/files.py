"""Files named in a command: what came along is sent and becomes a version; all else is a path in the session."""

from bot.door import Door
from bot.hub_views import MadeArtifact
from bot.problems import NOT_FOUND, Problem
from bot.uploads import digest_of


def in_session(door: Door, name: str, session: str | None) -> str:
    """The path in the session of the file called `name`, which is sent when it came with the command.

    Bytes that are already the newest version at that path are not sent again.
    """
    offered = door.uploads.find(name)
    if offered is None:
        return name
    digest = digest_of(offered.source)
    if _newest_digest(door, offered.path, session) != digest.removeprefix("sha256:"):
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


def _newest_digest(door: Door, path: str, session: str | None) -> str:
    try:
        return (door.hub.artifact(door.artifact_ref(path, session)).digest or "").removeprefix("sha256:")
    except Problem as problem:
        if problem.exit_code == NOT_FOUND:
            return ""
        raise
