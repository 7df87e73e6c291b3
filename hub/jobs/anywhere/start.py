"""Where a person's own agent finds what it needs: its hub, its token, its folder, and a way into the cluster."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path

from hub.core import logs
from hub.core.errors import InvalidInput, NotSignedIn
from hub.core.settings import Settings
from hub.jobs.anywhere import run


def serve(
    url: str,
    cluster: str,
    *,
    kept: Path,
    state: Path,
    token_file: str | None,
    control_path: str | None,
    identity: str | None,
) -> None:
    """Run it until told to stop: tokens are kept below `kept`, and what is under way below `state`.

    Raises HubError in words for the person.
    """
    if not url:
        raise InvalidInput("name the hub with --hub", hint="it looks like https://hub.example.edu")
    url = run.checked_url(url)
    cluster = Path(cluster).name
    way = run.way_of(control_path or "", None if identity is None else Path(identity))
    token = _token(cluster, Path(token_file).expanduser() if token_file else None, kept)
    logs.configure(Settings(log_level="warning"))
    run.serve(url, token, cluster, way, state / "agents" / cluster)


def _token(cluster: str, named: Path | None, kept: Path) -> str:
    """From the file, or asked for at a terminal and kept in the file (mode 600): never from the command line."""
    place = named or kept / "agents" / f"{cluster}.token"
    try:
        token = place.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        if named or not sys.stdin.isatty():
            raise NotSignedIn(
                f"the agent's token cannot be read from {place}: {getattr(error, 'strerror', None) or error}",
                code="no_agent_token",
                hint=f"`collegium cluster token {cluster}` shows one; put it there, readable by you alone",
            ) from None
        token = getpass.getpass(f"Token of your agent for {cluster} (shown by `collegium cluster token`): ").strip()
        if token:
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                file.write(token + "\n")
    if not token.isascii() or not token.isprintable() or not token or " " in token:
        raise NotSignedIn(f"there is no token in {place}", code="no_agent_token")
    return token
