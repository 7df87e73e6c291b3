"""Home: what needs me, my jobs, what was made lately, my sessions, where jobs run."""

from __future__ import annotations

import datetime as dt

import msgspec
import sqlalchemy as sa

from hub.artifacts import views as artifacts
from hub.core.context import ANYONE, Scope
from hub.jobs import quota_warnings, rules
from hub.jobs import views as jobs
from hub.jobs.clusters import views as clusters
from hub.jobs.quota_warnings import CloseView
from hub.jobs.tables import jobs as jobs_table
from hub.notebook import views as notebook
from hub.sessions import invitations
from hub.sessions import views as sessions
from hub.sessions.views import SessionView
from hub.web.pages import clusters as clusters_page
from hub.web.pages import frames, invitation, pictures, render, signin, usage, words
from hub.web.pages import jobs as jobs_page
from hub.web.pages.faces import Act, Card, Need, State, Way

_JOBS, _CARDS, _SESSIONS_LOOKED_AT, _NEEDS = 6, 8, 12, 6
_FRESH = dt.timedelta(days=3)
_BAD_ENDS = {"FAILED", "TIMED_OUT", "OUT_OF_MEMORY", "NODE_FAILED", "UNKNOWN_OUTCOME"}


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """A session in the list."""

    href: str
    name: str
    text: str
    at: str


class Backend(msgspec.Struct, frozen=True):
    """A place where jobs run, and how full it is."""

    name: str
    text: str
    state: State
    href: str = ""


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /"""
    if scope.actor.id == ANYONE.id:
        return signin.ask(scope, params)
    mine = sessions.mine(scope)
    rows = jobs.job_list(scope).jobs
    own = [row for row in rows if row.submitted_by.id == scope.actor.id]
    needs = _needs(scope, mine, own)
    cards = _cards(scope, mine)
    return render.html(
        "home.html",
        frames.plain(scope, ""),
        now=scope.now,
        says=_says(scope, len(needs)),
        needs=needs,
        jobs=[jobs_page.row(row, scope.now, session=True) for row in own[:_JOBS]],
        cards=cards,
        ways=[] if own or cards else _ways(mine),
        sessions=[_session(row, scope) for row in mine],
        may_create=scope.actor.kind == "person",
        backends=[_this_hub(scope), *_clusters(scope)],
    )


def _says(scope: Scope, needs: int) -> str:
    if not needs:
        return f"Nothing needs you, {scope.actor.name}" if scope.actor.kind == "person" else "Nothing needs you"
    return f"{words.sentence(words.count(needs, 'thing'))} {'needs' if needs == 1 else 'need'} you"


def _needs(scope: Scope, mine: list[SessionView], own: list[jobs.JobRow]) -> list[Need]:
    """Jobs of mine that ended badly, entries I wrote and did not sign, invitations, quotas; the newest first."""
    found = [
        Need("warn", "bad", f"Job {row.number} · {row.name}: {row.state.replace('_', ' ').lower()}",
             f"{row.reason} In {row.session_name}.", row.ended_at, Act("See why", href=f"/jobs/{row.id}"))
        for row in own
        if row.state in _BAD_ENDS and row.ended_at is not None and scope.now - row.ended_at < _FRESH
    ]  # fmt: skip
    for session in mine[:_SESSIONS_LOOKED_AT]:
        if not scope.access.may(session.id, "entry:sign"):
            continue
        found += [
            Need("pen", "do", f"Sign “{row.title}”",
                 f"You wrote version {row.version} in {session.name} and have not signed it.",
                 frames.instant(row.at), Act("Read and sign", href=f"/entries/{row.id}"))
            for row in notebook.session_entries(scope, session.id).entries
            if not row.signatures and row.author.id == scope.actor.id
        ]  # fmt: skip
    found += _invited(scope)
    found += [_quota(each, scope) for each in quota_warnings.close(scope)] if scope.actor.kind == "person" else []
    found.sort(key=lambda need: need.at, reverse=True)
    found = found[:_NEEDS]
    if found:
        found[0] = msgspec.structs.replace(found[0], act=msgspec.structs.replace(found[0].act, look="main"))
    return found


def _quota(one: CloseView, scope: Scope) -> Need:
    """A quota of one's own that is nearly used, or of a session one leads."""
    bound = usage.bound(one.quota, one.amount, scope.settings.currency)
    have = "have" if one.quota.kind == "person" else "has"
    href = "/resources" if one.session is None else f"/s/{one.session_name}/usage"
    return Need(
        "warn",
        "bad" if bound.share >= 1 else "wait",
        f"{bound.name} {have} used {bound.share:.0%} of a quota".replace("%", " %"),
        f"{bound.used} of {bound.most} used or reserved. "
        + ("You" if one.mine else words.sentence(one.quota.who))
        + " can raise it.",
        one.at,
        Act("See the use", href=href),
    )


