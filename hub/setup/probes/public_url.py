"""Does the public address reach this very hub, with a certificate that will last and a clock that is right?"""

from __future__ import annotations

import datetime as dt
import email.utils
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from hub.core import tls
from hub.core.decoding import UNREADABLE
from hub.core.errors import HubError
from hub.core.fetch import Fetched, fetch
from hub.core.house import House
from hub.core.settings import Settings
from hub.setup.instance import instance
from hub.setup.rules import Check, is_loopback, sentence

SKEW_SECONDS = 30


class _Health(msgspec.Struct):
    instance: str = ""


def test(house: House, settings: Settings, by: str | None) -> list[Check]:
    """Ask the address who is there."""
    found = []
    if settings.tls_certificate:
        found.append(_files(settings, house.clock.now()))
    try:
        answer = ask(settings)
    except HubError as error:
        return [*found, Check("reaches this hub", False, f"{sentence(error.message)}.", _remedy(settings, error.code))]
    found.append(_is_ours(house, settings, answer))
    if answer.certificate is not None and not settings.tls_certificate:
        found.append(_lasts(tls.said_by(answer.certificate), house.clock.now()))
    if (clock := skew(answer.headers.get("date"), house.clock.now())) is not None:
        found.append(clock)
    return found


def ask(settings: Settings) -> Fetched:
    """What `/healthz` says at the public address. Raises HubError."""
    host = urlsplit(settings.origin).hostname or ""
    return fetch(f"{settings.origin}/healthz", allow_private=[host], plain_loopback=is_loopback(host))


def _is_ours(house: House, settings: Settings, answer: Fetched) -> Check:
    try:
        there = msgspec.json.decode(answer.body, type=_Health).instance
    except UNREADABLE:
        there = ""
    if there == instance(house):
        where = "; links open on this machine only" if settings.is_loopback else ""
        return Check("reaches this hub", True, f"{settings.origin} is answered by this hub{where}.")
    who = "another hub" if there else f"something that is no hub (status {answer.status})"
    return Check(
        "reaches this hub",
        False,
        f"{settings.origin} is answered by {who}.",
        "Point the name, or the proxy in front of this hub, at this machine.",
    )


def _remedy(settings: Settings, code: str) -> str:
    if code == "fetch_unknown_host":
        return "Make a DNS record that leads this name to this machine."
    if code == "fetch_certificate":
        return "Use a certificate of a known authority; a private one is trusted when SSL_CERT_FILE names it."
    if code == "fetch_tls":
        return "Serve https there: give a certificate and its key, or let a proxy in front end TLS."
    if is_loopback(settings.host) and not settings.is_loopback:
        return (
            f"The hub listens on {settings.host} alone. Start it with --host 0.0.0.0, "
            "or put a proxy in front of it, and open the port in the firewall."
        )
    return "Start the hub, and let the firewall and the proxy pass requests to it."


def _files(settings: Settings, now: dt.datetime) -> Check:
    host = tls.host_as_named(urlsplit(settings.origin).hostname or "")
    try:
        return _lasts(tls.checked(Path(settings.tls_certificate), Path(settings.tls_key), host, now), now)
    except HubError as error:
        return Check("certificate", False, f"{sentence(error.message)}.", error.hint or "Renew it, then test again.")


def _lasts(certificate: tls.Certificate, now: dt.datetime) -> Check:
    words = f"It is good until {certificate.until:%Y-%m-%d}, {certificate.days_left(now)} days from now."
    is_fine = certificate.until - now > tls.SOON
    return Check(
        "certificate", is_fine, words, "" if is_fine else "Renew it now; see why that does not happen by itself."
    )


def skew(date: str | None, now: dt.datetime) -> Check | None:
    """How far this machine's clock is from the one of whoever answered; None when they named no time."""
    if date is None:
        return None
    try:
        there = email.utils.parsedate_to_datetime(date)
    except ValueError:
        return None
    seconds = round(abs((there - now).total_seconds()))
    if seconds <= SKEW_SECONDS:
        return Check("clock", True, "The clock agrees.")
    return Check(
        "clock", False, f"The clock is {seconds} seconds away from the time there.", "Let NTP set this machine's clock."
    )
