"""Where the hub is, who speaks, which session is meant: from options, environment, the embedded hub, a small file.

The first that says something counts: the option, the environment, then the data folder of an embedded hub
(`COLLEGIUM_DATA`, else `.data` in this folder or one above it), where `collegium up` leaves `hub.json` and
`operator.token`, then the hub last logged in to. A hub that `collegium login` knows is spoken to with its own token.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from bot import logins
from bot.problems import INVALID, UNAVAILABLE, Problem, usage


class Address(msgspec.Struct, frozen=True):
    """A hub and the token to speak to it with. `pid` is the embedded hub's launcher; `warning` is for the person."""

    url: str
    token: str = ""
    pid: int | None = None
    data: Path | None = None
    warning: str = ""
    is_login: bool = False  # whether the token is one that `collegium login` keeps


class _Running(msgspec.Struct, frozen=True):
    url: str
    pid: int | None = None


class Remembered(msgspec.Struct):
    """What the small file keeps: the session in use at each hub, and the hub last logged in to."""

    sessions: dict[str, str] = {}
    hub: str = ""


def find_hub(environ: Mapping[str, str], here: Path, *, hub: str = "", token_file: str = "") -> Address:
    """The hub that is meant. Raises Problem when none is known or a named file cannot be read."""
    url = (hub or environ.get("COLLEGIUM_HUB", "")).rstrip("/")
    token = _token(environ, token_file)
    data = _data_folder(environ, here)
    running = _running(data) if data else None
    if not url:
        if running is None or data is None:
            url = "" if environ.get("COLLEGIUM_DATA") else _remembered(environ).hub
            if not url:
                raise _no_hub(environ, here)
            return _elsewhere(environ, url, token)
        return Address(running.url.rstrip("/"), token or _operator_token(data), running.pid, data)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise usage(f"“{url}” is not the address of a hub.", hint="An address looks like https://hub.example.edu")
    if not token and data is not None and running is not None and running.url.rstrip("/") == url:
        return Address(url, _operator_token(data), running.pid, data)
    return _elsewhere(environ, url, token)


def _elsewhere(environ: Mapping[str, str], url: str, token: str) -> Address:
    """A hub that is no embedded one here, with the token that was given, else the one its login left."""
    kept = "" if token else logins.recall(folder(environ), url)
    warning = logins.open_warning(url) if token or kept else ""
    return Address(url, token or kept, warning=warning, is_login=bool(kept))


def named_hub(environ: Mapping[str, str], hub: str) -> str:
    """The hub elsewhere that is meant: by option, by environment, or the one last logged in to."""
    return hub or environ.get("COLLEGIUM_HUB", "") or _remembered(environ).hub


def _no_hub(environ: Mapping[str, str], here: Path) -> Problem:
    """Which hub was looked for, so that it can be started."""
    named = environ.get("COLLEGIUM_DATA")
    was_here = named or ((here / ".data" / "operator.token").exists() and ".data")
    return Problem(
        "no_hub",
        f"No hub is running in {was_here}." if was_here else "No hub is known here.",
        hint=("Start it" if was_here else "Start one")
        + f" with `collegium up{f' --data {named}' if named else ''}`, or name another: --hub URL, COLLEGIUM_HUB.",
        exit_code=UNAVAILABLE,
    )


def is_running(address: Address) -> bool:
    """Whether the embedded hub's launcher is still a process; True when that cannot be known from here."""
    if address.pid is None:
        return True
    try:
        os.kill(address.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def recall_session(environ: Mapping[str, str], url: str) -> str | None:
    """The session `collegium use` chose for this hub."""
    return environ.get("COLLEGIUM_SESSION") or _remembered(environ).sessions.get(url)


def remember_session(environ: Mapping[str, str], url: str, session: str | None) -> Path:
    """Keep the session in use for this hub (None: the personal one again); returns the file it is kept in."""
    known = _remembered(environ)
    if session is None:
        known.sessions.pop(url, None)
    else:
        known.sessions[url] = session
    return _write(environ, known)


def remember_hub(environ: Mapping[str, str], url: str) -> Path:
    """From now on this hub is meant where no other is."""
    known = _remembered(environ)
    known.hub = url
    return _write(environ, known)


def forget_hub(environ: Mapping[str, str], url: str) -> None:
    """This hub is not meant any more where none is named; the session in use there is kept."""
    known = _remembered(environ)
    if known.hub == url:
        known.hub = ""
        _write(environ, known)


def _write(environ: Mapping[str, str], known: Remembered) -> Path:
    place = config_file(environ)
    place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = place.with_name(f"{place.name}.{os.getpid()}")
    fresh.touch(mode=0o600)
    fresh.write_bytes(msgspec.json.format(msgspec.json.encode(known)))
    fresh.replace(place)
    return place


def folder(environ: Mapping[str, str]) -> Path:
    """Where what is kept for this person lies."""
    return _xdg(environ, "XDG_CONFIG_HOME", ".config") / "collegium"


def config_file(environ: Mapping[str, str]) -> Path:
    return folder(environ) / "config.json"


def uploads_file(environ: Mapping[str, str]) -> Path:
    """Where unfinished uploads are noted."""
    return state_folder(environ) / "uploads.json"


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where what is under way for this person lies."""
    return _xdg(environ, "XDG_STATE_HOME", ".local/state") / "collegium"


def _xdg(environ: Mapping[str, str], variable: str, default: str) -> Path:
    # The specification says to ignore a relative path.
    named = environ.get(variable, "")
    return Path(named) if named.startswith("/") else Path(environ.get("HOME", "~")).expanduser() / default


def _remembered(environ: Mapping[str, str]) -> Remembered:
    place = config_file(environ)
    try:
        return msgspec.json.decode(place.read_bytes(), type=Remembered)
    except FileNotFoundError:
        return Remembered()
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(
            "bad_config", f"{place} is not what it should be: {error}", hint="Correct or delete it.", exit_code=INVALID
        ) from error


def _token(environ: Mapping[str, str], token_file: str) -> str:
    place = token_file or ("" if environ.get("COLLEGIUM_TOKEN") else environ.get("COLLEGIUM_TOKEN_FILE", ""))
    if not place:
        return environ.get("COLLEGIUM_TOKEN", "").strip()
    try:
        return Path(place).expanduser().read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not text"
        raise usage(f"The token file {place} cannot be read: {reason}.") from error


def _data_folder(environ: Mapping[str, str], here: Path) -> Path | None:
    """The embedded hub's folder: the named one, else the nearest `.data` from here upwards that holds a hub."""
    named = environ.get("COLLEGIUM_DATA")
    if named:
        return here / named
    return next((at / ".data" for at in (here, *here.parents) if _is_ours(at / ".data" / "hub.json")), None)


def _is_ours(place: Path) -> bool:
    """Whether this account wrote the file: in a shared folder somebody else could name a hub of their own."""
    try:
        return place.stat().st_uid == os.getuid()
    except OSError:
        return False


def _running(data: Path) -> _Running | None:
    try:
        return msgspec.json.decode((data / "hub.json").read_bytes(), type=_Running)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _operator_token(data: Path | None) -> str:
    if data is None:
        return ""
    try:
        return (data / "operator.token").read_text().strip()
    except (OSError, UnicodeDecodeError):
        return ""
