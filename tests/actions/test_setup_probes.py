"""What the tests of the set-up find, good and bad: Slack, mail, the backup place; and again by doctor."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa

from hub.chats.tables import chat_installations
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import InvalidInput
from hub.core.house import House
from hub.setup import health, stored
from hub.setup.probes import TESTS
from hub.setup.rules import Check
from hub.work.entry import carry_out
from tests.actions.mail_server import Mailbox, running, sign_in
from tests.actions.setup_fixtures import bare_house, fake_slack, fresh_operator, outcome, step, tokens  # noqa: F401 - fixtures
from tests.bot.fake_slack import FakeSlack
from tests.conftest import Perform

pytestmark = pytest.mark.slow

# Slack


def test_a_workspace_is_connected_when_slack_knows_the_tokens_and_a_hello_is_posted(
    house: House, perform: Perform, olga: Actor, slack: FakeSlack
) -> None:
    slack.channel("lab")
    found = outcome(house, perform(olga, "setup_change", slack=tokens(slack, channel="#lab", join="workspace")))
    assert {name: check.holds for name, check in found.items()} == {
        "workspace": True, "scopes": True, "way in": True, "hello": True,
    }  # fmt: skip
    assert [message.text[:18] for message in slack.messages] == ["Collegium is here."]
    with house.db.read() as conn:
        row = conn.execute(sa.select(chat_installations)).one()
    assert (row.workspace, row.installed_by) == (slack.team, olga.id)
    assert stored.overlaid(house).join == "workspace"
    assert "xoxb" not in stored.set_aside(house, "slack_pasted")
    assert step(house, olga, "slack").state == "done"


def test_looking_again_without_proof_posts_nothing(
    house: House, perform: Perform, olga: Actor, slack: FakeSlack
) -> None:
    slack.channel("lab")
    outcome(house, perform(olga, "setup_change", slack=tokens(slack, channel="lab")))
    assert all(check.holds for check in TESTS["slack"](house, stored.overlaid(house), None))
    assert len(slack.messages) == 1


def test_a_wrong_slack_token_is_told_and_not_kept(
    house: House, perform: Perform, olga: Actor, slack: FakeSlack
) -> None:
    found = outcome(house, perform(olga, "setup_change", slack=tokens(slack, bot_token="xoxb-wrong-token")))
    assert found["workspace"].words == "Slack does not know this bot token."
    assert "xoxb-" in found["workspace"].hint
    assert stored.set_aside(house, "slack_pasted") == ""
    with house.db.read() as conn:
        assert conn.execute(sa.select(chat_installations)).first() is None


def test_missing_scopes_are_named(
    house: House, perform: Perform, olga: Actor, slack: FakeSlack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.setup.manifest.text", lambda: "scopes:\n  bot:\n    - chat:write\n    - files:read\n")
    slack.tokens[slack.bot_token] = frozenset({"chat:write"})
    found = outcome(house, perform(olga, "setup_change", slack=tokens(slack)))
    assert found["scopes"].words == "The app may not files:read."
    assert "install it to the workspace again" in found["scopes"].hint
    assert step(house, olga, "slack").state == "failed"


def test_a_hub_slack_cannot_call_needs_an_app_level_token(
    house: House, perform: Perform, olga: Actor, slack: FakeSlack
) -> None:
    found = outcome(house, perform(olga, "setup_change", slack=tokens(slack, app_token="")))
    assert not found["way in"].holds and "xapp-" in found["way in"].hint


def test_a_channel_that_is_not_there_is_told_and_the_workspace_stays_connected(
    house: House, perform: Perform, olga: Actor, slack: FakeSlack
) -> None:
    found = outcome(house, perform(olga, "setup_change", slack=tokens(slack, channel="nowhere")))
    assert not found["hello"].holds and found["workspace"].holds


def test_when_slack_is_away_the_tokens_wait_for_the_next_test(
    house: House, perform: Perform, olga: Actor, slack: FakeSlack
) -> None:
    house.given_settings = msgspec.structs.replace(house.given_settings, slack_api_url="http://127.0.0.1:9/api/")
    found = outcome(house, perform(olga, "setup_change", slack=tokens(slack)))
    assert not found["Slack"].holds and "network" in found["Slack"].hint
    house.given_settings = msgspec.structs.replace(house.given_settings, slack_api_url=slack.url)
    assert outcome(house, perform(olga, "setup_test", step="slack"))["workspace"].holds


@pytest.mark.parametrize(
    "given",
    [{"bot_token": "xoxp-1-user", "signing_secret": "s"}, {"bot_token": "xoxb-1"}, {"signing_secret": "s"},
     {"app_token": "xapp-1"}, {"bot_token": "xoxb-1", "signing_secret": "s", "app_token": "xoxb-2"}],
)  # fmt: skip
def test_tokens_of_the_wrong_kind_are_refused_before_slack_is_asked(
    perform: Perform, olga: Actor, given: dict[str, str]
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        perform(olga, "setup_change", slack=given)
    assert refusal.value.code == "bad_token" and refusal.value.hint


# Mail


def test_a_test_mail_arrives(house: House, perform: Perform, olga: Actor) -> None:
    perform(olga, "setup_change", owner={"email": "olga@lab.org"})
    mailbox = Mailbox()
    with running(mailbox) as port:
        given = {"host": "127.0.0.1", "port": port, "security": "none"}
        found = outcome(house, perform(olga, "setup_change", mail=given))
    assert found["mail server"].holds and "olga@lab.org" in found["mail server"].words
    assert mailbox.message()["subject"] == "Mail from your hub works"


def test_a_mail_server_that_refuses_the_login_is_told(house: House, perform: Perform, olga: Actor) -> None:
    perform(olga, "setup_change", owner={"email": "olga@lab.org"})
    mailbox = Mailbox()
    with running(mailbox, authenticator=sign_in, auth_require_tls=False) as port:
        given = {"host": "127.0.0.1", "port": port, "security": "none", "user": "hub", "password": "wrong"}
        found = outcome(house, perform(olga, "setup_change", mail=given))
        assert not found["mail server"].holds
        assert "refuses the user name or password" in found["mail server"].words
        assert "user name and the password" in found["mail server"].hint
        right = outcome(house, perform(olga, "setup_change", mail={**given, "password": "p@ss word"}))
        assert right["mail server"].holds
    assert len(mailbox.arrived) == 1
    assert step(house, olga, "mail").state == "done"


def test_without_an_address_of_the_owner_the_server_is_greeted_and_the_step_says_what_is_missing(
    house: House, perform: Perform, olga: Actor
) -> None:
    mailbox = Mailbox()
    with running(mailbox) as port:
        given = {"host": "127.0.0.1", "port": port, "security": "none"}
        found = outcome(house, perform(olga, "setup_change", mail=given))
        assert found["mail server"].holds and not found["test mail"].holds
        assert [check.holds for check in TESTS["mail"](house, stored.overlaid(house), None)] == [True]
    assert mailbox.arrived == []


# The backup place


def test_a_backup_place_keeps_what_is_written_and_nothing_is_left_there(
    house: House, perform: Perform, olga: Actor, tmp_path: Path
) -> None:
    place = tmp_path / "backups"
    found = outcome(house, perform(olga, "setup_change", backup={"folder": str(place)}))
    assert {name: check.holds for name, check in found.items()} == {"place": True, "room": True}
    assert "disk of the data itself" in found["room"].words
    assert list(place.iterdir()) == []
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_backup_place_inside_the_data_folder_is_refused(
    house: House, perform: Perform, olga: Actor, tmp_path: Path
) -> None:
    with pytest.raises(InvalidInput) as refusal:
        perform(olga, "setup_change", backup={"folder": str(house.settings.data / "backups")})
    assert refusal.value.code == "backup_in_data"
    leading_back = tmp_path / "elsewhere"
    leading_back.symlink_to(house.settings.data)
    found = outcome(house, perform(olga, "setup_change", backup={"folder": str(leading_back / "backups")}))
    assert not found["place"].holds and "data folder" in found["place"].words


def test_a_backup_place_that_cannot_be_made_is_told(
    house: House, perform: Perform, olga: Actor, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    found = outcome(house, perform(olga, "setup_change", backup={"folder": str(tmp_path / "file" / "backups")}))
    assert not found["place"].holds and "not a directory" in found["place"].words


def test_the_newest_backup_must_be_there_and_not_too_old(
    house: House, perform: Perform, olga: Actor, tmp_path: Path, clock: FrozenClock
) -> None:
    from hub.history import backup

    outcome(house, perform(olga, "setup_change", backup={"folder": str(tmp_path / "backups")}))
    house.settings = stored.overlaid(house)

    def newest() -> Check:
        return {each.name: each for each in TESTS["backup"](house, house.settings, None)}["newest backup"]

    assert "none yet" in newest().words
    made = backup.write(house, passphrase="twelve characters")
    assert newest().holds
    clock.advance(27 * 3600)
    assert not newest().holds and "27 hours" in newest().words
    Path(made.path).unlink()
    assert "is gone" in newest().words


def test_a_test_that_cannot_be_carried_out_says_so(
    house: House, perform: Perform, olga: Actor, slack: FakeSlack
) -> None:
    """Whoever pasted the tokens is no operator any more when the test runs."""
    made = perform(olga, "setup_change", slack=tokens(slack))
    house.db.write(lambda tx: tx.execute(sa.text("UPDATE persons SET hub_role = 'member'")))
    assert carry_out(house, made["test"])
    house.db.write(lambda tx: tx.execute(sa.text("UPDATE persons SET hub_role = 'operator'")))
    found = step(house, olga, "slack")
    assert found.state == "failed" and "could not be carried out" in found.checks[0].words


def test_a_newer_test_takes_the_place_of_one_that_waits(house: House, perform: Perform, olga: Actor) -> None:
    first = perform(olga, "setup_test", step="owner")
    second = perform(olga, "setup_test", step="owner")
    assert not carry_out(house, first["test"])
    assert carry_out(house, second["test"])


# What doctor looks at again


def found_by_doctor(house: House) -> dict[str, Check]:
    return {f"{about}: {check.name}": check for about, check in health.checks(house)}


def test_doctor_tests_what_was_set_up_again_and_leaves_no_trace(
    house: House, perform: Perform, olga: Actor, slack: FakeSlack, tmp_path: Path
) -> None:
    assert found_by_doctor(house) == {}
    perform(olga, "setup_skip", step="mail")
    slack.channel("lab")
    outcome(house, perform(olga, "setup_change", slack=tokens(slack, channel="lab")))
    outcome(house, perform(olga, "setup_change", backup={"folder": str(tmp_path / "backups")}))
    found = found_by_doctor(house)
    assert {name for name, check in found.items() if check.holds} == {
        "Slack: workspace", "Slack: scopes", "Slack: way in", "Backup place: place", "Backup place: room",
    }  # fmt: skip
    assert "collegium backup" in found["Backup place: newest backup"].hint
    assert "does not answer" in found["Slack: bot"].words
    assert len(slack.messages) == 1 and list((tmp_path / "backups").iterdir()) == []


def test_doctor_finds_what_broke_since(
    house: House, perform: Perform, olga: Actor, slack: FakeSlack, tmp_path: Path
) -> None:
    outcome(house, perform(olga, "setup_change", slack=tokens(slack)))
    outcome(house, perform(olga, "setup_change", backup={"folder": str(tmp_path / "backups")}))
    (tmp_path / "backups").rmdir()
    slack.tokens.clear()
    found = found_by_doctor(house)
    assert found["Slack: workspace"].words == "Slack does not know this bot token."
    assert "no such file" in found["Backup place: place"].words


def test_doctor_tests_what_the_environment_sets_too(house: House, tmp_path: Path) -> None:
    house.given_settings = msgspec.structs.replace(house.given_settings, backup_to=str(tmp_path / "gone"))
    assert not found_by_doctor(house)["Backup place: place"].holds


@pytest.mark.parametrize(
    ("content", "holds"),
    [(b"000000005AD76BD555C1D6D771DE417A4B87E4B4:4\r\n", True), (b"password\n", False), (None, False)],
)
def test_doctor_reads_the_breach_list(house: House, tmp_path: Path, content: bytes | None, holds: bool) -> None:
    if content is not None:
        (tmp_path / "breached.txt").write_bytes(content)
    given = msgspec.structs.replace(house.given_settings, breached_passwords=str(tmp_path / "breached.txt"))
    house.given_settings = given
    assert found_by_doctor(house)["Passwords: breach list"].holds is holds
