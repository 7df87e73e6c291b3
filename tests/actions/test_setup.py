"""Setting a hub up: what is stored and what it does, who may; the public address and the owner."""

from __future__ import annotations

import datetime as dt
import http.server
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.core.bus import MemoryBus
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import Conflict, InvalidInput, NotAllowed
from hub.core.house import House
from hub.ledger.tables import ledger_bodies
from hub.people import accounts
from hub.setup import following, stored
from hub.setup.instance import instance
from hub.setup.probes import TESTS
from hub.setup.tables import hub_settings
from tests.actions.notebook_fixtures import signed_in
from tests.actions.setup_fixtures import bare_house, fresh_operator, look, outcome, step  # noqa: F401 - fixtures
from tests.certificates import Authority
from tests.conftest import NOW, Perform

MAIL = {"host": "mail.lab.org", "user": "hub", "password": "p@ss word", "security": "starttls"}


def test_only_an_operator_sets_up_and_only_with_a_fresh_proof(
    house: House, perform: Perform, ana: Actor, operator: Actor
) -> None:
    for action, fields in (
        ("setup_change", {"mail": MAIL}),
        ("setup_test", {"step": "mail"}),
        ("setup_skip", {"step": "mail"}),
    ):
        with pytest.raises(NotAllowed):
            perform(signed_in(ana, NOW), action, **fields)
    with pytest.raises(NotAllowed):
        look(house, ana)
    with pytest.raises(NotAllowed) as refusal:
        perform(operator, "setup_change", mail=MAIL)
    assert refusal.value.code == "step_up_required"
    with house.db.read() as conn:
        assert conn.execute(sa.select(hub_settings)).all() == []


def test_nothing_waits_for_anything_else_and_everything_can_be_skipped_and_repeated(
    house: House, perform: Perform, olga: Actor
) -> None:
    assert {each.state for each in look(house, olga).steps} == {"open"}
    for each in reversed(look(house, olga).steps):
        perform(olga, "setup_skip", step=each.name)
    assert look(house, olga).finished
    perform(olga, "setup_test", step="backup")
    assert step(house, olga, "backup").state == "testing"
    assert not look(house, olga).finished


def test_a_secret_is_sealed_never_shown_and_never_in_the_ledger(
    house: House, perform: Perform, olga: Actor, tmp_path: Path
) -> None:
    perform(olga, "setup_change", mail=MAIL)
    assert "p%40ss%20word" in stored.overlaid(house).smtp_url
    shown = msgspec.json.encode(look(house, olga)).decode()
    assert "p@ss" not in shown and "p%40ss" not in shown
    with house.db.read() as conn:
        (sealed,) = conn.execute(sa.select(hub_settings.c.sealed).where(hub_settings.c.name == "smtp_url")).scalars()
        lines = b"".join(conn.execute(sa.select(ledger_bodies.c.bytes)).scalars())
    assert b"p%40ss" not in sealed and b"p%40ss" not in lines and b"mail.lab.org" not in lines
    database = (tmp_path / "data" / "hub.sqlite3").read_bytes() + (tmp_path / "data" / "hub.sqlite3-wal").read_bytes()
    assert b"p%40ss%20word" not in database and b"p@ss word" not in database


def test_an_empty_password_leaves_the_one_that_is_stored_for_this_server_and_user(
    house: House, perform: Perform, olga: Actor
) -> None:
    perform(olga, "setup_change", mail=MAIL)
    house.settings = stored.overlaid(house)
    perform(olga, "setup_change", mail={**MAIL, "password": "", "port": 2525})
    assert stored.overlaid(house).smtp_url == "smtp+starttls://hub:p%40ss%20word@mail.lab.org:2525"
    perform(olga, "setup_change", mail={**MAIL, "password": "", "host": "other.lab.org"})
    assert stored.overlaid(house).smtp_url == "smtp+starttls://hub@other.lab.org:587"


def test_the_environment_wins_and_is_said_to(house: House, perform: Perform, olga: Actor) -> None:
    house.given_settings = msgspec.structs.replace(house.given_settings, mail_from="lab@uni.edu", join="workspace")
    with pytest.raises(Conflict, match="COLLEGIUM_MAIL_FROM"):
        perform(olga, "setup_change", mail={**MAIL, "sender": "other@uni.edu"})
    perform(olga, "setup_change", mail={**MAIL, "sender": "lab@uni.edu"})
    with house.db.read() as conn:
        assert set(conn.execute(sa.select(hub_settings.c.name)).scalars()) == {"smtp_url"}
    rows = {row.name: (row.value, row.source) for row in step(house, olga, "mail").settings}
    assert rows == {"smtp_url": ("set", "stored"), "mail_from": ("lab@uni.edu", "environment")}
    assert step(house, olga, "slack").settings[0].source == "environment"


