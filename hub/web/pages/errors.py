"""What a person reads when something was not done: what, what is kept, what is missing; the code and id come last."""

from __future__ import annotations

import datetime as dt
import re
from urllib.parse import urlencode, urlsplit

from starlette.requests import Request

from hub.core.errors import HubError
from hub.web.pages import render, words
from hub.web.pages.faces import Act, Frame

_TITLES = {
    400: "That could not be understood",
    401: "Sign in to see this",
    403: "This is not yours to do",
    404: "There is nothing here",
    405: "This page cannot do that",
    409: "Somebody was here before you",
    413: "That is more than fits",
    429: "A little slower, please",
    500: "Something broke on our side",
    503: "Nothing was started",
}
_KEPT = {
    401: "A password, a passkey or a one-time link brings you in. `collegium link` prints a link on the machine where "
    "the hub runs; an operator can make one for you.",
    404: "Either it never was, or it is not shared with you. The hub does not say which.",
    409: "Nothing of yours was lost and nothing was overwritten. Look at what is there now, then try again.",
    429: "Nothing was changed. Wait a moment, then send it again; nothing will run twice.",
    500: "What was saved before is safe. The hub has written down what happened, under the id below.",
    503: "Nothing was changed and nothing will run twice. Send it again when what is missing is there.",
}
_MOST_LINES = 3  # of the motif's seventeen, drawn as lacking
_LACKING = (3, 12, 6)


def show(error: HubError, request_id: str, request: Request) -> str:
    """The page for an error of any kind; it needs no database, since that may be what failed."""
    hidden = error.status >= 500 and error.code == "internal"
    said = "" if hidden or error.status in (401, 404) else _full_stop(words.sentence(error.message))
    now = dt.datetime.now(dt.UTC)
    return render.html(
        "error.html",
        Frame(title=_title(error)),
        now=now,
        title=_title(error),
        kept=_KEPT.get(error.status, "Nothing was changed, and what was saved before is safe."),
        said=said,
        hint=_full_stop(words.sentence(error.hint)),
        missing=error.errors,
        lacking=_LACKING[: min(max(1, len(error.errors)), _MOST_LINES)],
        acts=_ways_back(error, request),
        line=f"{error.status} {error.code} · request {request_id} · {words.moment(now)} UTC",
    )


def _full_stop(text: str) -> str:
    return text if not text or text.endswith((".", "?", "!", ":")) else f"{text}."


def _title(error: HubError) -> str:
    title = _TITLES.get(error.status, "That was not done")
    if error.status == 503 and len(error.errors) > 1:
        return f"{title}: {words.count(len(error.errors), 'thing')} are missing"
    return title


def _ways_back(error: HubError, request: Request) -> list[Act]:
    back = _came_from(request)
    acts = [Act("Back to where you were", href=back, look="main")] if back else []
    if error.status == 401:
        here = f"?{urlencode({'next': request.url.path})}" if request.method == "GET" else ""
        acts.insert(0, Act("Sign in", href=f"/signin{here}", look="main"))
    url = error.facts.get("url")
    if error.code in {"step_up_required", "second_factor_required"} and isinstance(url, str):
        acts.insert(0, Act("Prove that it is you", href=urlsplit(url).path))
    return [*acts, Act("Home", href="/")]


def _came_from(request: Request) -> str:
    """The page of this hub that sent the request; nothing of any other site."""
    referer = urlsplit(request.headers.get("referer", ""))
    if referer.netloc != request.headers.get("host") or not re.fullmatch(r"/[\w./~%-]*", referer.path):
        return ""
    return referer.path if referer.path != request.url.path or request.method != "GET" else ""
