"""An experiment: how many of its nodes are over, how each stands, what can be done."""

from datetime import datetime

from bot import words
from bot.cards import Field, Next, Progress, Reply, Row, State, Table
from bot.faces.job import STATES
from bot.faces.who import by_at
from bot.faces.workflow import terms
from bot.work_views import Experiment, Node

_SKIPPED = State("Skipped", "⊘", "quiet")


def experiment_face(one: Experiment) -> Reply:
    """An experiment as one card, a line a node."""
    state = _state(one.state)
    over = sum(node.is_over for node in one.nodes)
    far = f"{over} of {words.counted(len(one.nodes), 'node')} over"
    failed = next((node for node in one.nodes if node.state == "FAILED"), None)
    why = f", node {failed.place + 1}: {failed.words.rstrip('.')}" if failed is not None and failed.words else ""
    said = f"experiment “{called(one)}” {state.word.lower()}, {far}"
    return Reply(
        sentence=said + why,
        named=f"experiment {state.word.lower()}, {far}",
        ident=f"experiment {state.word.lower()}, {far}",
        title=f"experiment · {called(one)}",
        session=one.session_name,
        state=state,
        progress=None if one.is_over else Progress(over / max(1, len(one.nodes)), far),
        fields=(
            Field("nodes", far, is_name=True),
            Field("started", by_at(one.by, one.at)),
            *((Field("goes on from", one.resumes),) if one.resumes else ()),
            *terms(one),
            Field("called", one.experiment),
        ),
        table=Table(("node", "tool", "state", "what became of it"), tuple(_row(node) for node in one.nodes)),
        next=_next(one),
        url=one.url,
        is_private=False,
        data=one,
    )


def experiment_row(one: Experiment, now: datetime) -> Row:
    """An experiment as a line of a list."""
    state = _state(one.state)
    over = f"{sum(node.is_over for node in one.nodes)} of {len(one.nodes)}"
    began = words.moment(one.at, now) if one.at else ""
    word = state.word.lower()
    return Row(
        (one.experiment, called(one), f"{state.glyph} {state.word}", over, began),
        f"{one.experiment} “{called(one)}” {word}, {over} nodes over",
        named=f"experiment {word}, {over} nodes over",
        ident=f"experiment {word}, {over} nodes over",
    )


def called(one: Experiment) -> str:
    """By its first and its last node, as its page does."""
    if not one.nodes:
        return ""
    first, last = one.nodes[0].action, one.nodes[-1].action
    return first if len(one.nodes) == 1 else f"{first} to {last}"


def _state(word: str) -> State:
    if word == "SKIPPED":
        return _SKIPPED
    return STATES.get(word, State(word.capitalize().replace("_", " "), "·"))


def _row(node: Node) -> Row:
    state = _state(node.state)
    word = state.word.lower()
    tried = f" ({words.counted(node.tries, 'try', 'tries')} failed before)" if node.tries else ""
    made = f", made {words.listed([each.path for each in node.results], 3)}" if node.results else ""
    what = f"{node.words.rstrip('.')}{made}{tried}".removeprefix(", ")
    bare = f"{state.glyph} node {node.place + 1} {word}"
    return Row(
        (f"{node.place + 1} {node.action}", node.tool, f"{state.glyph} {state.word}", what),
        f"{state.glyph} {node.place + 1} {node.action} {word}" + (f", {what}" if what else ""),
        named=bare,
        ident=bare,
    )


def _next(one: Experiment) -> tuple[Next, ...]:
    ref = one.experiment
    if not one.is_over:
        stop = ("experiment", "cancel", ref)
        return (Next("stop it", stop, is_dangerous=True, ident=stop),)
    if one.state in ("FAILED", "CANCELLED"):
        again = ("experiment", "resume", ref)
        return (Next("resume it", again, ident=again),)
    return ()
