"""The forms that make clusters known and sign people up on them: what was refused comes back as the same form.

They perform the actions everybody can. What they add is the step between, in which a person compares a host key, and
words beside the fields.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from anyio import to_thread
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from hub.core import actions, credentials
from hub.core.context import Actor, Scope
from hub.core.errors import Conflict, HubError, InvalidInput, TooMany, Unavailable
from hub.jobs.clusters import rules
from hub.jobs.clusters.diagnosis import Line
from hub.web import endpoints
from hub.web.endpoints import house_of
from hub.web.pages import clusters as page
from hub.web.pages import forms
from hub.web.pages.clusters import Said
from hub.web.pages.forms import Asked

# Told beside the form; everything else is an error like any other.
TOLD = (InvalidInput, Conflict, TooMany, Unavailable)
FIELDS = (
    "name", "host", "port", "price_per_core_hour", "price_per_gpu_hour", "root", "path", "defaults", "portal_url",
    "jump.host", "jump.port", "jump.user", "jump.host_keys", "host_key",
)  # fmt: skip
COMPARED = ("fingerprint", "compared")
FIELDS_OF: dict[str, tuple[str, ...]] = {"join": ("login", "way"), "certify": ("certificate",), "trust": COMPARED}
SETTING_UP = "/setup#clusters"
_UNCOMPARED = InvalidInput("compare it first, and say so here", path="$.params.compared")
# Where a browser goes after each deed; `erased` names the line that is to be deleted.
ONWARD = {
    "doctor": "",
    "join": "#account",
    "certify": "#account",
    "test": "#account",
    "trust": "",
    "leave": "erased",
    "remove": "erased",
}


async def add(request: Request) -> Response:
    """POST /clusters: the first step shows the host key, the second stores what was compared."""
    actor = await endpoints.actor_of(request)
    fields = await _fields(request, *FIELDS, *COMPARED, "next")
    onward = SETTING_UP if fields.pop("next") == SETTING_UP else ""
    given = {name: fields[name] for name in FIELDS}
    try:
        credentials.refuse_private_keys((f"$.params.{name}", value) for name, value in given.items())
        envelope = _envelope(given)
        if not fields["compared"] and (brought := _brought(envelope)):
            await _checked(request, actor)
            compare = _compare(given, brought)
            return await _drawn(request, actor, lambda scope: page.add(scope, compare, onward), 200)
        if fields["fingerprint"] and not fields["compared"]:
            raise _UNCOMPARED
        await _perform(request, actor, {**envelope, "fingerprint": fields["fingerprint"]})
    except TOLD as refusal:
        error = refusal
        if error.code == "private_key_refused":
            given = {name: "" if name == forms.field_of(error) else value for name, value in given.items()}
        again = _again(given, fields["fingerprint"], error)
        status = 200 if error.code == "compare_fingerprint" else error.status
        return await _drawn(request, actor, lambda scope: page.add(scope, again, onward), status, error)
    if onward:
        await _perform(request, actor, {"action": "setup_test", "step": "clusters"})
    return RedirectResponse(onward or page.at(given["name"]), 303)


def deed(what: str) -> endpoints.Endpoint:
    """POST /clusters/{name}/{what}: what is done to one cluster, or to one's account on it."""

    async def endpoint(request: Request) -> Response:
        return await _do(request, what)

    return endpoint


async def _do(request: Request, what: str) -> Response:
    actor = await endpoints.actor_of(request)
    name = str(request.path_params["name"])
    fields = await _fields(request, *FIELDS_OF.get(what, ()))
    of = "name" if what in ("trust", "remove") else "cluster"
    try:
        credentials.refuse_private_keys((f"$.params.{field}", value) for field, value in fields.items())
        if fields.get("fingerprint") and not fields.pop("compared"):
            raise _UNCOMPARED
        fields.pop("compared", None)
        wish = _way(fields) if what == "join" else fields
        result = await _perform(request, actor, {"action": f"cluster_{what}", of: name, **wish})
    except TOLD as refusal:
        error, said = refusal, _said(what, fields, refusal)
        status = 200 if error.code == "compare_fingerprint" else error.status
        return await _drawn(request, actor, lambda scope: page.one(scope, {"name": name}, said), status, error)
    if what == "doctor":
        lines = msgspec.convert(result["lines"], list[Line])
        return await _drawn(request, actor, lambda scope: page.one(scope, {"name": name}, looked=lines), 200)
    if secret := what == "join" and result.get("secret"):  # of an agent: it is in this answer, and in none after it
        shown = Said(what, secret=str(secret))
        return await _drawn(request, actor, lambda scope: page.one(scope, {"name": name}, shown), 200)
    onward = ONWARD[what]
    return RedirectResponse(f"{page.HERE}#erased" if onward == "erased" else f"{page.at(name)}{onward}", 303)


def _way(fields: dict[str, str]) -> dict[str, str]:
    """How somebody signs up, as the action says it. Raises InvalidInput."""
    way = fields["way"] or "key"
    if way not in ("agent", "certificate", "key"):
        raise InvalidInput("choose one of the three ways", path="$.params.way")
    return {"login": fields["login"], **({} if way == "key" else {way: "true"})}


