"""What may be typed into the steps of the set-up, and what is refused with the way to do it right."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest
import yaml

from hub.core.errors import InvalidInput
from hub.core.settings import Settings, load
from hub.people import mail
from hub.setup import manifest
from hub.setup.rules import (
    STEPS,
    Check,
    MailServer,
    checked_backup_place,
    checked_public_url,
    is_finished,
    smtp_url,
    state_after,
)

MALFORMED = [
    "", " ", "https://", "https:///", "https:hub.org", "hub.lab.org/path", "https://hub.lab.org/collegium",
    "https://hub.lab.org/?x=1", "https://hub.lab.org/#top", "https://hub.lab.org?", "https://user@hub.lab.org",
    "https://user:pw@hub.lab.org", "https://hub .lab.org", "https://hub.lab.org:0", "https://hub.lab.org:65536",
    "https://hub.lab.org:https", "https://hub..lab.org", "https://-hub.lab.org", "https://hub_1.lab.org",
    "https://hüb.lab.org", "https://hub.lab.org\\@evil.org", "https://hub.lab.org\r\nX: y", "ftp://hub.lab.org",
    "javascript:alert(1)", "file:///etc/passwd", "//hub.lab.org", "https://[::1", "https://[fe80::1%25eth0]",
    "https://" + "a" * 64 + ".org", "https://" + "a." * 130 + "org", "https://hub.lab.org/\"onload='x'", "ws://hub.lab.org",
]  # fmt: skip


@pytest.mark.parametrize("text", MALFORMED)
def test_a_malformed_url_is_refused_with_the_way_to_write_it(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        checked_public_url(text)
    assert refusal.value.code == "bad_url"
    assert refusal.value.path == "$.params.public_url.url"


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://hub.lab.org", "https://hub.lab.org"),
        (" https://Hub.Lab.org/ ", "https://hub.lab.org"),
        ("https://hub.lab.org:443", "https://hub.lab.org"),
        ("https://hub.lab.org:8443/", "https://hub.lab.org:8443"),
        ("https://xn--hb-xka.lab.org", "https://xn--hb-xka.lab.org"),
        ("https://10.1.2.3", "https://10.1.2.3"),
        ("https://[2001:470::7]:8443", "https://[2001:470::7]:8443"),
        ("http://127.0.0.1:8400", "http://127.0.0.1:8400"),
        ("http://localhost:80", "http://localhost"),
        ("http://[::1]:8400", "http://[::1]:8400"),
    ],
)
def test_a_public_url_becomes_an_origin(text: str, origin: str) -> None:
    assert checked_public_url(text) == origin


@pytest.mark.parametrize("host", ["hub.lab.org", "10.1.2.3", "192.168.0.7", "[2001:470::7]", "localhost.lab.org"])
def test_an_http_url_for_a_foreign_host_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput, match="in the clear") as refusal:
        checked_public_url(f"http://{host}")
    assert refusal.value.code == "http_refused"
    assert "https://" in refusal.value.hint


@pytest.mark.parametrize(
    ("url", "is_loopback"),
    [("", True), ("http://localhost:1", True), ("http://hub.localhost", True), ("http://127.7.0.1:9", True),
     ("http://[::1]:8400", True), ("https://hub.lab.org", False), ("https://10.0.0.1", False),
     ("https://localhost.lab.org", False)],
)  # fmt: skip
def test_a_hub_knows_whether_its_links_open_elsewhere(url: str, is_loopback: bool) -> None:
    assert Settings(public_url=url).is_loopback is is_loopback


def test_a_hub_that_listens_everywhere_without_a_name_has_no_links_for_others() -> None:
    assert Settings(host="0.0.0.0").is_loopback


def test_without_a_public_url_a_certificate_makes_the_address_https() -> None:
    settings = Settings(tls_certificate="/c", tls_key="/k", port=8443)
    assert settings.origin == "https://127.0.0.1:8443"
    assert "https://localhost:8443" in settings.origins


def test_what_was_given_from_outside_is_known_even_when_it_is_the_default() -> None:
    settings = load({"COLLEGIUM_JOIN": "invite", "COLLEGIUM_PUBLIC_URL": ""})
    assert settings.is_given("join")
    assert not settings.is_given("public_url")
    assert not settings.is_given("smtp_url")
    assert Settings(backup_to="/backups").is_given("backup_to")


def test_given_is_no_setting_of_its_own() -> None:
    with pytest.raises(InvalidInput, match="unknown setting"):
        load({"COLLEGIUM_GIVEN": "join"})


@pytest.mark.parametrize(
    "server",
    [
        MailServer("mail.lab.org", 587, "starttls", "hub@lab.org", "p@ss:w/ord %"),
        MailServer("mail.lab.org", 465, "tls", "hub", "ü"),
        MailServer("127.0.0.1", 2525, "none", "hub", "x"),
        MailServer("mail.lab.org", 25, "none"),
    ],
)
def test_a_mail_server_survives_being_stored_as_a_url(server: MailServer) -> None:
    found = mail.server(smtp_url(server))
    assert (found.host, found.port, found.user, found.password) == (
        server.host,
        server.port,
        server.user,
        server.password,
    )


def test_a_mail_server_without_a_port_has_its_usual_one() -> None:
    assert [smtp_url(MailServer("m.org", 0, each)) for each in ("starttls", "tls", "none")] == [
        "smtp+starttls://m.org:587",
        "smtps://m.org:465",
        "smtp://m.org:25",
    ]


def test_a_mail_password_does_not_travel_in_the_clear() -> None:
    with pytest.raises(InvalidInput, match="in the clear"):
        smtp_url(MailServer("mail.lab.org", 25, "none", "hub", "secret"))


@pytest.mark.parametrize("host", ["mail lab.org", "mail.lab.org/x", "user@mail.lab.org", "-x", "mail\n.org", "ma:il"])
def test_a_mail_server_that_is_no_host_is_refused(host: str) -> None:
    with pytest.raises(InvalidInput, match="names no host"):
        smtp_url(MailServer(host, 25, "none"))


DATA = PurePosixPath("/srv/collegium/data")


@pytest.mark.parametrize("place", ["/srv/collegium/data", "/srv/collegium/data/backups", "/srv/collegium/data/a/b"])
def test_a_backup_place_inside_the_data_folder_is_refused(place: str) -> None:
    with pytest.raises(InvalidInput, match="take its backups along") as refusal:
        checked_backup_place(place, DATA)
    assert refusal.value.code == "backup_in_data"


@pytest.mark.parametrize("place", ["/", "/srv", "/srv/collegium"])
def test_a_backup_place_around_the_data_folder_is_refused(place: str) -> None:
    with pytest.raises(InvalidInput, match="holds the data folder"):
        checked_backup_place(place, DATA)


@pytest.mark.parametrize("place", ["backups", "./backups", "~/backups", ""])
def test_a_backup_place_is_a_whole_path(place: str) -> None:
    with pytest.raises(InvalidInput, match="does not begin with /"):
        checked_backup_place(place, DATA)


def test_a_backup_place_beside_the_data_folder_passes() -> None:
    assert checked_backup_place("/mnt/backups/", DATA) == "/mnt/backups"
    assert checked_backup_place("/srv/collegium/data2", DATA) == "/srv/collegium/data2"


def test_a_step_is_done_when_everything_holds_and_the_set_up_when_every_step_is_done_or_skipped() -> None:
    good, bad = Check("a", True, "x"), Check("b", False, "y")
    assert state_after([good, good]) == "done"
    assert state_after([good, bad]) == "failed"
    assert is_finished(["done", "skipped"])
    for state in ("open", "testing", "failed"):
        assert not is_finished(["done", state])  # type: ignore[list-item]


def test_no_setting_belongs_to_two_steps() -> None:
    names = [name for step in STEPS for name in step.settings]
    assert len(names) == len(set(names))
    assert set(names) <= set(Settings.__struct_fields__)


SHIPPED = """# A comment with https://hub.example.org/slack/none
display_information:
  name: Collegium
