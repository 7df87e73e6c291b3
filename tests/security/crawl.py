"""Everything that can be asked of the hub, with what it is asked about: from the tables, so that nothing is left out.

An address gets the ids of a world's own things; an action gets the smallest envelope that decodes, aimed at them. What
this file cannot fill in fails the test that crawls, and so is written here before it is served.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec import inspect
from starlette.applications import Starlette
from starlette.routing import Route

from hub.core import actions
from hub.core.actions import SHAPES, Registered
from hub.core.ids import new_id
from hub.web import routes

# What a path's `ref` means, by the path's beginning; and the other names of path parameters.
REFS = {
    "/api/jobs/": "job", "/api/entries/": "entry", "/api/artifacts/": "artifact", "/api/exports/": "export",
    "/api/experiments/": "experiment", "/api/workflows/": "workflow", "/jobs/": "job", "/entries/": "entry",
    "/experiments/": "experiment",
    "/artifacts/": "artifact", "/api/chats/channels/": "channel", "/api/drafts/": "draft",
    "/api/messages/": "message", "/s/": "message",
}  # fmt: skip
# What must be said beside, for the address to be looked at.
NEEDED = {"/api/entries/{ref:path}/statement": "?key=lab"}
# Query parameters that name a thing somebody may not know of, with the kinds it may be.
NAMING = {"session": ("session",), "object": ("session", "job", "entry", "artifact")}
OTHERS = {"actor": "anyone", "action": "job:read", "key": "key", "wait": "0"}

# Fields of actions that name a thing of somebody's: the kind.
TARGETS = {
    "session_id": "session", "job": "job", "artifact": "artifact", "entry_id": "entry", "link": "link",
    "object": "job", "draft": "draft", "message": "message", "poll": "poll", "report": "report",
    "experiment": "experiment", "resume": "experiment",  # of a workflow too: another kind of thing is as unknown
}  # fmt: skip
# Values of required fields for which any text will not do.
VALUES: dict[str, Any] = {
    "participant": "ben", "to": "ben", "role": "read", "title": "A title", "platform": "slack", "workspace": "T123",
    "channel": "C123", "user": "U123", "email": "eve@x.org", "hub_role": "member", "notify": "none", "person": "ben",
    "artifact_path": "data/hcl_lines.csv", "results": "from_previous_step", "auto_backup": True,
    "script": "#!/bin/sh\ntrue\n", "workflow": [{"step": "a", "script": "#!/bin/sh\ntrue\n"}],
    "export_type": "overleaf",
    "dag": [{"tool": "distributed_collaboration", "action": "lab_notebook", "entry": {"title": "T", "content": "x"}}],
    "password": "four quiet kettles sing", "totp": "123456", "public_url": "https://hub.example", "step": "mail",
    "native": "12", "options": ["a", "b"], "question": "Which?", "option": 1, "emoji": "👍",
    "outcome": "dismissed", "state": "open",
}  # fmt: skip
BY_SHAPE: dict[tuple[str, str], Any] = {
    ("lab_notebook", "entry"): {"title": "T", "content": "x"},
    ("note_sign", "entry"): "<entry>",
    ("workflow_resume", "workflow"): "<workflow>",
}


class Aim(msgspec.Struct, frozen=True):
    """Things of one kind each, by their ids."""

    ids: dict[str, str]
    owner: str = "nobody"
    name: str = "nothing"

    def at_nothing(self) -> Aim:
        """Ids of the same form that name nothing."""
        return Aim({kind: new_id(one.rpartition("_")[0]) for kind, one in self.ids.items()})


def gets(app: Starlette) -> list[str]:
    """The path of every GET route."""
    return [route.path for route in app.routes if isinstance(route, Route) and "GET" in (route.methods or ())]


def address(path: str, aim: Aim) -> str:
    """A route's path with ids filled in. Raises LookupError for a parameter this file does not know."""

    def value(match: re.Match[str]) -> str:
        name = match[1].partition(":")[0]
        if name in ("ref", "id"):
            kinds = (kind for start, kind in REFS.items() if path.startswith(start))
            return aim.ids[next(kinds) if name == "ref" else next(kinds, "session")]
        known = {"number": "1", "owner": aim.owner, "name": aim.name, "token": "clgx_" + "0" * 43}
        return known[name]

    return re.sub(r"\{([a-z:]+)\}", value, path) + NEEDED.get(path, "")


def names_something(path: str) -> bool:
    """Whether the path itself says which thing is meant. A channel is the chat platform's."""
    return not path.startswith("/api/chats/") and any("{" + name in path for name in ("ref", "id}", "owner"))


def queries(path: str, aim: Aim) -> Iterator[str]:
    """The queries a route is asked with, beside none: each parameter that names something, aimed at each kind of it."""
    takes = next((view.takes for view in routes.VIEWS if view.path == path), ())
    if path in ("/api/events", "/who"):
        takes = ("session",) if path == "/api/events" else ("object",)
    for name in takes:
        for kind in NAMING.get(name, ()):
            others = {other: OTHERS[other] for other in takes if other in OTHERS}
            yield urlencode({**others, name: aim.ids[kind]})


def envelopes(aim: Aim) -> Iterator[tuple[Registered, dict[str, Any], bool]]:
    """Every shape of every action with an envelope that decodes; and whether it is aimed at anything."""
    for (tool, tag), shapes in sorted(SHAPES.items()):
        for shape in shapes:
            params, aimed = _params(shape, aim)
            envelope = {"tool": tool, "params": {"action": tag, **params}}
            actions.from_object(envelope, "$")  # raises for what VALUES has to learn
            yield shape, envelope, aimed


def _params(shape: Registered, aim: Aim) -> tuple[dict[str, Any], bool]:
    params: dict[str, Any] = {}
    aimed = False
    info = inspect.type_info(shape.shape)
    assert isinstance(info, inspect.StructType)
    for field in info.fields:
        name = field.encode_name
        if (shape.tag, name) in BY_SHAPE:
            params[name] = BY_SHAPE[shape.tag, name]
            if params[name] in ("<entry>", "<workflow>"):
                params[name], aimed = aim.ids[params[name].strip("<>")], True
        elif name in TARGETS and (field.required or name in ("session_id", "entry_id")):
            params[name], aimed = aim.ids[TARGETS[name]], True
            if name == "entry_id":
                params["base_version"] = 1
        elif field.required or name == shape.when:
            params[name] = _value(field)
    if shape.tag == "session_change":
        params["title"] = "Taken over"
    return params, aimed


def _value(field: inspect.Field) -> Any:
    """The value a name stands for, or any of the field's type."""
    if field.encode_name in VALUES and not isinstance(field.type, inspect.StructType):
        return VALUES[field.encode_name]
    return _any(field.type)


def _any(kind: inspect.Type) -> Any:
    """Some value of a type."""
    match kind:
        case inspect.StructType(fields=fields):
            return {each.encode_name: _value(each) for each in fields if each.required}
        case inspect.DictType():
            return {}
        case inspect.LiteralType(values=values):
            return values[0]
        case inspect.UnionType(types=types):
            return _any(types[0])
        case inspect.IntType():
            return 1
        case inspect.BoolType():
            return False
        case inspect.VarTupleType(item_type=item) | inspect.ListType(item_type=item):
            return [_any(item)]
        case inspect.StrType(min_length=least, max_length=most):
            return ("x" * max(least or 1, 8))[: most or None]
        case _:
            return "x"
