"""A script changed by somebody else since its submitter last saw it: what changed, and whether to run it so."""

from __future__ import annotations

import msgspec

from hub.core.context import Scope
from hub.core.errors import HubError
from hub.jobs.seen import Changed
from hub.web.pages import diffs, frames, render, words

Pairs = list[tuple[str, str]]


def show(scope: Scope, error: HubError, pairs: Pairs, *, to: str = "/do", back: str = "") -> str:
    """The answer to a form whose submission was held back; it can be sent again with the new digests.

    `to` is where the form is sent, `back` where the same fields can be changed.
    """
    found = msgspec.convert(error.facts["scripts"], list[Changed])
    return render.html(
        "script_changed.html",
        frames.plain(scope, "The script has changed"),
        now=scope.now,
        title="The script has changed" if len(found) == 1 else f"{words.count(len(found), 'script')} have changed",
        scripts=[diffs.changed(each) for each in found],
        fields=confirming(pairs, found),
        to=to,
        back=back,
    )


def confirming(pairs: Pairs, found: list[Changed]) -> Pairs:
    """The fields of a form, with what changed confirmed."""
    kept = [(name, value) for name, value in pairs if name not in {"confirm", "confirm[]"}]
    before = [value for name, value in pairs if name in {"confirm", "confirm[]"} and value]
    digests = dict.fromkeys([*before, *(each.confirm for each in found)])
    return [*kept, *(("confirm[]", digest) for digest in digests)]
