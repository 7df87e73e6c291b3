"""What an action answered that is shown only once: the address of a link, the secret of a token.

The form door sends everybody on after an action, except when there is a secret to hand over; then this page stands
between, and is kept by nobody.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from starlette.requests import Request

from hub.web.pages import render
from hub.web.pages.faces import Act, Frame

_ONCE = "Copy it now: it is shown this once and kept nowhere. Pass it on by a way you trust."
_HERE_ONLY = "Until this hub has a public address, it opens on the hub's own machine only."
_PROOF = "Type it where you were asked to prove that it is you. It works once, within five minutes, for you alone."
_CODES = (
    "Print them or keep them where you keep passwords: they are shown this once. Each signs you in one time when the "
    "authenticator app is lost."
)


def holds(result: dict[str, Any]) -> bool:
    """Whether an action's answer has something to hand over."""
    return bool(_handed(result))


def show(result: dict[str, Any], onward: str, request: Request) -> str:
    """The page that hands over what is shown once, with the way on."""
    handed = _handed(result)
    title = _title(result, len(handed))
    return render.html(
        "shown_once.html",
        Frame(title=title),
        now=dt.datetime.now(dt.UTC),
        title=title,
        text=_CODES if result.get("codes") else _PROOF if result.get("proof") else _once(result, request),
        handed=handed,
        acts=[Act("Go on", href=onward or "/", look="main")],
    )


def _once(result: dict[str, Any], request: Request) -> str:
    """What to do with it; for a link also where it opens, since nobody elsewhere could follow it."""
    is_link = bool(result.get("url") or result.get("invitations"))
    return f"{_ONCE} {_HERE_ONLY}" if is_link and request.app.state.house.settings.is_loopback else _ONCE


def _handed(result: dict[str, Any]) -> list[tuple[str, str]]:
    """What must be handed over, each with its label."""
    found = [
        (str(each.get("email", "")), address(each)) for each in result.get("invitations") or () if each.get("secret")
    ]
    if result.get("secret"):
        found.append(("", address(result)))
    if codes := result.get("codes"):
        found.append(("", "\n".join(str(code) for code in codes)))
    return found


def address(result: dict[str, Any]) -> str:
    """The address that carries a secret, or the bare secret where there is none."""
    url, secret = str(result.get("url") or ""), str(result["secret"])
    if not url or secret in url:
        return url or secret
    return f"{url}/{secret}"


def _title(result: dict[str, Any], many: int) -> str:
    if result.get("invitations"):
        return "The invitation is made" if many == 1 else "The invitations are made"
    if "token" in result:
        return "The token is made"
    if "proof" in result:
        return "Your one-time code"
    if "codes" in result:
        return "Your recovery codes"
    return "The link is made"
