"""The page on which somebody confirms their shell: the code it shows, which machine it is, and two buttons."""

from __future__ import annotations

from urllib.parse import quote

from hub.core.context import Scope
from hub.core.errors import HubError
from hub.people.device_codes import Asking
from hub.web.pages import frames, landing, render, words
from hub.web.pages.faces import Act, Fact

_SAID = {
    "approved": (
        "Your shell is signed in",
        "Go back to it. Its token is listed on your page, where you can revoke it.",
    ),
    "refused": ("Refused", "The shell that asked gets nothing. If you did not begin this, nobody else got in by it."),
}


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /device"""
    code = params.get("code", "")[:40]
    if scope.actor.kind != "person":
        path = f"/device?code={quote(code, safe='')}" if code else "/device"
        return landing.show(
            scope, "Sign in a shell", "Sign in here first; then type the code that your shell shows.",
            acts=[landing.sign_in(path)],
        )  # fmt: skip
    if (said := _SAID.get(params.get("said", ""))) is not None:
        return landing.show(scope, *said, acts=[Act("Home", href="/", look="main"), Act("Your page", href="/me")])
    return form(scope, code)


def form(scope: Scope, code: str, refused: HubError | None = None) -> str:
    """Where the code is typed, with what was wrong with the last one."""
    return render.html(
        "device.html",
        frames.plain(scope, "Sign in a shell"),
        now=scope.now,
        code=code,
        wrong="" if refused is None else words.sentence(refused.message),
        hint="" if refused is None else words.sentence(refused.hint),
    )


def confirm(scope: Scope, asking: Asking) -> str:
    """What asks, and the two answers."""
    where = f"{asking.address or 'an address the hub cannot tell'}"
    where += ", the same as yours" if asking.same_address else ", which is not this browser's"
    fields = {"user_code": asking.code}
    return landing.show(
        scope,
        f"Sign in the shell on {asking.host}?",
        f"It would do whatever {scope.actor.name} may do here, until its token is revoked.",
        told=[
            Fact("Code", f"{asking.code[:4]}-{asking.code[4:]}", code=True),
            Fact("Machine", asking.host),
            Fact("Asks from", where),
            Fact("Asked", words.ago(frames.instant(asking.begun), scope.now)),
            Fact("You are", landing.myself(scope)),
        ],
        acts=[
            Act("Yes, it is mine", action="device_approve", fields=fields, next="/device?said=approved", look="main"),
            Act("No, refuse", action="device_refuse", fields=fields, next="/device?said=refused", look="quiet"),
        ],
        fine="Confirm only what you began yourself, a moment ago, by `collegium login`. Somebody told you to type this "
        "code? Then it is their shell that would act as you: refuse.",
    )