def test_what_is_stored_is_what_the_next_process_runs_by(
    house: House, perform: Perform, olga: Actor, clock: FrozenClock, bus: MemoryBus
) -> None:
    from hub import app

    perform(olga, "setup_change", mail=MAIL)
    perform(olga, "setup_change", public_url={"url": "https://hub.lab.org/"})
    other = app.build(house.given_settings, clock=clock, bus=bus, db=house.db)
    assert other.settings.origin == "https://hub.lab.org"
    assert other.settings.smtp_url.endswith("@mail.lab.org:587")
    given = msgspec.structs.replace(house.given_settings, public_url="https://given.lab.org")
    assert app.build(given, clock=clock, bus=bus, db=house.db).settings.origin == "https://given.lab.org"
    perform(olga, "setup_change", public_url={})
    assert stored.overlaid(house).public_url == ""


def test_a_process_that_runs_takes_up_what_is_stored_except_what_needs_a_restart(
    house: House, perform: Perform, olga: Actor
) -> None:
    stop = following.follow(house)
    try:
        perform(olga, "setup_change", public_url={"url": "https://hub.lab.org"})
        perform(olga, "setup_change", mail=MAIL)
        deadline = time.monotonic() + 10
        while not house.settings.smtp_url and time.monotonic() < deadline:
            time.sleep(0.01)
        assert house.settings.smtp_url.endswith("@mail.lab.org:587")
        assert house.settings.public_url == ""
        assert look(house, olga).restart_needed
    finally:
        stop()


# The public address


class _Door(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = msgspec.json.encode({"ok": True, "instance": self.server.instance})  # type: ignore[attr-defined]
        self.send_response_only(200)
        if self.server.date:  # type: ignore[attr-defined]
            self.send_header("Date", self.server.date)  # type: ignore[attr-defined]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None: ...


class Door(http.server.ThreadingHTTPServer):
    """What stands at a public address and says which hub it is."""

    instance = ""
    date = ""

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.server_port}"


@pytest.fixture
def door(house: House) -> Iterator[Door]:
    server = Door(("127.0.0.1", 0), _Door)
    server.instance = instance(house)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_public_address_is_done_when_this_very_hub_answers_there(
    house: House, perform: Perform, olga: Actor, door: Door
) -> None:
    made = perform(olga, "setup_change", public_url={"url": f"http://{door.url}"})
    assert (made["restart"], made["origin"]) == ("by_hand", f"http://{door.url}")
    found = outcome(house, made)
    assert found["reaches this hub"].holds
    assert "on this machine only" in found["reaches this hub"].words
    assert step(house, olga, "public_url").state == "done"
    assert look(house, olga).public_url_is_loopback
    door.instance = "another"
    found = outcome(house, perform(olga, "setup_test", step="public_url"))
    assert "another hub" in found["reaches this hub"].words
    assert step(house, olga, "public_url").state == "failed"


def test_a_clock_that_is_wrong_is_told(house: House, perform: Perform, olga: Actor, door: Door) -> None:
    door.date = "Sat, 01 Jun 2024 12:02:00 GMT"
    found = outcome(house, perform(olga, "setup_change", public_url={"url": f"http://{door.url}"}))
    assert found["clock"].words == "The clock is 120 seconds away from the time there."
    assert "NTP" in found["clock"].hint


def test_an_address_nobody_answers_at_says_what_to_look_at(house: House, perform: Perform, olga: Actor) -> None:
    server = Door(("127.0.0.1", 0), _Door)
    server.server_close()
    found = outcome(house, perform(olga, "setup_change", public_url={"url": f"http://{server.url}"}))
    assert not found["reaches this hub"].holds
    assert "firewall" in found["reaches this hub"].hint


def test_an_http_url_for_a_foreign_host_is_not_stored(house: House, perform: Perform, olga: Actor) -> None:
    with pytest.raises(InvalidInput) as refusal:
        perform(olga, "setup_change", public_url={"url": "http://hub.lab.org"})
    assert refusal.value.code == "http_refused"
    assert stored.overlaid(house).public_url == ""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, NOW)


def over_tls(chain: Path, key: Path, url: str = "https://hub.lab.org") -> dict[str, str]:
    return {"url": url, "tls_certificate": str(chain), "tls_key": str(key)}