features:
  slash_commands:
    - command: /collegium
      url: https://hub.example.org/slack/events
      description: Everything
oauth_config:
  scopes:
    user:
      - users:read
    bot:
      - chat:write
      - "files:read"  # quoted
settings:
  interactivity:
    is_enabled: true
    request_url: https://hub.example.org/slack/events
  socket_mode_enabled: false
"""


def test_the_manifest_is_filled_in_for_the_hub() -> None:
    found = manifest.filled(SHIPPED, "https://hub.lab.org", by_socket=False)
    assert "hub.example.org" not in found
    assert found.count("https://hub.lab.org/slack/events") == 2
    assert manifest.new_app(found).startswith(
        "https://api.slack.com/apps?new_app=1&manifest_yaml=display_information%3A"
    )


def test_where_slack_cannot_call_the_manifest_asks_for_a_socket() -> None:
    found = manifest.filled(SHIPPED, "http://127.0.0.1:8400", by_socket=True)
    assert "socket_mode_enabled: true" in found
    assert "127.0.0.1" not in found and "slack/events" not in found
    assert "is_enabled: true" in found and "description: Everything" in found


def test_the_scopes_of_the_bot_are_read_from_the_manifest() -> None:
    assert manifest.bot_scopes(SHIPPED) == {"chat:write", "files:read"}
    assert manifest.bot_scopes("") == frozenset()


def test_the_manifest_that_is_shipped_is_read_as_yaml_reads_it() -> None:
    shipped = manifest.text()
    read = yaml.safe_load(shipped)
    assert manifest.bot_scopes(shipped) == set(read["oauth_config"]["scopes"]["bot"])
    for by_socket in (False, True):
        filled = yaml.safe_load(manifest.filled(shipped, "https://hub.lab.org", by_socket=by_socket))
        assert filled["settings"]["socket_mode_enabled"] is by_socket
        url = filled["features"]["slash_commands"][0].get("url")
        assert url == (None if by_socket else "https://hub.lab.org/slack/events")
        assert filled["oauth_config"] == read["oauth_config"]
