"""`who` and `explain`: who can see something, and why somebody may do something, or may not."""

import click

from bot.cards import Reply, Row, State, Table, fields
from bot.door import Door
from bot.faces.who import called
from bot.grammar import Verb
from bot.hub_views import Participant, Way, Who
from bot.words import counted, listed, moment

_VIA = {"owner": "owner", "share": "added", "link": "by a link", "invitation": "invited"}


@click.command("who", cls=Verb, fields={"object": "OBJECT"})
@click.argument("what", metavar="[OBJECT]", required=False)
@click.pass_obj
def who(door: Door, what: str | None) -> Reply:
    """Say who can see OBJECT, by what way, and until when.

    OBJECT is a session (ana/hcl), a job (ana/hcl#12), an entry (ana/hcl#n3), a file (ana/hcl:data/x.csv) or an id;
    without it, the session in use.
    """
    found = door.hub.who(what or door.named_session(None))
    rows = [_person(one) for one in found.people] + _links(found)
    if found.members:
        said = f"every member of this hub, {found.members} in all: the session is open to them"
        rows.append(Row(("every member", "reads", "open to the hub", ""), said, said, "every member of this hub"))
    rows += [
        Row((one.name, "acts for them", "service of the hub", ""), f"{one.name}: {found.services_say}", one.name)
        for one in found.services
    ]
    counts = f"{counted(len(found.people), 'person', 'people')}, {counted(found.links_open, 'open link')}."
    note = ""
    if found.operators:
        note = f"Operators: {listed([called(one) for one in found.operators])}. {found.operators_say}"
    return Reply(
        sentence=f"{found.session_name}: {counts}",
        named=f"{found.session_name}: {counts}",
        ident=counts,
        session=found.session_name,
        fields=fields("visibility", visibility=found.visibility),
        table=Table(("who", "may", "by", "until"), tuple(rows)),
        body=note,
        data=found,
    )


def _person(one: Participant) -> Row:
    by = listed([_way(way) for way in one.ways])
    until = moment(one.expires) if one.expires else ""
    said = f"{called(one.person)} ({one.person.handle}): {one.role}, {by}" + (f", until {until}" if until else "")
    return Row((called(one.person), one.role, by, until), said, named=said)


def _way(way: Way) -> str:
    how = _VIA.get(way.via, way.via)
    if way.label:
        how += f" “{way.label}”"
    return f"{how} by {called(way.by)}" if way.by is not None and way.via in ("share", "invitation") else how


def _links(found: Who) -> list[Row]:
    rows = []
    for one in found.links or ():
        name = f"link “{one.label}”" if one.label else f"link {one.id}"
        left = "" if one.uses_left is None else f", {counted(one.uses_left, 'use')} left"
        asks = ", with a passphrase" if one.has_passphrase else ""
        by = f"made by {called(one.by)}, used {counted(one.uses, 'time')}{left}{asks}"
        until = moment(one.expires)
        rows.append(Row(("whoever has " + name, one.role, by, until), f"{name}: {one.role}, {by}, until {until}"))
    return rows


@click.command("explain", cls=Verb, fields={"actor": "ACTOR", "action": "ACTION", "object": "OBJECT"})
@click.argument("actor")
@click.argument("action")
@click.argument("what", metavar="OBJECT")
@click.pass_obj
def explain(door: Door, actor: str, action: str, what: str) -> Reply:
    """Say whether ACTOR may do ACTION to OBJECT, and why.

    ACTOR is a handle, the id of a link or a token, or `anyone`; ACTION an action (job_submit) or a permission
    (job:submit); OBJECT as in `who`, or `hub`. Those who may share the session can ask about others.
    """
    found = door.hub.explain(actor, action, what)
    change = list(dict.fromkeys(line for one in found.decisions for line in one.would_change))
    hidden = any(one.answer == "hidden" for one in found.decisions)
    rests = listed([_way(way) + (f" until {moment(way.expires)}" if way.expires else "") for way in found.ways])
    return Reply(
        sentence=f"{found.sentence}.",
        named=f"{action}: {'allowed' if found.allowed else 'not allowed'}.",
        ident=f"{action}: {'allowed' if found.allowed else 'not allowed'}.",
        state=State("Allowed", "good", "ok") if found.allowed else State("Not allowed", "failed", "bad"),
        fields=fields(
            rests_on=rests,
            frozen=found.frozen,
            told="as if it did not exist" if hidden else None,
            would_change=listed(change),
        ),
        data=found,
    )
