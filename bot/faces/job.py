"""A job: what, state, how far, where, how long still, what can be done."""

from datetime import datetime

from bot import words
from bot.cards import JobLive, LogLive, Next, Progress, Reply, Row, State, fields
from bot.door import Door
from bot.faces.who import by_at
from bot.hub_views import Cost, Efficiency, Hint, Job, Placed, Usage

STATES = {
    "WAITING": State("Waiting", "○", "wait"),
    "QUEUED": State("Queued", "○", "wait"),
    "HELD": State("Held", "‖", "wait"),
    "SUBMITTING": State("Submitting", "◔", "wait"),
    "PENDING": State("Pending", "◔", "wait"),
    "RUNNING": State("Running", "●", "run"),
    "COLLECTING": State("Collecting", "◕", "run"),
    "SUCCEEDED": State("Succeeded", "✓", "ok"),
    "FAILED": State("Failed", "✗", "bad"),
    "TIMED_OUT": State("Timed out", "✗", "bad"),
    "OUT_OF_MEMORY": State("Out of memory", "✗", "bad"),
    "CANCELLED": State("Cancelled", "⊘", "quiet"),
    "NODE_FAILED": State("Node failed", "✗", "bad"),
    "UNKNOWN_OUTCOME": State("Outcome unknown", "?", "bad"),
}


def job_card(one: Job, door: Door, *, live: JobLive | LogLive | None = None, tail: str = "") -> Reply:
    """A job: what, state, how far, where, how long still, what can be done."""
    return job_face(one, door.now(), _short_ref(one, door), live=live, tail=tail)


def job_face(one: Job, now: datetime, ref: str, *, live: JobLive | LogLive | None = None, tail: str = "") -> Reply:
    """As `job_card`, for who has no door: `ref` is what the job is called in commands."""
    return Reply(
        sentence=_job_sentence(one, now),
        named=_job_sentence(one, now, is_named=True),
        ident=_job_ident(one),
        title=f"job {one.number}" + (f" · {one.name}" if one.name else ""),
        session=one.session_name,
        state=_state(one),
        progress=Progress(one.progress.fraction, one.progress.said) if one.progress and not one.is_over else None,
        fields=fields(
            "where submitted ran limits used efficiency",
            why="" if one.is_success or (one.started_at and not one.is_over) else one.reason,
            where=one.backend,
            chosen="" if one.placed is None or one.is_over else _chosen(one.placed),
            slipped=_slipped(one, one.placed) if one.placed else "",
            end_by=words.moment(one.placed.deadline) if one.placed and one.placed.deadline and not one.is_over else "",
            submitted=by_at(one.submitted_by, one.submitted_at),
            ran=_ran(one, now),
            limits=_amounts(one.asked),
            used=_amounts(one.used),
            efficiency=_shares(one.efficiency),
            cost=_cost(one.cost),
            hint=" ".join(_hint(each) for each in one.efficiency.hints) if one.efficiency else "",
            exit_code=one.exit_code,
            outputs=words.listed([output.path for output in one.outputs]),
            note="; ".join(one.notes),
        ),
        body=tail,
        next=_job_next(one, ref),
        url=one.url,
        live=live,
        is_private=False,
        data=one,
    )


def job_row(one: Job, door: Door) -> Row:
    """A job as a line of a list."""
    state = _state(one)
    began = words.moment(one.submitted_at) if one.submitted_at else ""
    cells = (str(one.number), one.name, f"{state.glyph} {state.word}", began, _took(one, door.now()))
    now = door.now()
    return Row(cells, _job_sentence(one, now), named=_job_sentence(one, now, is_named=True), ident=_job_ident(one))


def _state(one: Job) -> State:
    return STATES.get(one.state, State(one.state.capitalize().replace("_", " "), "·"))


def _job_ident(one: Job) -> str:
    return f"job {one.number} {_state(one).word.lower()}"


