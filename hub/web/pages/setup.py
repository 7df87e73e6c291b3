"""Setting the hub up: one section a step, with how it stands, what its test found, and the form that changes it."""

from __future__ import annotations

from typing import Literal
from urllib.parse import quote

import msgspec

from hub.core.context import Scope
from hub.setup import views
from hub.setup.rules import Check, StepState
from hub.setup.views import SetupView, StepView
from hub.web.pages import frames, render, words
from hub.web.pages.faces import Frame, State
from hub.web.pages.forms import Asked

_STATES: dict[StepState, State] = {
    "open": State("To do", "waiting", ""),
    "testing": State("Being tested", "running", "run"),
    "done": State("Done", "good", "ok"),
    "failed": State("Failed", "failed", "bad"),
    "skipped": State("Skipped", "stopped", ""),
}
_HOLDS, _FAILS = State("Holds", "good", "ok"), State("Fails", "failed", "bad")
SECURITIES = (
    ("starttls", "STARTTLS, usually port 587"),
    ("tls", "TLS, usually port 465"),
    ("none", "None, on this machine"),
)
JOINS = (("invite", "By invitation only"), ("workspace", "Every full member of the workspace, by their first command"))


class Found(msgspec.Struct, frozen=True):
    """What a test found, with the face that goes with it."""

    check: Check
    state: State


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """A step as its section shows it; `fixed` are settings that the environment sets."""

    step: StepView
    state: State
    found: list[Found]
    tested: str
    fixed: dict[str, str]
    open: bool

    @property
    def is_testing(self) -> bool:
        return self.step.state == "testing"


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /setup"""
    found = views.setup(scope)
    return render.html(
        "setup.html",
        frames.plain(scope, "Set up this hub"),
        now=scope.now,
        says=_says(found),
        setup=found,
        sections=[_section(scope, step) for step in found.steps],
        restart=_restart(found),
        securities=SECURITIES,
        joins=JOINS,
        no_cluster=Asked(),
    )


def landing(scope: Scope, params: dict[str, str]) -> str:
    """GET /setup/{token}: the one-time link that a fresh hub prints. Opening it spends nothing."""
    return render.html(
        "signin.html",
        Frame(title="Set up this hub"),
        now=scope.now,
        title="Set up your hub",
        text="This link signs you in as the owner of this hub, once, and leads to its set-up. "
        "Opening this page has spent nothing.",
        post=f"/setup/{quote(params['token'], safe='')}",
        button="Sign in and set up",
        fine="Whoever uses it operates the hub. If you did not start the hub yourself, close this page.",
        ways=[],
    )


def _section(scope: Scope, step: StepView) -> Section:
    return Section(
        step=step,
        state=_STATES[step.state],
        found=[Found(check, _HOLDS if check.holds else _FAILS) for check in step.checks],
        tested="" if step.tested is None else words.ago(frames.instant(step.tested), scope.now),
        fixed={
            row.name: f"{row.value or 'empty'}, set by COLLEGIUM_{row.name.upper()} in the environment"
            for row in step.settings
            if row.source == "environment"
        },
        open=step.state in {"open", "failed"},
    )


def _says(found: SetupView) -> str:
    counts = {state: sum(step.state == state for step in found.steps) for state in _STATES}
    if found.finished and not counts["skipped"]:
        return "Everything is set up and was tested."
    done = "None" if not counts["done"] else words.sentence(words.number(counts["done"]))
    parts = [f"{done} of {words.number(len(found.steps))} steps {'is' if counts['done'] == 1 else 'are'} done"]
    if counts["failed"]:
        failed = [step.title for step in found.steps if step.state == "failed"]
        parts.append(f"{words.listing(failed)} failed")
    if counts["skipped"]:
        parts.append(f"{words.number(counts['skipped'])} {'is' if counts['skipped'] == 1 else 'are'} skipped")
    return f"{'; '.join(parts)}. Take them in any order; each is tested when you save it, and can be done again."


def _restart(found: SetupView) -> Literal["", "by_itself", "by_hand"]:
    if not found.restart_needed:
        return ""
    return "by_itself" if found.supervised else "by_hand"
