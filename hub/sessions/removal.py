"""What ends with somebody's role in a session: their grants, and what they gave out while they had it.

Nobody keeps a way back in their pocket: the links that somebody made and the invitations of theirs that nobody took up
yet end together with the right to make them.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import sqlalchemy as sa

from hub.core.context import Context
from hub.core.roles import SESSION_PERMISSIONS, SessionRole
from hub.sessions import grants, invitations, links
from hub.sessions.tables import grants as grants_table
from hub.sessions.tables import invitations as invitations_table
from hub.sessions.tables import links as links_table

# What features above end with it: called in the same transaction, with the session and the person.
REMOVED: list[Callable[[Context, str, str], None]] = []


class Ended(msgspec.Struct, frozen=True):
    """What ended beside the role, and what did not."""

    links: list[str]
    invitations: list[str]
    still_open: list[str]  # links the person came by, which others may still use, and so may they


def remove(ctx: Context, session_id: str, person: str) -> Ended:
    """Take every grant of a person, whatever way it came, and end what they gave out."""
    came_by = [
        via.removeprefix("link:")
        for via in ctx.execute(
            sa.select(grants_table.c.via).where(grants_table.c.session == session_id, grants_table.c.subject == person)
        ).scalars()
        if via.startswith("link:")
    ]
    grants.take(ctx, session_id, person)
    for end in REMOVED:
        end(ctx, session_id, person)
    links_ended, invitations_ended = withdraw_given(ctx, session_id, person)
    still_open = (
        ctx.execute(sa.select(links_table.c.id).where(links_table.c.id.in_(came_by), links.is_open(ctx.now)))
        .scalars()
        .all()
    )
    return Ended(links_ended, invitations_ended, sorted(still_open))


def lowered(ctx: Context, session_id: str, person: str, role: SessionRole) -> list[str]:
    """Somebody has this role now: what they gave out ends unless they could still give it out. The links that ended."""
    return [] if "link:create" in SESSION_PERMISSIONS[role] else withdraw_given(ctx, session_id, person)[0]


def withdraw_given(ctx: Context, session_id: str, person: str) -> tuple[list[str], list[str]]:
    """End the links a person made here and their open invitations; each link gets a ledger line, as if revoked."""
    made = (
        ctx.execute(
            sa.select(links_table.c.id)
            .where(
                links_table.c.session == session_id,
                links_table.c.created_by == person,
                links_table.c.revoked_at.is_(None),
                links_table.c.expires_at > ctx.now,
            )
            .order_by(links_table.c.id)
        )
        .scalars()
        .all()
    )
    for link in made:
        links.end(ctx, link)
        ctx.about("link", link, session_id, action="link_revoke", with_maker=person)
    return list(made), invitations.withdraw(ctx, session_id, invitations_table.c.by == person)