def _job_sentence(one: Job, now: datetime, *, is_named: bool = False) -> str:
    """`job 12 “fit” running on local, 64 %, 4 min left`, `job 12 “fit” succeeded after 9 min 41 s, 4 outputs`.

    `is_named` leaves out what the job itself said: the reason it gave, and how it counts its progress.
    """
    state = _state(one).word.lower()
    parts = [f"job {one.number}" + (f" “{one.name}”" if one.name else "") + f" {state}"]
    took = _took(one, now)
    if one.is_over:
        parts[0] += f" after {took}" if took else ""
        if one.outputs:
            parts.append(words.counted(len(one.outputs), "output"))
        if not one.is_success and not is_named:
            parts.append(one.reason.rstrip("."))
    else:
        parts[0] += f" on {one.backend}" if one.backend and one.started_at else ""
        if one.progress is not None:
            is_said = "%" in one.progress.said and not is_named
            parts += [*([] if is_said else [words.percent(one.progress.fraction)])]
            parts += [] if is_named else [one.progress.said]
        elif not one.started_at and not is_named:
            parts.append(one.reason.rstrip("."))
    return ", ".join(part for part in parts if part)


def _took(one: Job, now: datetime) -> str:
    if one.started_at is None:
        return ""
    return words.duration(((one.ended_at or now) - one.started_at).total_seconds())


def _ran(one: Job, now: datetime) -> str:
    took = _took(one, now)
    return f"{took} so far" if took and not one.is_over else took


def _amounts(usage: Usage) -> str:
    parts = [
        f"{usage.cpus:g} {'core' if usage.cpus == 1 else 'cores'}" if usage.cpus is not None else "",
        words.size(usage.memory_bytes) if usage.memory_bytes is not None else "",
        words.duration(usage.wall_seconds) if usage.wall_seconds is not None else "",
    ]
    return ", ".join(part for part in parts if part)


def _shares(found: Efficiency | None) -> str:
    """`88 % of its cores, 3 % of its memory`."""
    if found is None:
        return ""
    parts = [(found.cpu, "its cores"), (found.memory, "its memory")]
    return ", ".join(f"{words.percent(share)} of {what}" for share, what in parts if share is not None)


def _cost(cost: Cost | None) -> str:
    """`1.25 EUR so far, 3.20 at most`; nothing where it costs nothing or nobody knows."""
    if cost is None:
        return ""
    if cost.most is None:
        return f"{words.money(cost.amount)} {cost.currency}".rstrip() if cost.amount else ""
    return (
        f"{words.money(cost.amount or 0.0)} {cost.currency} so far, {words.money(cost.most)} at most"
        if cost.most
        else ""
    )


def _chosen(placed: Placed) -> str:
    """Why it is where it is, and that it is on its way elsewhere."""
    moved = f"; moved {words.counted(placed.moves, 'time')}" if placed.moves else ""
    going = f"; goes to {placed.moving_to} as soon as it surely cannot start here" if placed.moving_to else ""
    said = f"; {placed.said.rstrip('.')}" if placed.said and not placed.moving_to else ""
    return f"{placed.why.rstrip('.')}{moved}{going}{said}".lstrip("; ")


def _slipped(one: Job, placed: Placed) -> str:
    """When a job that still waits was promised to end, and when it ends by what its scheduler says now."""
    if placed.slipped_to is None or placed.ends_at is None or one.started_at is not None or one.is_over:
        return ""
    return f"to end by {words.moment(placed.slipped_to)} instead of {words.moment(placed.ends_at)}"


def _hint(hint: Hint) -> str:
    """The sentence, with how to say it."""
    return f"{hint.sentence} ({hint.option})" if hint.option else hint.sentence


def _short_ref(one: Job, door: Door) -> str:
    """`12` where the session is the one in use, else `ana/hcl#12`."""
    return str(one.number) if one.session_name == door.named_session(None) else one.ref


def _job_next(one: Job, ref: str) -> tuple[Next, ...]:
    follow = () if one.is_over else ("--follow",)
    log = Next("read the log", ("job", "logs", ref, *follow), ident=("job", "logs", one.id, *follow))
    if one.is_over:
        outputs = [f"{one.session_name}:{output.path}" for output in one.outputs if output.kind == "stored"]
        return (log, *(Next("get an output", ("artifact", "get", output)) for output in outputs[:1]))
    stop = "leave its outputs there" if one.state == "COLLECTING" else "stop it"
    return (
        log,
        Next("watch it", ("job", "watch", ref)),
        *([Next("release it", ("job", "release", ref), ident=("job", "release", one.id))] if one.held else []),
        Next(stop, ("job", "cancel", ref), is_dangerous=True, ident=("job", "cancel", one.id)),
    )