def test_a_good_certificate_is_stored_and_says_how_long_it_lasts(
    house: House, perform: Perform, olga: Actor, authority: Authority
) -> None:
    made = perform(olga, "setup_change", public_url=over_tls(*authority.issue("hub.lab.org", "*.rooms.lab.org")))
    assert set(made["changed"]) == {"public_url", "tls_certificate", "tls_key"}
    by_hand = {check.name: check for check in TESTS["public_url"](house, stored.overlaid(house), None)}
    assert by_hand["certificate"].words == "It is good until 2024-08-30, 90 days from now."


@pytest.mark.parametrize(
    ("fault", "code"),
    [("another's key", "key_mismatch"), ("expired", "certificate_expired"), ("not yet", "certificate_not_yet_valid"),
     ("other host", "certificate_other_host"), ("no key", "half_a_certificate"), ("no file", "file_unreadable"),
     ("not PEM", "bad_certificate"), ("key not PEM", "bad_key"), ("http", "bad_url"),
     ("relative", "bad_certificate_path")],
)  # fmt: skip
def test_a_certificate_that_cannot_be_served_is_refused_before_it_is_stored(
    house: House, perform: Perform, olga: Actor, authority: Authority, fault: str, code: str
) -> None:
    chain, key = authority.issue("hub.lab.org")
    other_chain, other_key = authority.issue("other.lab.org", name="other")
    day = dt.timedelta(days=1)
    nonsense = authority.folder / "nonsense.pem"
    nonsense.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    given = {
        "another's key": over_tls(chain, other_key),
        "expired": over_tls(*authority.issue("hub.lab.org", name="old", since=NOW - 90 * day, until=NOW - day)),
        "not yet": over_tls(*authority.issue("hub.lab.org", name="new", since=NOW + day, until=NOW + 9 * day)),
        "other host": over_tls(other_chain, other_key),
        "no key": {"url": "https://hub.lab.org", "tls_certificate": str(chain)},
        "no file": over_tls(chain.with_name("gone.pem"), key),
        "not PEM": over_tls(nonsense, key),
        "key not PEM": over_tls(chain, nonsense),
        "http": over_tls(chain, key, "http://127.0.0.1:8400"),
        "relative": over_tls(Path("hub.pem"), Path("hub.key")),
    }[fault]
    with pytest.raises(InvalidInput) as refusal:
        perform(olga, "setup_change", public_url=given)
    assert refusal.value.code == code
    assert stored.overlaid(house).tls_certificate == ""


def test_a_certificate_that_is_about_to_end_fails_the_test(
    house: House, perform: Perform, olga: Actor, authority: Authority, clock: FrozenClock
) -> None:
    perform(olga, "setup_change", public_url=over_tls(*authority.issue("hub.lab.org")))
    clock.advance(80 * 24 * 3600)
    soon = TESTS["public_url"](house, stored.overlaid(house), None)[0]
    assert (soon.name, soon.holds) == ("certificate", False)
    clock.advance(20 * 24 * 3600)
    ended = TESTS["public_url"](house, stored.overlaid(house), None)[0]
    assert "expired" in ended.words


# The owner


def test_the_owner_gets_a_name_a_handle_and_an_address(house: House, perform: Perform, olga: Actor) -> None:
    given = {"name": "Olga Ladyzhenskaya", "handle": "ladyzhenskaya", "email": "Olga@Lab.org"}
    made = perform(olga, "setup_change", owner=given)
    found = outcome(house, made)
    assert found["name"].words == "Olga Ladyzhenskaya, @ladyzhenskaya."
    assert found["e-mail"].holds
    assert found["sign-in"].holds and "one-time links" in found["sign-in"].words
    with house.db.read() as conn:
        actor = accounts.actor_of(conn, olga.id)
    assert actor is not None
    assert step(house, actor, "owner").fields == {**given, "email": "olga@lab.org"}
    perform(olga, "setup_change", public_url={"url": "https://hub.lab.org"})
    elsewhere = outcome(house, perform(olga, "setup_test", step="owner"))
    assert not elsewhere["sign-in"].holds and elsewhere["sign-in"].hint.endswith("https://hub.lab.org/me/security.")


def test_a_name_or_an_address_of_somebody_else_is_refused(
    house: House, perform: Perform, olga: Actor, ana: Actor
) -> None:
    with pytest.raises(Conflict) as refusal:
        perform(olga, "setup_change", owner={"handle": "ana"})
    assert refusal.value.code == "handle_taken"
    with pytest.raises(Conflict) as refusal:
        perform(olga, "setup_change", owner={"email": "ana@university.edu"})
    assert refusal.value.code == "email_taken"
