"""A workflow: how many of its steps are over, how each stands."""

from bot.cards import Field, Next, Progress, Reply, Row, State, Table
from bot.faces.job import STATES
from bot.hub_views import Workflow, WorkflowStep
from bot.words import counted, listed, moment, money
from bot.work_views import Experiment

_OVER = State("Finished", "✓", "ok")
_FAILED = State("Failed", "✗", "bad")
_STOPPED = State("Cancelled", "⊘", "quiet")
_RUNNING = State("Running", "●", "run")
_WAITING = State("Waiting", "○", "wait")


def workflow_face(one: Workflow) -> Reply:
    """A workflow as one card, a line a step."""
    over = sum(step.is_over for step in one.steps)
    state = _state(one)
    called = f"workflow “{one.name}”" if one.name else "workflow"
    again = ("job", "resume", one.workflow)
    far = f"{over} of {counted(len(one.steps), 'step')} over"
    return Reply(
        sentence=f"{called} {state.word.lower()}, {far}",
        named=f"{called} {state.word.lower()}, {far}",
        ident=f"workflow {state.word.lower()}, {far}",
        title=called,
        session=one.session_name,
        state=state,
        progress=None if over == len(one.steps) else Progress(over / max(1, len(one.steps)), far),
        fields=(Field("steps", far, is_name=True), *terms(one)),
        table=Table(("step", "job", "after", "state"), tuple(_row(step) for step in one.steps)),
        next=(Next("resume it", again, ident=again),) if state in (_FAILED, _STOPPED) else (),
        url=one.steps[0].url if one.steps else "",
        is_private=False,
        data=one,
    )


def terms(one: Workflow | Experiment) -> list[Field]:
    """What all its steps or nodes together are to keep."""
    found = []
    if one.budget is not None and one.comes_to is not None:
        found.append(Field("cost", f"at most {money(one.comes_to)} of a budget of {money(one.budget)}"))
    if one.deadline is not None:
        found.append(Field("to end by", moment(one.deadline)))
    return found


def _state(one: Workflow) -> State:
    states = {step.state for step in one.steps}
    if all(step.is_over for step in one.steps):
        if states <= {"SUCCEEDED"}:
            return _OVER
        return _STOPPED if states <= {"SUCCEEDED", "CANCELLED"} else _FAILED
    return _RUNNING if states - {"WAITING", "QUEUED", "HELD"} else _WAITING


def _row(step: WorkflowStep) -> Row:
    state = STATES.get(step.state, State(step.state.capitalize().replace("_", " "), "·"))
    word = state.word.lower()
    why = "" if step.state in ("SUCCEEDED", "RUNNING") else f", {step.reason.rstrip('.')}" if step.reason else ""
    return Row(
        (step.step, str(step.number), listed(list(step.after)), f"{state.glyph} {state.word}"),
        f"{state.glyph} {step.step} (job {step.number}) {word}{why}",
        named=f"{state.glyph} job {step.number} {word}",
        ident=f"{state.glyph} job {step.number} {word}",
    )
