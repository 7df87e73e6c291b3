"""Where a job would go, when and for how much: the table that is shown before anything is confirmed."""

import msgspec

from bot import words
from bot.cards import Next, Reply, Row, Table, fields
from bot.cluster_views import Candidate, JobPlan
from bot.problems import CONFLICT


def plan_card(plan: JobPlan) -> Reply:
    """The places, the chosen one first."""
    return Reply(
        sentence=_sentence(plan),
        named=_sentence(plan),
        ident=f"{words.counted(len(plan.candidates), 'place')} for it",
        table=Table(
            ("", "where", "starts", "ends", "cost", "why"),
            tuple(_row(one, number, plan.currency) for number, one in enumerate(plan.candidates, start=1)),
        ),
        fields=fields(
            counted=_holds(plan),
            asking=f"no answer yet from {words.listed(list(plan.asking))}" if plan.asking else "",
            quota=" ".join(plan.over),
            note=" ".join(plan.warnings),
        ),
        data=plan,
    )


def choice_card(plan: JobPlan, chosen: str, said: tuple[str, ...], session: str) -> Reply:
    """The same in a chat, before a submission: a button submits what was `said`, if it would still go there by then."""
    shown = plan_card(plan)
    return msgspec.structs.replace(
        shown,
        sentence=f"{shown.sentence} Nothing is submitted yet.",
        named=f"{shown.named} Nothing is submitted yet.",
        session=session,
        fields=(*shown.fields, *fields(to_submit=f"press the button, or say it again with --agreed {chosen}")),
        exit_code=CONFLICT,
        next=(
            Next(f"submit it to {chosen}", (*said[:2], "--agreed", chosen, *said[2:])),
            Next("look again", said),
        ),
        data=None,
    )


def _sentence(plan: JobPlan) -> str:
    chosen = next((one for one in plan.candidates if one.chosen), None)
    if chosen is None:
        return "There is no place for this job."
    return f"It would go to {chosen.backend}, {_in(chosen.starts_in, 'starting')}."


def _holds(plan: JobPlan) -> str:
    """`32 cores for 2 h at most`."""
    gpus = f" and {words.counted(plan.gpus, 'GPU')}" if plan.gpus else ""
    unsaid = ", since nobody said how long" if plan.wall_assumed else ""
    return f"{words.counted(plan.cores, 'core')}{gpus} for {words.duration(plan.wall_seconds)} at most{unsaid}"


def _row(one: Candidate, number: int, currency: str) -> Row:
    starts, ends = _in(one.starts_in), _in(one.ends_in)
    cells = ("→" if one.chosen else "", one.backend, starts, ends, _cost(one, currency), one.why)
    named = f"{one.backend}{', chosen' if one.chosen else ''}"
    return Row(
        cells,
        f"{named}: starts {starts}, ends {ends}, costs {_cost(one, currency)}; {one.why}",
        named=named,
        ident=f"place {number}{', chosen' if one.chosen else ''}",
    )


def _cost(one: Candidate, currency: str) -> str:
    if one.cost is None:
        return "unknown"
    said = f"{words.money(one.cost)} {currency}".rstrip()
    if one.most is not None and words.money(one.most) != words.money(one.cost):
        said += f" (at most {words.money(one.most)})"
    return said


def _in(seconds: float | None, before: str = "") -> str:
    if seconds is None:
        return "nobody can tell when" if before else "unknown"
    said = "now" if seconds < 1 else f"in {words.duration(seconds)}"
    return f"{before} {said}".strip()
