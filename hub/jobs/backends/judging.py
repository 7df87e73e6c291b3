"""What became of runs, decided from everything that was seen of them, in the order of how far it can be trusted. Pure.

A run that Slurm lists is what Slurm says, made exact by the end its wrapper wrote. One that it no longer lists has the
end it wrote; else what accounting says; and when neither says anything for long enough, nobody knows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from hub.jobs.backends import ends, slurm_rules
from hub.jobs.backends.ends import Folder
from hub.jobs.backends.slurm_rules import Row
from hub.jobs.port import Observation

# A shared file system shows a file late; accounting learns of an end late.
FILES_SECONDS = 90.0
ACCOUNTING_SECONDS = 600.0
SILENCE_SECONDS = 3600.0
POLLS_BEFORE_FORBIDDING = 2
QUIET_SECONDS = 15.0


class Known(msgspec.Struct, frozen=True):
    """A run that the hub asks about: its token, and Slurm's id when it is known.

    One that is `attached` was not submitted by the hub and bears no token; `seen` says that Slurm has told of it.
    """

    job: str
    run: int
    token: str
    name: str = ""
    native: str | None = None
    cancel_asked: bool = False
    attached: bool = False
    seen: bool = True


class Absence(msgspec.Struct, frozen=True):
    """Since when a run is not where it should be, and how many answers have not named it."""

    since: float
    polls: int = 0
    accounts: int = 0


class Verdict(msgspec.Struct, frozen=True):
    """What is seen of a run; or what has to be asked first; and ids that bear its token and must end."""

    seen: Observation | None = None
    ask_accounting: bool = False
    forbid: bool = False
    strangers: tuple[str, ...] = ()


def listed(known: Known, rows: Sequence[Row], folder: Folder | None, absence: Absence | None, now: float) -> Verdict:
    """For a run whose token Slurm lists, perhaps for several jobs: only one of them may run."""
    bases = sorted({row.base for row in rows}, key=int)
    mine = known.native if known.native in bases else bases[0]
    strangers: tuple[str, ...] = ()
    if folder is not None and folder.holder in bases:
        # Only now: of copies that all still wait, any may be the one that enters.
        mine = folder.holder
        strangers = tuple(base for base in bases if base != mine and _lives(rows, base))
    row = slurm_rules.fold([each for each in rows if each.base == mine])
    if row.standing != "ended":
        return Verdict(slurm_rules.observation(row), strangers=strangers)
    if folder is None:
        return Verdict(strangers=strangers)
    seen = ends.together(row, folder)
    if seen is None and absence is not None and now - absence.since > FILES_SECONDS:
        said = f"Slurm says {row.state}, but the job's folder holds no end of its program"
        seen = Observation("lost", detail=said, native=mine)
    return Verdict(seen, strangers=strangers)


def _lives(rows: Sequence[Row], base: str) -> bool:
    return any(row.base == base and row.standing in ("waiting", "running") for row in rows)


def unlisted(known: Known, folder: Folder, absence: Absence, now: float, *, accounting: bool) -> Verdict:
    """For a run that Slurm should list and does not, before accounting was asked."""
    native = known.native or folder.given
    if native is not None and (end := ends.first_hand(folder, native)) is not None:
        return Verdict(Observation("ended", end, native=native))
    if accounting:
        return Verdict(ask_accounting=absence.polls >= 1)
    return unaccounted(known, folder, absence, now, answered=True, patience=FILES_SECONDS)


def unaccounted(
    known: Known, folder: Folder, absence: Absence, now: float, *, answered: bool, patience: float = ACCOUNTING_SECONDS
) -> Verdict:
    """For a run that accounting does not know either, or cannot be asked about."""
    native = known.native or folder.given
    if native is None:
        quiet = absence.polls >= POLLS_BEFORE_FORBIDDING and now - absence.since >= QUIET_SECONDS
        return Verdict(forbid=answered and quiet)
    gone = now - absence.since
    if gone < (patience if answered else SILENCE_SECONDS):
        # Its own end, though it speaks of a signal, is the last word only when there will be no better one.
        return Verdict()
    if (seen := ends.vanished(folder, native)) is not None:
        return Verdict(seen)
    said = "Slurm no longer lists it, accounting does not know it, and its folder holds no end"
    return Verdict(Observation("lost", detail=said, native=native))


def of_the_holder(rows: Sequence[Row], folder: Folder | None) -> list[Row]:
    """The lines that can be this run's: once a job holds its lock, what becomes of a copy says nothing of it."""
    if folder is None or folder.holder in (None, "nobody") or any(row.base == folder.holder for row in rows):
        return list(rows)
    return []


def accounted(known: Known, rows: Sequence[Row], folder: Folder) -> Verdict:
    """For a run that only accounting knows. It lags, so that a job it calls running may have ended long ago."""
    bases = [row.base for row in rows]
    mine = next((base for base in (folder.holder, known.native, folder.given) if base in bases), max(bases, key=int))
    row = slurm_rules.fold([each for each in rows if each.base == mine])
    if row.standing == "ended":
        return Verdict(ends.together(row, folder))
    return Verdict(Observation("waiting" if row.standing == "waiting" else "started", native=row.base))


def tokens(known: Sequence[Known], rows: Sequence[Row]) -> Mapping[str, list[Row]]:
    """The lines of each token that is asked about."""
    wanted = {each.token for each in known}
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.token in wanted and row.token is not None:
            found.setdefault(row.token, []).append(row)
    return found
