"""`share`: let people into a session, by name or by an expiring link."""

import click

from bot.cards import Next, Reply, Row, Secret, Table, fields
from bot.door import Door
from bot.grammar import EmailRole, Noun, When, session_option
from bot.hub_views import Ended, Granted, Invitation, MadeLink, Shared
from bot.problems import usage
from bot.words import counted, listed, moment


@click.group("share", cls=Noun)
def share() -> None:
    """Share a session: with people by e-mail, or by a link that expires."""


@share.command(
    "create",
    fields={
        "participants": "--participant",
        "expires": "--expires",
        "uses": "--uses",
        "label": "--label",
        "passphrase": "--passphrase",
    },
)
@click.argument("session", metavar="[SESSION]", required=False)
@click.option(
    "-p",
    "--participant",
    "participants",
    type=EmailRole(),
    multiple=True,
    help="Somebody, and their role: read, read_write or admin.",
)
@click.option("--expires", type=When(), help="When it ends: 7d, 12h, 2027-01-31.")
@click.option("--link", "is_link", is_flag=True, help="Make a link; what happens anyway when nobody is named.")
@click.option(
    "--role", type=click.Choice(["read", "read_write"]), default="read", show_default=True, help="What the link allows."
)
@click.option("--uses", type=click.IntRange(1), help="How often the link opens.")
@click.option("--label", default="", help="What the link is for, to tell it from others.")
@click.option("--passphrase", help="Asked of whoever opens the link; tell it by another way.")
@click.pass_obj
def create_share(
    door: Door,
    session: str | None,
    participants: tuple[dict[str, str], ...],
    expires: str | None,
    is_link: bool,
    role: str,
    uses: int | None,
    label: str,
    passphrase: str | None,
) -> Reply:
    """Share SESSION (else the one in use) with people, or by an expiring link."""
    if not participants:
        return _make_link(door, session, role, expires, uses, label, passphrase)
    if is_link or uses is not None or passphrase is not None:
        raise usage("A link and people are two commands.", hint="Share with people first, then `share create --link`.")
    shared = door.hub.act(
        "session_share",
        Shared,
        idempotency_key=door.key(),
        session_id=door.named_session(session),
        participants=participants,
        expires=expires,
    )
    told = []
    if shared.made:
        told.append(f"Session {shared.name} is made.")
    if shared.granted:
        told.append(f"{counted(len(shared.granted), 'person', 'people')} can come in now.")
    if shared.invitations:
        is_mailed = all(one.mailed for one in shared.invitations)
        by_mail, hand_on = (" by mail", "") if is_mailed else ("", "; pass the link on")
        told.append(f"{listed([one.email for one in shared.invitations])}: invited{by_mail}{hand_on}.")
    return Reply(
        sentence=" ".join(told) or f"{shared.name} is shared.",
        named=f"{shared.name} is shared.",
        ident="The session is shared.",
        session=shared.name,
        title=f"Shared {shared.name}",
        fields=fields(until=moment(shared.expires) if shared.expires else None),
        body="\n".join(f"{one.email} ({one.role}): {_address(one)}" for one in shared.invitations),
        url=shared.url,
        next=(Next("see who takes part", ("session", "show", shared.name)),),
        data=shared,
    )


def _address(invitation: Invitation) -> str:
    return f"{invitation.url}/{invitation.secret}" if invitation.secret else invitation.url


def _make_link(
    door: Door,
    session: str | None,
    role: str,
    expires: str | None,
    uses: int | None,
    label: str,
    passphrase: str | None,
) -> Reply:
    place = door.named_session(session)
    made = door.hub.act(
        "link_create",
        MadeLink,
        idempotency_key=door.key(),
        session_id=place,
        role=role,
        expires=expires,
        uses=uses,
        label=label or None,
        passphrase=passphrase,
    )
    often = "" if made.uses_left is None else f", {counted(made.uses_left, 'use')}"
    return Reply(
        sentence=f"A link to {place} that allows {role}, until {moment(made.expires)}{often}.",
        named=f"A link to {place} that allows {role}, until {moment(made.expires)}{often}.",
        ident="A link is made.",
        session=place,
        secret=Secret("link", f"{made.url}/{made.secret}", "Shown this once. Whoever has it can come in."),
        next=(
            Next("revoke it", ("share", "revoke", made.link), is_dangerous=True, ident=("share", "revoke", made.link)),
        ),
        data=made,
    )


