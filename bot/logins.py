"""Being signed in to hubs elsewhere: a token for each, in a file of its own that nobody else can read.

The files lie beside the small configuration file, named after the hub. One that others of this machine could read is
refused rather than used, since whoever has it acts as its owner.
"""

import hashlib
import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from bot.problems import INVALID, Problem, usage

LOOPBACK = ("localhost", "127.0.0.1", "::1")


def hub_address(text: str) -> str:
    """The hub's address as it is kept: scheme, host and port. Raises Problem for what is none."""
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good or parts.username or parts.password:
        bare = re.fullmatch(r"[\w.-]+(:\d+)?", url)
        raise usage(
            f"“{text}” is not the address of a hub.",
            hint="An address looks like https://hub.example.edu",
            fix=f"login https://{url}" if bare and "." in url else "",
        )
    if parts.path or parts.query or parts.fragment:
        raise usage(f"“{text}” is the address of a page, not of a hub.", fix=f"login {parts.scheme}://{parts.netloc}")
    return f"{parts.scheme}://{parts.netloc.lower()}"


def open_warning(url: str) -> str:
    """What is wrong with sending a token to this address; nothing when it is encrypted or stays on this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" or parts.hostname in LOOPBACK:
        return ""
    return f"The token goes to {parts.hostname} unencrypted; use https."


def token_file(folder: Path, url: str) -> Path:
    """Where the token for this hub is kept."""
    host = re.sub(r"[^\w.-]", "_", urlsplit(url).netloc)[:80]
    return folder / "tokens" / f"{host}-{hashlib.sha256(url.encode()).hexdigest()[:10]}"


def keep(folder: Path, url: str, token: str) -> Path:
    """Keep a token, readable by its owner alone from the first byte on; returns its file."""
    place = token_file(folder, url)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = place.with_name(f".{place.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(token + "\n")
    fresh.replace(place)
    return place


def recall(folder: Path, url: str) -> str:
    """The token for this hub, or nothing. Raises Problem when others can read it, or it cannot be read."""
    place = token_file(folder, url)
    try:
        with place.open() as file:
            found = os.fstat(file.fileno())
            if found.st_uid != os.getuid() or stat.S_IMODE(found.st_mode) & 0o077:
                raise Problem(
                    "token_exposed",
                    f"Others on this machine can read your token for {url}, in {place}.",
                    hint="Run `collegium logout` and log in again; whoever read it can act as you until then.",
                    exit_code=INVALID,
                )
            return file.read(1000).strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise Problem(
            "bad_token_file", f"Your token for {url} in {place} cannot be read: {reason}.",
            hint="Correct or delete the file.", exit_code=INVALID,
        ) from error  # fmt: skip


def forget(folder: Path, url: str) -> bool:
    """Remove the token for this hub; False when there was none."""
    try:
        token_file(folder, url).unlink()
    except FileNotFoundError:
        return False
    return True


def host_name(environ: Mapping[str, str]) -> str:
    """What this machine calls itself, for whoever confirms the login."""
    return environ.get("HOSTNAME", "") or os.uname().nodename
