"""Submitting: what is sent first, the dry run of it, and the question about a script that somebody else changed."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
import msgspec

from bot.cards import Reply
from bot.door import Door
from bot.faces.preview import change_card, change_text, previews_card
from bot.problems import UNREADABLE, Problem
from bot.uploads import digest_of
from bot.verbs.files import in_session, newest_digest
from bot.work_views import ChangedScript, HeldBack

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

# So much of a script's beginning says all that is read of it before it runs.
HEAD_CHARACTERS = 32 << 10


confirm_option = click.option(
    "--confirm",
    metavar="DIGEST",
    multiple=True,
    help="Run the script of this digest, though somebody else changed it.",
)


def whole_terms(command: F) -> F:
    """`--within` and `--budget` of all of a workflow or an experiment together."""
    within = click.option(
        "--within", metavar="TIME", help="All of it is to have ended by then, as Slurm writes it: 30, 2:00:00, 1-12."
    )
    most = "What all of it may cost at most."
    return within(click.option("--budget", type=click.FloatRange(0), metavar="AMOUNT", help=most)(command))


class Bringing:
    """The files a submission names: sent as they are named, or for a dry run only told of."""

    def __init__(self, door: Door, session: str | None, *, is_dry: bool) -> None:
        self._door, self._session, self._is_dry = door, session, is_dry
        self.assumed: list[dict[str, Any]] = []

    def path(self, name: str, *, is_script: bool = False) -> str:
        """Its path in the session."""
        if not self._is_dry:
            return in_session(self._door, name, self._session)
        offered = self._door.uploads.find(name)
        if offered is None:
            return name
        digest = digest_of(offered.source)
        if newest_digest(self._door, offered.path, self._session) != digest.removeprefix("sha256:"):
            text = ""
            if is_script:
                with offered.source.open(encoding="utf-8", errors="replace") as script:
                    text = script.read(HEAD_CHARACTERS).replace("\0", "\ufffd")
            self.assumed.append({"path": offered.path, "digest": digest, "size": offered.size_bytes, "text": text})
        return offered.path

    def in_hand(self, name: str) -> list[str]:
        """The digest of the file called `name`, when it came along: who has the bytes has seen them."""
        offered = self._door.uploads.find(name)
        return [] if offered is None else [digest_of(offered.source)]


def dry_run(door: Door, action: str, files: Sequence[dict[str, Any]], params: dict[str, Any]) -> Reply:
    """What the submission would start."""
    found = door.hub.preview(action, files, params)
    return previews_card(found, tuple(each["path"] for each in files))


def confirmed(
    door: Door, session: str | None, confirm: Sequence[str], do: Callable[[Sequence[str] | None], T]
) -> T | Reply:
    """What `do` answers to the digests that are confirmed; where a script was changed, its submitter is asked first."""
    try:
        return do(confirm or None)
    except Problem as problem:
        changed = _changed(problem)
        if not changed:
            raise
        fresh = tuple(dict.fromkeys(each.confirm for each in changed))
        if door.asks_by_button:
            again = (*door.said[:2], *(word for each in fresh for word in ("--confirm", each)), *door.said[2:])
            return change_card(problem.detail, changed, again, door.named_session(session))
        problem.body = change_text(changed)
        question = f"{problem.detail.partition(';')[0]}. Run it as it is now?"
        if door.shell is not None and (ask := door.shell.ask) is not None:
            if ask(problem.body, question, False):
                return do([*confirm, *fresh])
            raise Problem("script_changed", "Not submitted.", status=problem.status) from problem
        flags = " ".join(f"--confirm {each}" for each in fresh)
        problem.errors = ()
        problem.hint = f"Look at what changed. To run it as it is now, give the command again with {flags}"
        raise


def _changed(problem: Problem) -> tuple[ChangedScript, ...]:
    if problem.code != "script_changed":
        return ()
    try:
        return msgspec.convert(problem.facts, HeldBack).scripts
    except UNREADABLE:
        return ()