def _envelope(given: dict[str, str]) -> dict[str, Any]:
    """The action a form means. Raises InvalidInput for what cannot be one."""
    flat = {name: value.strip() for name, value in given.items() if value.strip()}
    jump: dict[str, Any] = {name[5:]: flat.pop(name) for name in list(flat) if name.startswith("jump.")}
    found: dict[str, Any] = {"action": "cluster_add", "name": "", "host": "", **flat}
    if jump:
        if not jump.get("host_keys"):
            raise InvalidInput("give its public host key, one a line", path="$.params.jump.host_keys")
        lines = [line for line in jump["host_keys"].splitlines() if line.strip() and not line.startswith("#")]
        found["jump"] = {"host": "", **jump, "host_keys": lines}
        if "host_key" not in found:
            raise InvalidInput("the hub cannot ask for it behind another host", path="$.params.host_key")
    if "path" in found:
        found["path"] = [each.strip() for each in found["path"].split(",") if each.strip()]
    if "defaults" in found:
        found["defaults"] = dict(_option(line) for line in found["defaults"].splitlines() if line.strip())
    return found


def _option(line: str) -> tuple[str, str]:
    name, sign, value = line.strip().removeprefix("--").partition("=")
    if not sign:
        raise InvalidInput(f"{line.strip()[:60]!r} is not written as NAME=VALUE", path="$.params.defaults")
    return name.strip(), value.strip()


def _brought(envelope: dict[str, Any]) -> list[tuple[str, str]]:
    """The fingerprints of host keys that were pasted, with whose they are. Raises InvalidInput for what is none."""
    jump = envelope.get("jump") or {}
    pasted = [("host_key", envelope["host"], envelope["host_key"])] if "host_key" in envelope else []
    pasted += [("jump.host_keys", jump["host"], line) for line in jump.get("host_keys", ())]
    found = []
    for field, whose, line in pasted:
        try:
            found.append((whose, rules.fingerprint(rules.key_line(line))))
        except ValueError as fault:
            raise InvalidInput(str(fault), path=f"$.params.{field}") from None
    return found


def _compare(given: dict[str, str], keys: list[tuple[str, str]], fingerprint: str = "", wrong: str = "") -> Asked:
    sent = {name: value for name, value in given.items() if value}
    if fingerprint:
        sent["fingerprint"] = fingerprint
    return Asked(fields=given, compare=keys, sent=sent, wrong={"compared": wrong} if wrong else {})


def _again(given: dict[str, str], fingerprint: str, error: HubError) -> Asked:
    """The form as it comes back: to compare what was shown, or with what was wrong."""
    if error.code == "compare_fingerprint":
        return _compare(given, [(given["host"], error.errors[0])], error.errors[0])
    if error is _UNCOMPARED:
        return _compare(given, [(given["host"], fingerprint)], fingerprint, forms.full(error.message))
    return forms.asked(given, error)


def _said(what: str, fields: dict[str, str], error: HubError) -> Said:
    """What came of a deed, for the page of the cluster."""
    told, hint = forms.full(error.message), forms.full(error.hint)
    if error.code == "compare_fingerprint":
        return Said(what, compare=error.errors[0])
    if error is _UNCOMPARED:
        return Said(what, compare=fields["fingerprint"], wrong=told)
    field = {"join": "login", "certify": "certificate"}.get(what, "")
    if field and forms.field_of(error) == field:
        value = "" if error.code == "private_key_refused" else fields[field]
        return Said(what, wrong=f"{told} {hint}".strip(), value=value, way=fields.get("way", ""))
    return Said(what, told, hint)


async def _checked(request: Request, actor: Actor) -> None:
    """Whoever may not add a cluster is refused before anything is shown. Raises NotAllowed."""

    def check() -> None:
        with house_of(request).scope(actor) as scope:
            scope.access.hub("cluster:add")

    await to_thread.run_sync(check)


async def _perform(request: Request, actor: Actor, envelope: dict[str, Any]) -> Any:
    action = actions.from_form({name: value for name, value in envelope.items() if value != "" or name in _NEEDED})
    return (await endpoints.perform_as(house_of(request), action, actor, None)).result


_NEEDED = ("name", "host", "login")  # an empty one is refused where it belongs, not as one that is missing


async def _fields(request: Request, *names: str) -> dict[str, str]:
    """The named fields of a form, empty where not given. Raises InvalidInput for any other."""
    fields = dict.fromkeys(names, "")
    for name, value in await endpoints.form_of(request):
        if name not in fields or fields[name]:
            raise InvalidInput("this form has no such field, or has it twice", path=name[:100])
        fields[name] = value.replace("\r\n", "\n")
    return fields


async def _drawn(
    request: Request, actor: Actor, draw: Callable[[Scope], str], status: int, error: HubError | None = None
) -> Response:
    """A page with what came of it; whoever wants no page gets the error itself."""
    if error is not None and "text/html" not in request.headers.get("accept", ""):
        raise error

    def drawn() -> str:
        with house_of(request).scope(actor) as scope:
            return draw(scope)

    headers = {}
    if error is not None and error.retry_after_seconds is not None:
        headers["Retry-After"] = str(error.retry_after_seconds)
    return HTMLResponse(await to_thread.run_sync(drawn), status, headers)


ROUTES = [
    Route("/clusters", add, methods=["POST"]),
    *(Route(f"/clusters/{{name}}/{what}", deed(what), methods=["POST"]) for what in ONWARD),
]