@share.command("list")
@click.argument("name", metavar="[SESSION]", required=False)
@session_option
@click.pass_obj
def list_shares(door: Door, name: str | None, session: str | None) -> Reply:
    """List who takes part in a session, and the links that lead into it."""
    place = door.named_session(name or session)
    people, links = door.hub.participants(place), door.hub.links(place)
    rows = []
    for who in people.participants:
        called = who.person.name or who.person.handle
        until = moment(who.expires) if who.expires else ""
        rows.append(
            Row(
                (called, who.role, until, who.person.handle),
                f"{called} ({who.person.handle}): {who.role}" + (f" until {until}" if until else ""),
            )
        )
    for one in people.invitations:
        told = f"; {one.mail}" if one.mail else ""
        rows.append(
            Row((one.email, one.role, "invited", one.id), f"{one.email}: invited as {one.role}, {one.id}{told}")
        )
    for link in links:
        left = "" if link.uses_left is None else f", {counted(link.uses_left, 'use')} left"
        state = f"{link.state} until {moment(link.expires)}{left}" if link.state == "open" else link.state
        called = f"link “{link.label}”" if link.label else "link"
        rows.append(
            Row(
                (called, link.role, state, link.id),
                f"{called} {link.id}: {link.role}, {state}, used {counted(link.uses, 'time')}",
            )
        )
    counts = f"{counted(len(people.participants), 'person', 'people')}, {counted(len(links), 'link')}."
    return Reply(
        sentence=f"{place}: {counts}",
        named=f"{place}: {counts}",
        ident=counts,
        session=place,
        table=Table(("who", "role", "until", "name to revoke"), tuple(rows)),
        next=(Next("take one away", ("share", "revoke", "NAME")),),
        data={"people": people, "links": links},
    )


@share.command("change", fields={"participant": "PERSON", "role": "ROLE"})
@click.argument("person")
@click.argument("role", type=click.Choice(["read", "read_write", "admin"]))
@session_option
@click.pass_obj
def change_share(door: Door, person: str, role: str, session: str | None) -> Reply:
    """Give PERSON, who takes part already, another role."""
    place = door.named_session(session)
    given = door.hub.act(
        "grant_change", Granted, idempotency_key=door.key(), session_id=place, participant=person, role=role
    )
    said = f"{person} has the role {role} in {place} now."
    return Reply(sentence=said + _beside(given), named=said, ident="A role is changed.", session=place, data=given)


def _beside(done: Granted) -> str:
    """What ended with a role, and what did not."""
    told = ""
    if done.links_ended:
        told += f" Links they had made ended with it: {listed([*done.links_ended])}."
    if done.still_open:
        told += f" They came by {listed([*done.still_open])}, still open: revoke that too to keep them out."
    return told


@share.command("revoke")
@click.argument("what", metavar="LINK|PERSON|INVITATION")
@session_option
@click.pass_obj
def revoke_share(door: Door, what: str, session: str | None) -> Reply:
    """Take back a link, a person's role or an invitation; it holds at once, everywhere."""
    if what.startswith("lnk_"):
        ended = door.hub.act("link_revoke", Ended, idempotency_key=door.key(), link=what)
        said = f"Link {what} is revoked; whoever came by it is out."
        return Reply(sentence=said, named=said, ident="The link is revoked.", data=ended)
    place = door.named_session(session)
    gone = door.hub.act("grant_revoke", Granted, idempotency_key=door.key(), session_id=place, participant=what)
    return Reply(
        sentence=f"{what} has no role in {place} any more.{_beside(gone)}",
        named=f"Somebody has no role in {place} any more.",
        ident="Somebody has no role any more.",
        session=place,
        data=gone,
    )
