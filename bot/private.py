"""What somebody wrote in a chat that nobody else may have: a private key, a token, a one-time code.

It is looked for before anything else is done with what was written, so that neither the hub nor a log hears of it. The
same marks are `hub/core/credentials.py`'s, which the bot cannot import; a test holds the two together.
"""

import re

import msgspec

from bot.problems import INVALID, Problem


class Kind(msgspec.Struct, frozen=True):
    """A kind of secret: its code, what it is called, how it is known, and how it is replaced."""

    code: str
    what: str
    mark: re.Pattern[str]
    replace: str


# PEM of any kind, the body of OpenSSH's own form (its magic in base64, should the frame be lost), and PuTTY's. Dashes
# may have been made typographic, and the lines one.
_PRIVATE = r"BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?\s?[-‐-―−]|b3BlbnNzaC1rZXktdjE|PuTTY-User-Key-File-\d"
# As kubeconfig holds it: PEM, once more in base64.
_KUBECONFIG = (
    r"client-key-data[\"']?\s*:\s*[\"']?[A-Za-z0-9+/]{20}"
    r"|LS0tLS1CRUdJTi[A-Za-z0-9+/]{0,24}(?:UFJJVkFURSBLRVkt|IFBSSVZBVEUgS0VZLS|QUklWQVRFIEtFWS0)"
)
_OF_A_HUB = r"(?<![A-Za-z0-9_-])clg[acdehst]?_[A-Za-z0-9_-]{40,}"
_ISSUED = (
    r"(?<![A-Za-z0-9_-])(?:(?:AKIA|ASIA)[A-Z0-9]{16}|gh[opsur]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}"
    r"|glpat-[A-Za-z0-9_-]{20,}|xox[abeprs]-[A-Za-z0-9-]{10,}|xapp-\d-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{35}"
    r"|hf_[A-Za-z0-9]{30,}|npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_-]{20,}|sk-ant-[A-Za-z0-9_-]{20,}"
    r"|sk-proj-[A-Za-z0-9_-]{20,}|sk_live_[A-Za-z0-9]{16,}|dckr_pat_[A-Za-z0-9_-]{20,}|hvs\.[A-Za-z0-9_-]{20,})"
)
_AUTHENTICATOR = r"otpauth://[^\s]{0,300}secret="
# Alone, as one answers a prompt; beside the words for it; or as an option of a command. Groups of four are a code of
# this hub, and so is what `collegium step-up` prints, which only opens a window for signing where it is written.
_GROUPS = r"[0-9a-hjkmnp-tv-z]{4}(?:-[0-9a-hjkmnp-tv-z]{4}){3}"
_SAID = rf"[\"'`]?(?:\d{{6}}|\d{{8}}|\d{{3}}[ -]\d{{3}}|{_GROUPS})(?![\w.-]*\d)"
_CODE = (
    rf"\A\s*\d{{3}}[ -]?\d{{3}}\s*\Z|\A\s*{_GROUPS}\s*\Z"
    r"|(?<!open )(?<![A-Za-z0-9_-])code_[A-Za-z0-9_-]{40,}"
    r"|(?i:\b(?:one[- ]time|verification|authenticator|two[- ]factor|2fa|mfa|otp|totp|duo)"
    r"(?:[- ](?:pass)?(?:code|word|pin)\b)?"
    r"|\b(?:sign[- ]?in|login)[- ](?:pass)?code\b|\b(?:my|the|your) (?:code|passcode|pin)\b|\bpasscode\b)"
    rf"[ \t]*(?:(?i:is|now|was)\b[ \t]*)?[:=]?[ \t]*{_SAID}"
    rf"|(?:--code|\b(?:role|disable|reset)\b[^\n]{{0,200}}\s-c)[ \t=]*{_SAID}"
)

KINDS = (
    Kind(
        "private_key_refused", "a private key", re.compile(f"{_PRIVATE}|{_KUBECONFIG}"),
        "make a new key in its place wherever it is used, and take the old one's public half or certificate away "
        "there; the hub makes keys of its own, and needs none of yours",
    ),
    Kind(
        "token_refused", "a token of a hub like this one", re.compile(_OF_A_HUB),
        "revoke it, and make a new one: on the hub's page about you, or with `collegium cluster token` for an agent's",
    ),
    Kind(
        "token_refused", "an access key or token", re.compile(_ISSUED),
        "revoke it where it was issued, and make a new one there",
    ),
    Kind(
        "code_refused", "the secret of an authenticator app", re.compile(_AUTHENTICATOR),
        "set the app up anew where you sign in with it",
    ),
    Kind(
        "code_refused", "a one-time code", re.compile(_CODE),
        "ask for a new one, and type it only on the page or in the shell that asked for it; if it is only a number, "
        "say with it what it is the number of",
    ),
)  # fmt: skip


_HERE = "It still stands where you wrote it: delete it there. "


def problem_in(text: str, *, stands: bool = True) -> Problem | None:
    """The refusal of a text in which a secret shows, without repeating it; with `stands` it is to be read there yet."""
    kind = next((kind for kind in KINDS if kind.mark.search(text)), None)
    if kind is None:
        return None
    return Problem(
        kind.code,
        f"This looks like {kind.what}. Nothing of it was kept, and nothing was done.",
        status=400,
        hint=f"{_HERE if stands else ''}Somebody may have seen it, so replace it: {kind.replace}.",
        exit_code=INVALID,
    )
