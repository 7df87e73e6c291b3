"""The one table of routes: method, path, who answers, and what it is for.

A view is a plain function of a scope and the request's parameters, run in a thread on one snapshot; its rights are
checked inside, by the access door. What streams has an endpoint of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast, get_args

import msgspec

from hub.artifacts import views as artifacts
from hub.chats import channels, installations
from hub.core import limits
from hub.core.context import Scope
from hub.core.errors import InvalidInput
from hub.exports import views as exports
from hub.jobs import quotas, usage
from hub.jobs import views as jobs
from hub.jobs.clusters import connecting
from hub.jobs.clusters import reports as cluster_reports
from hub.jobs.clusters import views as clusters
from hub.ledger import checkpoints
from hub.ledger.keys import CheckpointKey
from hub.ledger.verification import verify
from hub.notebook import keys, proofs, windows
from hub.notebook import views as notebook
from hub.notebook.statement import Meaning
from hub.orchestrator import views as experiments
from hub.people import chat_identities, passkeys, sign_ins, verified_email
from hub.people import views as people
from hub.rooms import views as rooms
from hub.rooms.doors import views as doors
from hub.rooms.drafts import views as drafts
from hub.rooms.hands import views as hands
from hub.rooms.polls import views as polls
from hub.sessions import explaining, invitations, reach
from hub.sessions import views as sessions
from hub.setup import views as setup_views
from hub.web.pages import artifact as artifact_page
from hub.web.pages import chat_identities as chat_identities_page
from hub.web.pages import clusters as clusters_page
from hub.web.pages import device as device_page
from hub.web.pages import entry as entry_page
from hub.web.pages import experiment as experiment_page
from hub.web.pages import files as files_page
from hub.web.pages import home as home_page
from hub.web.pages import invitation as invitation_page
from hub.web.pages import job as job_page
from hub.web.pages import jobs as jobs_page
from hub.web.pages import link as link_page
from hub.web.pages import me as me_page
from hub.web.pages import notebook as notebook_page
from hub.web.pages import people as people_page
from hub.web.pages import security as security_page
from hub.web.pages import session as session_page
from hub.web.pages import setup as setup_page
from hub.web.pages import signin as signin_page
from hub.web.pages import talk as talk_page
from hub.web.pages import usage as usage_page
from hub.web.pages import verified_email as verified_email_page
from hub.web.pages import who as who_page

Query = dict[str, str]


class View(msgspec.Struct, frozen=True):
    """A GET route that answers with a view as JSON."""

    path: str
    answer: Callable[[Scope, Query], Any]
    summary: str
    takes: tuple[str, ...] = ()  # query parameters; others are refused


def number(q: Query, name: str, default: int, least: int = 0, most: int = 2**62) -> int:
    """A whole number from the query. Raises InvalidInput naming the parameter."""
    text = q.get(name)
    if text is None or text == "":
        return default
    try:
        value = int(text)
    except ValueError:
        raise InvalidInput(f"`{name}` must be a whole number", path=name) from None
    if not least <= value <= most:
        raise InvalidInput(f"`{name}` must be from {least} to {most}", path=name)
    return value


def verification(scope: Scope, q: Query) -> Any:
    """The whole ledger, recomputed."""
    scope.access.hub("hub:read")
    key = scope.port(CheckpointKey)
    return verify(scope.conn, key.origin, key.public)


def optional(q: Query, name: str) -> int | None:
    """As `number`, when it was given."""
    return number(q, name, 0) if q.get(name) else None


def checkpoint(scope: Scope, q: Query) -> Any:
    """The newest signed note, and the key to check it with."""
    scope.access.hub("hub:read")
    key, row = scope.port(CheckpointKey), checkpoints.newest(scope.conn)
    note = None if row is None else row.note
    return {"note": note, "verifier_key": checkpoints.verifier_key(key.origin, key.public)}


def statement(scope: Scope, q: Query) -> Any:
    """The bytes a detached signature covers."""
    meaning = q.get("meaning", "author")
    if meaning not in get_args(Meaning):
        raise InvalidInput(f"`meaning` is one of {', '.join(get_args(Meaning))}", path="meaning")
    if "key" not in q:
        raise InvalidInput("name the key that will sign", path="key")
    return proofs.to_sign(scope, q["ref"], q["key"], cast(Meaning, meaning), optional(q, "version"))


def workflow(scope: Scope, q: Query) -> Any:
    """A workflow, for whoever may see its jobs."""
    scope.access.find("workflow", q["ref"], "job:read")
    return jobs.workflow(scope, q["ref"])


def explanation(scope: Scope, q: Query) -> Any:
    """The decision about another actor, in words."""
    missing = [name for name in ("actor", "action", "object") if not q.get(name)]
    if missing:
        raise InvalidInput(f"name the {missing[0]}", path=missing[0])
    return explaining.explain(scope, q["actor"], q["action"], q["object"])


def session_of(q: Query) -> str:
    return f"{q['owner']}/{q['name']}" if "owner" in q else q["id"]


def _of_session(answer: Callable[[Scope, str, Query], Any], tail: str, summary: str, *takes: str) -> list[View]:
    """A view of one session, under both of its addresses: its full name and its id."""
    return [
        View("/api/sessions/{owner}/{name}" + tail, lambda s, q: answer(s, session_of(q), q), summary, takes),
        View("/api/sessions/{id}" + tail, lambda s, q: answer(s, session_of(q), q), summary, takes),
    ]


VIEWS: list[View] = [
    View("/api/me", lambda s, q: people.me(s), "Who the hub takes you for"),
    View("/api/sign-ins", lambda s, q: sign_ins.mine(s), "Your sign-ins"),
    View("/api/passkeys", lambda s, q: passkeys.mine(s), "Your passkeys"),
    View("/api/tokens", lambda s, q: people.my_tokens(s), "Your API tokens"),
    View("/api/me/chats", lambda s, q: chat_identities.mine(s), "The chat accounts that act as you"),
    View("/api/chats/installations", lambda s, q: installations.listed(s), "The connected chat workspaces"),
    View("/api/chats/channels/{ref}", lambda s, q: channels.seen_by_a_person(s, q["ref"]), "What a channel is set to"),
    View("/api/chats/notify", lambda s, q: channels.my_notify(s), "When chats mention you"),
    View("/api/me/invitations", lambda s, q: invitations.mine(s), "Invitations to addresses you proved to own"),
    View("/api/me/email", lambda s, q: verified_email.mine(s), "Your e-mail addresses"),
    View("/api/setup", lambda s, q: setup_views.setup(s), "How setting this hub up stands, for operators"),
    View("/api/keys", lambda s, q: keys.mine(s), "Your signing keys"),
    View("/api/signing-windows", lambda s, q: windows.mine(s), "Your open signing windows"),
    View("/api/verify", verification, "Recompute the whole ledger"),
    View("/api/checkpoint", checkpoint, "The newest signed tree head"),
    View(
        "/api/sessions",
        lambda s, q: sessions.earlier(s, q["before"]) if "before" in q else sessions.mine(s),
        "Your sessions",
        ("before",),
    ),
    *_of_session(lambda s, ref, q: sessions.participants(s, ref), "/participants", "Who takes part"),
    *_of_session(lambda s, ref, q: sessions.session_links(s, ref), "/links", "The links that are out"),
    *_of_session(
        lambda s, ref, q: jobs.job_list(s, ref, q.get("cursor"), q.get("state", "")),
        "/jobs",
        "The session's jobs",
        "cursor",
        "state",
    ),
    *_of_session(
        lambda s, ref, q: notebook.session_entries(s, ref, q.get("cursor")),
        "/entries",
        "The session's entries",
        "cursor",
    ),
    *_of_session(
        lambda s, ref, q: artifacts.session_files(s, ref, q.get("cursor")),
        "/artifacts",
        "The session's files",
        "cursor",
    ),
    *_of_session(
        lambda s, ref, q: rooms.messages(
            s,
            ref,
            optional(q, "after"),
            number(q, "limit", limits.PAGE_ITEMS, 1),
            optional(q, "before"),
            begins=q.get("begins") == "true",
        ),
        "/messages",
        "The room's messages",
        "after",
        "before",
        "limit",
        "begins",
    ),
    *_of_session(lambda s, ref, q: hands.hands(s, ref), "/hands", "Raised hands in the room, first come first"),
    *_of_session(lambda s, ref, q: polls.polls(s, ref), "/polls", "Polls of the room"),
    *_of_session(lambda s, ref, q: doors.door(s, ref), "/door", "The room's door, and who waits before it"),
    *_of_session(lambda s, ref, q: rooms.reports(s, ref), "/reports", "Messages that were reported, for moderators"),
    View("/api/messages/{id}/thread", lambda s, q: rooms.thread(s, q["id"]), "A message and the answers to it"),
    *_of_session(lambda s, ref, q: drafts.session_drafts(s, ref), "/drafts", "The session's shared drafts"),
    View(
        "/api/drafts/{ref:path}/versions/{number}",
        lambda s, q: drafts.version(s, q["ref"], number(q, "number", 0, 1, 1_000_000_000)),
        "One version of a draft and its text",
    ),
    View("/api/drafts/{ref:path}", lambda s, q: drafts.draft(s, q["ref"]), "One shared draft and its text"),
    *_of_session(lambda s, ref, q: reach.who(s, "session", ref), "/who", "Who can see the session"),
    *_of_session(lambda s, ref, q: artifacts.backup_policy(s, ref), "/backup-policy", "The session's backup policy"),
    View(
        "/api/jobs",
        lambda s, q: jobs.job_list(s, q.get("session"), q.get("cursor"), q.get("state", "")),
        "Jobs you may see",
        ("session", "cursor", "state"),
    ),
    *_of_session(
        lambda s, ref, q: usage.session_usage(s, ref, number(q, "days", usage.TERM_DAYS)),
        "/usage",
        "What the session's jobs used and cost",
        "days",
    ),
    View(
        "/api/usage",
        lambda s, q: usage.usage(s, number(q, "days", usage.TERM_DAYS)),
        "What the jobs of your sessions used and cost",
        ("days",),
    ),
    *_of_session(lambda s, ref, q: quotas.of_session(s, ref), "/quotas", "What bounds your jobs in the session"),
    View("/api/quotas", lambda s, q: quotas.mine(s), "What bounds your jobs"),
    View("/api/resources", lambda s, q: usage.resources(s), "How busy the hub is: this machine, queues, workers"),
    *_of_session(lambda s, ref, q: exports.session_exports(s, ref), "/exports", "The session's exports"),
    *_of_session(lambda s, ref, q: experiments.session_experiments(s, ref), "/experiments", "Its experiments"),
    *_of_session(lambda s, ref, q: sessions.session(s, ref), "", "One session"),
    View("/api/clusters", lambda s, q: clusters.all_clusters(s), "Clusters, and your own account on each"),
    View(
        "/api/clusters/{name}",
        lambda s, q: cluster_reports.report(s, q["name"]),
        "One cluster, and what holds between it and your account, in words",
    ),
    View("/api/exports/{ref}", lambda s, q: exports.export(s, q["ref"]), "One export"),
    View("/api/experiments/{ref}", lambda s, q: experiments.experiment(s, q["ref"]), "One experiment"),
    View("/api/workflows/{ref}", workflow, "A workflow and its steps"),
    View("/api/who", lambda s, q: reach.who_sees(s, q.get("object", "personal")), "Who can see something", ("object",)),
    View("/api/explain", explanation, "Why somebody may do something, or not", ("actor", "action", "object")),
    View("/api/jobs/{ref:path}/who", lambda s, q: reach.who(s, "job", q["ref"]), "Who can see a job"),
    View("/api/entries/{ref:path}/who", lambda s, q: reach.who(s, "entry", q["ref"]), "Who can see an entry"),
    View("/api/artifacts/{ref:path}/who", lambda s, q: reach.who(s, "artifact", q["ref"]), "Who can see a file"),
    View(
        "/api/jobs/{ref:path}/connection",
        lambda s, q: connecting.connection(s, q["ref"], number(q, "port", connecting.USUAL_PORT, 1, 65535)),
        "How you reach a port of your running job on a cluster",
        ("port",),
    ),
    View("/api/jobs/{ref:path}", lambda s, q: jobs.looked_at(s, q["ref"]), "One job"),
    View(
        "/api/entries/{ref:path}/verification",
        lambda s, q: proofs.verification(s, q["ref"], optional(q, "version")),
        "What holds of an entry",
        ("version",),
    ),
    View(
        "/api/entries/{ref:path}/statement",
        statement,
        "What must be signed, for a signature made elsewhere",
        ("key", "meaning", "version"),
    ),
    View(
        "/api/entries/{ref:path}",
        lambda s, q: notebook.entry(s, q["ref"], optional(q, "version")),
        "One entry",
        ("version",),
    ),
    View(
        "/api/artifacts/{ref:path}/lineage",
        lambda s, q: artifacts.lineage_graph(s, q["ref"]),
        "Where a file comes from",
    ),
    View(
        "/api/artifacts/{ref:path}/versions",
        lambda s, q: artifacts.history(s, q["ref"], q.get("cursor")),
        "All versions at a path",
        ("cursor",),
    ),
    View("/api/artifacts/{ref:path}/uses", lambda s, q: artifacts.uses(s, q["ref"]), "What cites a file"),
    View("/api/artifacts/{ref:path}", lambda s, q: artifacts.artifact(s, q["ref"]), "One version of a file"),
]


class PageRoute(msgspec.Struct, frozen=True):
    """A GET route that answers with a page."""

    path: str
    show: Callable[[Scope, Query], str]
    anonymous: bool = False


PAGES: list[PageRoute] = [
    PageRoute("/", home_page.show, anonymous=True),
    PageRoute("/me", me_page.show),
    PageRoute("/me/signing", me_page.show),
    PageRoute("/me/security", security_page.show),
    PageRoute("/s/{owner}/{name}", session_page.show),
    PageRoute("/s/{owner}/{name}/notebook", notebook_page.show),
    PageRoute("/s/{owner}/{name}/files", files_page.show),
    PageRoute("/s/{owner}/{name}/jobs", jobs_page.show),
    PageRoute("/s/{owner}/{name}/usage", usage_page.of_session),
    PageRoute("/s/{owner}/{name}/people", people_page.show),
    PageRoute("/s/{owner}/{name}/messages/{id}", talk_page.thread),
    PageRoute("/s/{owner}/{name}/reports", talk_page.reports),
    PageRoute("/who", who_page.show),
    PageRoute("/resources", usage_page.everywhere),
    PageRoute("/clusters", clusters_page.show),
    PageRoute("/clusters/{name}", clusters_page.one),
    PageRoute("/jobs", jobs_page.everywhere),
    PageRoute("/jobs/{ref:path}", job_page.show),
    PageRoute("/experiments/{ref}", experiment_page.show),
    PageRoute("/entries/{ref:path}", entry_page.show),
    PageRoute("/artifacts/{ref:path}", artifact_page.show),
    PageRoute("/setup", setup_page.show),
    PageRoute("/setup/{token}", setup_page.landing, anonymous=True),
    PageRoute("/signin", signin_page.form, anonymous=True),
    PageRoute("/signin/second", signin_page.second, anonymous=True),
    PageRoute("/signin/{token}", signin_page.show, anonymous=True),
    PageRoute("/device", device_page.show, anonymous=True),
    PageRoute("/me/chats", chat_identities_page.mine),
    PageRoute("/me/email", verified_email_page.mine),
    PageRoute("/email/{token}", verified_email_page.show, anonymous=True),
    PageRoute("/chat-link/{token}", chat_identities_page.show, anonymous=True),
    PageRoute("/l/{token}", link_page.show, anonymous=True),
    PageRoute("/invitation/{token}", invitation_page.show, anonymous=True),
]


def listed() -> list[tuple[str, str, str]]:
    """(method, path, summary) of every view, for the OpenAPI document."""
    return [("GET", view.path, view.summary) for view in VIEWS]
