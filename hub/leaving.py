"""The operator's side of leaving: a backup written, a backup read back, a hub restored from one.

The words of the command line; the work is in `hub.history`.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from bot.cards import Reply, Secret, fields
from bot.hub_client import HubClient
from bot.problems import OTHER
from bot.words import size
from hub.core.errors import Conflict, InvalidInput, NotFound
from hub.core.settings import Settings

REPORT_SECONDS = 0.5


class Line:
    """One line on a terminal that says how much was done, and how fast."""

    def __init__(self) -> None:
        self._done, self._began, self._told = 0, time.monotonic(), 0.0
        self._is_wanted = sys.stderr.isatty()

    def report(self, done_bytes: int) -> None:
        self._done += done_bytes
        now = time.monotonic()
        if self._is_wanted and now - self._told >= REPORT_SECONDS:
            self._told = now
            rate = self._done / max(now - self._began, 0.001)
            sys.stderr.write(f"\r\x1b[K{size(self._done)}, {size(int(rate))}/s")
            sys.stderr.flush()

    def clear(self) -> None:
        if self._is_wanted and self._told:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def backup(settings: Settings, folder: Path | None, passphrase: str, key_file: Path | None) -> Reply:
    """Write a backup; with a key file, under the key in it, which is made at first use."""
    from hub import app
    from hub.history import backup as backups

    _refuse_no_hub(settings)
    key = "" if key_file is None else _kept_key(key_file)
    line = Line()
    house = app.build(settings)
    try:
        made = backups.write(house, folder, passphrase=passphrase, recovery_key=key, report=line.report)
    finally:
        house.close()
        line.clear()
    secret = None
    if made.recovery_key:
        warning = "Shown once. Without it this backup opens for nobody: keep it where the backup is not."
        secret = Secret("recovery key", made.recovery_key, warning)
    faults = [f"{len(made.missing)} contents are missing from the store"] if made.missing else []
    faults += [] if made.ledger_holds else ["the ledger does not hold: `collegium verify`"]
    return Reply(
        sentence=f"Backed up to {made.path} and read back whole."
        + (f" But this hub is damaged: {'; '.join(faults)}." if faults else ""),
        fields=fields(
            size=size(made.size),
            ledger=f"{made.ledger_lines} lines, root {made.ledger_root[:16]}",
            rows=made.rows,
            contents=made.contents,
            key=f"in {key_file}" if key_file else None,
        ),
        secret=secret,
        exit_code=OTHER if faults else 0,
        data=made,
    )


def verify(file: Path, passphrase: str, key_file: Path | None) -> Reply:
    """Read a backup whole without keeping any of it."""
    from hub.history import backup as backups

    line = Line()
    try:
        found = backups.verify(file, passphrase or _key_in(key_file), report=line.report)
    finally:
        line.clear()
    return Reply(
        sentence=f"{file} is whole: every chunk opens and every file in it has the digest its manifest lists.",
        fields=fields(
            taken=found.taken_at,
            size=size(found.size),
            schema=found.schema,
            ledger=f"{found.ledger_lines} lines, root {found.ledger_root[:16]}",
            contents=found.contents,
        ),
        data=found,
    )


def restore(file: Path, data: Path, database_url: str, passphrase: str, key_file: Path | None) -> Reply:
    """Bring a hub back into an empty folder, and say what was proved."""
    from hub import app
    from hub.history import restore as restoring

    app.register_features()
    line = Line()
    try:
        made = restoring.restore(
            file, passphrase or _key_in(key_file), data, database_url=database_url, report=line.report
        )
    finally:
        line.clear()
    missing = f" {len(made.missing)} contents were already missing from the hub when it was backed up." * bool(
        made.missing
    )
    start = f"`collegium up --data {data}`"
    return Reply(
        sentence=f"Restored into {made.data} as of {made.taken_at}, and verified: the ledger's root, "
        f"{made.rows} rows in {made.tables} tables, {made.contents} contents by digest.{missing} "
        f"Start it with {start}; the hub it was taken from must not run any more.",
        data=made,
    )


def client_inside(settings: Settings) -> HubClient:
    """A client that reads this machine's hub from its data folder; no hub need run."""
    from hub import app
    from hub.core import migrations
    from hub.web.inside import Inside

    _refuse_no_hub(settings)
    house = app.build(settings)
    if not migrations.is_current(house.db):
        house.close()
        raise Conflict(
            "the database has the schema of another version", code="schema_other", hint="run `collegium migrate` first"
        )
    return HubClient(house.settings.origin, transport=Inside(house))


def secret(passphrase_file: Path | None, *, is_asked: bool, is_new: bool) -> str:
    """The passphrase, from a file or asked for where nobody can read along; empty when none is wanted."""
    import click

    if passphrase_file is not None:
        try:
            text = passphrase_file.read_text().rstrip("\n")
        except OSError as error:
            raise InvalidInput(f"{passphrase_file}: {error.strerror}", code="no_passphrase") from None
        if not text:
            raise InvalidInput(f"{passphrase_file} is empty", code="no_passphrase")
        return text
    if not is_asked:
        return ""
    return str(click.prompt("Passphrase", hide_input=True, confirmation_prompt=is_new, err=True))


def asked_key(passphrase: str, key_file: Path | None) -> tuple[str, Path | None]:
    """For reading: when neither a passphrase nor a file came, the key is asked for."""
    import click

    if passphrase or key_file is not None:
        return passphrase, key_file
    if not sys.stdin.isatty():
        raise InvalidInput(
            "nobody is here to be asked for the key", code="no_key", hint="--key-file or --passphrase-file names it"
        )
    return str(click.prompt("Passphrase or recovery key", hide_input=True, err=True)), None


def _refuse_no_hub(settings: Settings) -> None:
    if not settings.database_url and not (settings.data / "hub.sqlite3").exists():
        raise NotFound(f"there is no hub in {settings.data}", code="no_hub", hint="--data names another folder")


def _kept_key(key_file: Path) -> str:
    """The key in the file. A new one is kept before anything is sealed with it."""
    from hub.history.sealed import new_recovery_key

    if key_file.exists():
        return _key_in(key_file)
    key = new_recovery_key()
    key_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(key + "\n")
    return key


def _key_in(key_file: Path | None) -> str:
    try:
        return (key_file or Path()).read_text().strip()
    except OSError as error:
        raise InvalidInput(f"{key_file}: {error.strerror}", code="no_key") from None