def _invited(scope: Scope) -> list[Need]:
    """Invitations that were sent to an address the reader proved to own."""
    return [
        Need("people", "do", f"{each.by.name} invites you to “{each.title}”",
             f"You may {invitation.MAY.get(each.role, each.role)} there. Sent to {each.email}.",
             frames.instant(each.created),
             Act("Accept", action="invitation_accept", fields={"invitation": each.id}, next="/s/{name}"))
        for each in invitations.mine(scope)
    ]  # fmt: skip


def _cards(scope: Scope, mine: list[SessionView]) -> list[Card]:
    rows = [
        row
        for session in mine[:_SESSIONS_LOOKED_AT]
        for row in artifacts.session_files(scope, session.id).artifacts[:_CARDS]
        if pictures.worth_showing(row)
    ]
    # Ids made later sort later.
    rows.sort(key=lambda row: row.id, reverse=True)
    return [pictures.card(scope, row) for row in rows[:_CARDS]]


def _session(view: SessionView, scope: Scope) -> SessionRow:
    own = view.owner.id == scope.actor.id
    text = (
        "Only you, until you share it"
        if view.personal
        else "Yours"
        if own
        else f"You: {frames.role_word(view.role).lower()}"
    )
    return SessionRow(
        href=frames.home_of(view),
        name=view.title if view.personal else view.name.rpartition("/")[2] if own else view.name,
        text=text,
        at=words.day(frames.instant(view.created), scope.now),
    )


def _this_hub(scope: Scope) -> Backend:
    """This machine: how many of its places are taken, whoever took them."""
    taken, places = _taken(scope), scope.settings.running_jobs
    full = taken >= places
    text = f"{words.sentence(words.part(taken))} of {words.number(places)} places taken"
    return Backend("This hub", text, State("Full", "waiting", "wait") if full else State("Free", "good", "ok"))


def _clusters(scope: Scope) -> list[Backend]:
    """The clusters, with how one's account on each stands; none for a guest by link, who has none anywhere."""
    known = clusters.all_clusters(scope).clusters if scope.actor.kind == "person" else []
    return [
        Backend(
            each.name,
            each.host if each.account is None else f"As {each.account.login} on {each.host}",
            clusters_page.state(each.account),
            clusters_page.at(each.name),
        )
        for each in known
    ]


def _taken(scope: Scope) -> int:
    count = sa.select(sa.func.count()).where(jobs_table.c.state.in_(sorted(rules.OCCUPYING)))
    return int(scope.execute(count).scalar_one())


def _ways(mine: list[SessionView]) -> list[Way]:
    home = frames.home_of(mine[0]) if mine else ""
    ways = [Way("From your shell", "Files you name are brought along.",
                command="collegium job submit run.sh --in data.csv")]  # fmt: skip
    if home:
        ways += [
            Way("From this page", "Paste a script.", Act("Submit a job", href=f"{home}/jobs#submit", look="main")),
            Way("Write it down", "Text with maths, and the files it rests on.",
                Act("Write an entry", href=f"{home}/notebook#write")),
        ]  # fmt: skip
    return ways
