"""What surrounds a page: whose page it is, where it stands, what stands beside it."""

from __future__ import annotations

import datetime as dt
from importlib.metadata import version
from urllib.parse import quote, urlsplit

import msgspec

from hub.core.context import Scope
from hub.people.views import PersonView
from hub.sessions import views as sessions
from hub.sessions.views import SessionView
from hub.web.pages.faces import Crumb, Frame, Person, Tab

VERSION = version("collegium")
_TABS = (("Room", ""), ("Notebook", "/notebook"), ("Jobs", "/jobs"), ("Files", "/files"), ("People", "/people"))
_OWN_TABS = (
    ("Keys and tokens", "/me"),
    ("Signing in", "/me/security"),
    ("E-mail", "/me/email"),
    ("Chat accounts", "/me/chats"),
)
_ROLES = {
    "owner": "Owner", "admin": "Admin", "read_write": "Reads and writes", "read": "Reads", "teacher": "Teacher",
    "mentor": "Mentor", "student": "Student", "guest": "Guest",
}  # fmt: skip


def instant(text: str) -> dt.datetime:
    """The instant in a view's RFC 3339 text."""
    return dt.datetime.fromisoformat(text)


def person(view: PersonView) -> Person:
    return Person(view.id, view.name)


def role_word(role: str | None) -> str:
    return _ROLES.get(role or "", (role or "").replace("_", " ").capitalize())


def home_of(session: SessionView) -> str:
    """The path of a session's room."""
    return f"/s/{quote(session.name)}"


def viewer(scope: Scope) -> Person | None:
    """The person in the corner; none for a guest by link."""
    return Person(scope.actor.id, scope.actor.name) if scope.actor.kind == "person" else None


def plain(scope: Scope, title: str, crumbs: tuple[Crumb, ...] = ()) -> Frame:
    """A page that belongs to no session."""
    return Frame(title=title, viewer=viewer(scope), crumbs=crumbs, hub=_host(scope), version=VERSION)


def own(scope: Scope, title: str, tab: str) -> Frame:
    """One of the reader's own pages."""
    tabs = tuple(Tab(text, path, text == tab) for text, path in _OWN_TABS)
    return msgspec.structs.replace(plain(scope, title), tabs=tabs, tabs_label="About you")


def within(scope: Scope, session: SessionView | str, title: str, tab: str, look: str = "") -> Frame:
    """A page of a session, under one of its tabs."""
    if isinstance(session, str):
        session = sessions.session(scope, session)
    at = home_of(session)
    owner, _, name = session.name.partition("/")
    return Frame(
        title=f"{title} · {name}",
        viewer=viewer(scope),
        crumbs=(Crumb(owner), Crumb(name, at)),
        tabs=tuple(Tab(text, at + path, text == tab) for text, path in _TABS),
        hub=_host(scope),
        version=VERSION,
        look=look,
    )


def ref(params: dict[str, str]) -> str:
    """The session a path names: `/s/{owner}/{name}`."""
    return f"{params['owner']}/{params['name']}"


def number(params: dict[str, str], name: str) -> int | None:
    """A whole number of the query, or nothing when it is absent or none."""
    text = params.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _host(scope: Scope) -> str:
    return urlsplit(scope.settings.origin).netloc
