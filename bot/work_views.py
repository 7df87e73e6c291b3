"""What the hub answers about work that is only tried, held back, or made of several parts: dry runs, experiments."""

from datetime import datetime

import msgspec

from bot.hub_views import Person, View


class SeenVersion(View, frozen=True, kw_only=True):
    """One version of a script: its number, who made it."""

    number: int = 0
    by: str = ""


class ChangedScript(View, frozen=True, kw_only=True):
    """A script that somebody else changed; `confirm` lets it run as it is now."""

    path: str = ""
    step: str | None = None
    seen: SeenVersion = SeenVersion()
    now: SeenVersion = SeenVersion()
    diff: str = ""
    confirm: str = ""


class PreviewFile(View, frozen=True, kw_only=True):
    path: str = ""
    text: str = ""


class PreviewInput(View, frozen=True, kw_only=True):
    path: str = ""
    digest: str = ""
    size_bytes: int = 0


class PreviewOption(View, frozen=True, kw_only=True):
    """An option of sbatch; it lost where a reason is given."""

    option: str = ""
    by: str = ""
    lost_because: str = ""


class Preview(View, frozen=True, kw_only=True):
    """One job as it would run."""

    name: str = ""
    step: str | None = None
    backend: str = ""
    kind: str = ""
    command: tuple[str, ...] = ()
    folder: str = ""
    limits: dict[str, int] = {}  # noqa: RUF012
    options: tuple[PreviewOption, ...] = ()
    manifest: str = ""
    files: tuple[PreviewFile, ...] = ()
    inputs: tuple[PreviewInput, ...] = ()
    waits_for: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Previews(View, frozen=True, kw_only=True):
    """What a submission would start."""

    session_name: str = ""
    name: str = ""
    jobs: tuple[Preview, ...] = ()
    kept: tuple[str, ...] = ()
    changed: tuple[ChangedScript, ...] = ()


class Result(View, frozen=True, kw_only=True):
    """A file that a node made."""

    version: str = ""
    path: str = ""


class Node(View, frozen=True, kw_only=True):
    """A node of an experiment and how it fares."""

    place: int
    tool: str = ""
    action: str = ""
    state: str
    words: str = ""
    tries: int = 0
    results: tuple[Result, ...] = ()

    @property
    def is_over(self) -> bool:
        return self.state not in ("WAITING", "RUNNING")


class Experiment(View, frozen=True, kw_only=True):
    """An experiment, its nodes in their order."""

    experiment: str
    session: str = ""
    session_name: str = ""
    url: str = ""
    state: str
    at: datetime | None = None
    ended: datetime | None = None
    resumes: str | None = None
    by: Person = Person()
    nodes: tuple[Node, ...] = ()
    deadline: datetime | None = None
    budget: float | None = None
    comes_to: float | None = None

    @property
    def is_over(self) -> bool:
        return self.state != "RUNNING"


class HeldBack(msgspec.Struct, frozen=True):
    """What a refusal says of scripts that were changed."""

    scripts: tuple[ChangedScript, ...] = ()
