"""`quota`: what may be used in thirty days, how much of it is left, and who can raise it."""

from typing import Any

import click

from bot.cards import Next, Reply, Row, Table
from bot.cluster_views import Quota, QuotaAmount, Quotas
from bot.door import Door
from bot.grammar import Noun
from bot.words import counted, money

_WHAT = {"core_hours": "core hours", "gpu_hours": "GPU hours", "money": "money", "open": "jobs that have not ended"}


@click.group("quota", cls=Noun)
def quota() -> None:
    """Quotas: what you, a session, or each of its members may use."""


@quota.command("show")
@click.option("-s", "--session", metavar="OWNER/NAME", help="What bounds your jobs there; else everywhere.")
@click.pass_obj
def show_quota(door: Door, session: str | None) -> Reply:
    """Show what bounds your jobs, and how much of it is left."""
    path = "/api/quotas" if session is None else f"/api/sessions/{session}/quotas"
    return _card(door.hub.view(path, Quotas))


@quota.command(
    "set",
    fields={
        "person": "PERSON",
        "each": "--each",
        "students": "--students",
        "core_hours": "--core-hours",
        "gpu_hours": "--gpu-hours",
        "money": "--money",
        "open": "--open",
    },
)
@click.argument("person", required=False)
@click.option("-s", "--session", metavar="OWNER/NAME", help="Bound a session you lead instead of a person.")
@click.option("--each", is_flag=True, help="Of the session: bound every member of it alike.")
@click.option("--students", is_flag=True, help="Of the session: bound its students together, or with --each alike.")
@click.option("--core-hours", type=click.FloatRange(0), metavar="HOURS", help="Core hours in thirty days.")
@click.option("--gpu-hours", type=click.FloatRange(0), metavar="HOURS", help="GPU hours in thirty days.")
@click.option("--money", type=click.FloatRange(0), metavar="AMOUNT", help="Cost in thirty days.")
@click.option("--open", "open_", type=click.IntRange(0), metavar="JOBS", help="Jobs that have not ended, at once.")
@click.option("--soft", is_flag=True, help="Warn, and let it through.")
@click.pass_obj
def set_quota(
    door: Door, /, person: str | None, session: str | None, each: bool, students: bool, open_: int | None, **rest: Any
) -> Reply:
    """Bound what PERSON may use (for operators), or a session you lead; what is left out is unbounded."""
    if (person is None) == (session is None):
        raise click.UsageError("Name a person, or a session with --session.")
    if session is None and (each or students):
        raise click.UsageError("--each and --students are about a session: name it with --session.")
    made = door.hub.act(
        "quota_set",
        Quota,
        idempotency_key=door.key(),
        person=person,
        session_id=session,
        each=each or None,
        students=students or None,
        open=open_,
        soft=rest.pop("soft") or None,
        **rest,
    )
    said = f"{made.of} is bounded now." if made.amounts else f"{made.of} has no quota any more."
    return _card(Quotas(quotas=(made,)), said[0].upper() + said[1:])


def _card(found: Quotas, said: str = "") -> Reply:
    each = [
        Quota(of=f"{one.person.name}, as a {one.kind}", who="whoever leads it", amounts=one.amounts)
        for one in found.people
    ]
    rows = tuple(_row(one, amount, found.currency) for one in (*found.quotas, *each) for amount in one.amounts)
    return Reply(
        sentence=said
        or (f"{counted(len(found.quotas), 'quota')} for your jobs." if rows else "No quota bounds your jobs."),
        named=f"{counted(len(found.quotas), 'quota')}.",
        ident=f"{counted(len(found.quotas), 'quota')}.",
        table=Table(("of", "what", "at most", "used or reserved", "left", "raised by"), rows) if rows else None,
        next=() if rows else (Next("see what was used", ("job", "list")),),
        data=found,
    )


def _row(one: Quota, amount: QuotaAmount, currency: str) -> Row:
    what = _WHAT.get(amount.what, amount.what)
    if amount.what == "money":
        what = currency or what
        most, used, left = (money(each) for each in (amount.most, amount.used, amount.left))
    else:
        most, used, left = (f"{each:,.1f}".removesuffix(".0") for each in (amount.most, amount.used, amount.left))
    soft = "" if one.hard else " (only warned of)"
    sentence = f"{one.of}: {left} {what} left of {most}{soft}; {one.who} can raise it"
    return Row((one.of, what, most + soft, used, left, one.who), sentence)
