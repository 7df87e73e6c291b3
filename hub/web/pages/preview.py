"""POST /jobs/preview: what a submission would start, file by file, with the button that submits it."""

from __future__ import annotations

import shlex

import msgspec

from hub.core.context import Scope
from hub.jobs.amounts import shown_bytes, shown_seconds
from hub.jobs.preview import Preview, PreviewFile, PreviewInput, PreviewOption, Previews
from hub.web.pages import diffs, frames, render, script_changed, words
from hub.web.pages.faces import Fact

_LIMITS = {
    "wall_seconds": "Time", "memory_bytes": "Memory", "processes": "Processes", "disk_bytes": "Disk",
    "log_bytes": "Log",
}  # fmt: skip


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """One job of it."""

    title: str
    where: str
    command: str
    around: str
    options: list[PreviewOption]
    facts: list[Fact]
    files: list[PreviewFile]
    manifest: str
    inputs: list[PreviewInput]
    notes: list[str]


def show(scope: Scope, found: Previews, pairs: list[tuple[str, str]]) -> str:
    """The page; its form sends the same fields to where they are carried out."""
    many = len(found.jobs)
    kept = f" {words.sentence(words.count(len(found.kept), 'step'))} would be kept." if found.kept else ""
    return render.html(
        "job_preview.html",
        frames.within(scope, found.session, "Preview", "Jobs"),
        now=scope.now,
        title=f"Preview: {found.name}",
        says=f"{'This' if many == 1 else words.count(many, 'job')} would run.{kept} Nothing is recorded yet.",
        jobs=[_shown(each) for each in found.jobs],
        changes=[diffs.changed(each) for each in found.changed],
        fields=script_changed.confirming(pairs, found.changed) if found.changed else pairs,
        submit="Run it as it is now" if found.changed else "Submit job",
    )


def _shown(one: Preview) -> Shown:
    return Shown(
        title=one.step or one.name,
        where=one.backend,
        command=shlex.join(one.command),
        around=shlex.join(one.around),
        options=one.options,
        facts=[
            *([Fact("Folder", one.folder, code=True)] if one.folder else []),
            *(Fact(_LIMITS[name], _amount(name, value)) for name, value in one.limits.items() if name in _LIMITS),
            *(Fact(name, value, code=True) for name, value in one.variables.items()),
        ],
        files=one.files,
        manifest=one.manifest,
        inputs=one.inputs,
        notes=one.notes,
    )


def _amount(name: str, value: int) -> str:
    if name.endswith("_bytes"):
        return shown_bytes(value)
    return shown_seconds(value) if name.endswith("_seconds") else f"{value:,}"
