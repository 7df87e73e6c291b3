"""Slack's door from end to end: what people do in Slack, what the hub recorded, and what they were told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.artifacts import leases
from hub.artifacts.tables import versions
from hub.artifacts.versions import add
from hub.core.context import Actor
from hub.core.house import House
from hub.jobs import views as job_views
from hub.jobs.tables import jobs
from hub.notebook.tables import entries
from hub.people.tables import chat_identities
from hub.perform import record as perform_record
from tests.actions.cluster_fixtures import account_on
from tests.bot.slack_world import SlackWorld, slack_world

pytestmark = pytest.mark.slow

SCRIPT = "#!/bin/sh\ntrue"


@pytest.fixture
def world(house: House, tmp_path: Path) -> Iterator[SlackWorld]:
    with slack_world(house, tmp_path) as made:
        yield made


def told(world: SlackWorld, user: str) -> list[str]:
    return [message.text for message in world.slack.seen_by(user) if message.user == world.slack.bot_user]


def test_a_command_is_recorded_before_it_is_acknowledged_and_answered_with_the_acknowledgement(
    world: SlackWorld,
) -> None:
    said = world.slack.command(world.ana, "/collegium", f'job submit "{SCRIPT}" --name fit', channel=world.lab)
    assert said.status == 200
    assert [(row.name, row.submitted_by) for row in world.rows(jobs)] == [("fit", world.ana_here.id)]
    [answer] = world.slack.seen_by(world.ana)
    assert (answer.via, answer.to) == ("ack", world.ana)
    assert answer.text.startswith("job 1 “fit”")
    assert world.slack.seen_by(world.ben) == []


def test_short_commands_are_the_same_words(world: SlackWorld) -> None:
    world.slack.command(world.ana, "/job", f'submit "{SCRIPT}"')
    world.slack.command(world.ana, "/collegium", "job list")
    listed = world.slack.seen_by(world.ana)[-1]
    world.slack.command(world.ana, "/job", "list")
    assert world.slack.seen_by(world.ana)[-1].words.replace("/job", "/collegium job") == listed.words
    world.slack.command(world.ana, "/job", "--help")
    assert "Usage: /job" in world.slack.seen_by(world.ana)[-1].words


def test_help_is_at_every_level_and_typing_errors_get_a_suggestion(world: SlackWorld) -> None:
    for text, expected in (("", "Usage: /collegium"), ("job", "submit"), ("job submit --help", "--memory")):
        world.slack.command(world.ana, "/collegium", text)
        assert expected in world.slack.seen_by(world.ana)[-1].words
    world.slack.command(world.ana, "/collegium", "job lst")
    wrong = world.slack.seen_by(world.ana)[-1]
    assert wrong.text == "Error: There is no “job lst”. Did you mean `job list`?"
    world.slack.click(world.ana, wrong, "/collegium job list")
    world.slack.wait_for(lambda: "0 jobs" in told(world, world.ana)[-1])


def test_what_a_phone_makes_of_dashes_and_quotes_is_turned_back_outside_code(world: SlackWorld) -> None:
    world.slack.command(world.ana, "/collegium", "note post “Beam line” —text ```a – “b” --c``` —conclusions ok")
    world.slack.command(world.ana, "/collegium", "note show 1")
    shown = world.slack.seen_by(world.ana)[-1].words
    assert "Beam line" in shown and "a – “b” --c" in shown and "Error" not in shown
    [entry] = world.rows(entries)
    assert entry.number == 1


def test_links_and_names_are_read_as_they_were_typed(world: SlackWorld) -> None:
    world.slack.command(world.ana, "/collegium", "artifact log <http://lines.md|lines.md>")
    assert "lines.md" in told(world, world.ana)[-1] and "http" not in told(world, world.ana)[-1]


def test_an_empty_job_submit_opens_a_form_whose_errors_stand_at_their_fields(world: SlackWorld) -> None:
    said = world.slack.command(world.ana, "/collegium", "job submit", channel=world.lab)
    assert (said.status, said.body, world.slack.messages) == (200, "", [])
    [view] = world.slack.state.views.values()
    wrong = world.slack.submit(world.ana, view, script=SCRIPT, memory="a lot", cpus="two")
    assert wrong.body["response_action"] == "errors"
    assert set(wrong.body["errors"]) == {"cpus"}
    wrong = world.slack.submit(world.ana, view, script=SCRIPT, memory="a lot")
    assert set(wrong.body["errors"]) == {"memory"} and world.rows(jobs) == []
    done = world.slack.submit(world.ana, view, script=SCRIPT, name="from the form", arguments='--a "b c"')
    assert (done.status, done.body) == (200, "")
    assert [row.name for row in world.rows(jobs)] == ["from the form"]
    answer = world.slack.wait_for(lambda: world.slack.seen_by(world.ana))[-1]
    assert "from the form" in answer.text and (answer.to, answer.channel) == (world.ana, world.lab)


def test_an_empty_note_post_opens_a_form(world: SlackWorld) -> None:
    world.slack.command(world.ana, "/note", "post")
    [view] = world.slack.state.views.values()
    done = world.slack.submit(world.ana, view, title="--not an option", text="# x\n- y", tools="numpy 2, scipy")
    assert done.body == ""
    assert [row.number for row in world.rows(entries)] == [1]
    world.slack.wait_for(lambda: "--not an option" in " ".join(told(world, world.ana)))


def test_where_no_form_can_open_a_button_does(world: SlackWorld) -> None:
    world.slack.mention(world.ana, "job submit", channel=world.lab)
    offered = world.slack.wait_for(lambda: world.slack.seen_by(world.ana))[-1]
    while "open the form" not in offered.buttons:
        offered = world.slack.seen_by(world.ana)[-1]
    world.slack.click(world.ana, offered, "open the form")
    assert [view["callback_id"] for view in world.slack.state.views.values()] == ["form:job"]


def test_a_mention_with_a_code_block_is_a_submission_and_is_answered_in_its_thread(world: SlackWorld) -> None:
    root = world.slack.mention(world.ben, "hello", channel=world.lab)
    assert root.status == 200
    thread = next(m.ts for m in world.slack.messages if m.user == world.ben)
    text = "please run this –-name fit\n```bash\n#!/bin/sh\necho “kept – as it is”\n```"
    said = world.slack.mention(world.ana, text, channel=world.lab, thread=thread)
    assert said.status == 200
    [job] = world.rows(jobs)
    with world.house.scope(world.ana_here) as scope:
        view = job_views.job(scope, job.id)
    assert job.name == "fit" and "echo “kept – as it is”" in str(view.script)
    answer = world.slack.wait_for(lambda: [m for m in world.slack.messages if m.to == world.ana])[-1]
    assert (answer.thread, answer.via) == (thread, "chat.postEphemeral")
    assert "\n" not in answer.text and len(answer.blocks) == 1  # one line: the card tells the rest


def test_a_file_alone_becomes_an_artifact_and_a_named_file_is_submitted_with_the_others(world: SlackWorld) -> None:
    lines = world.slack.file("lines.csv", b"a,b\n1,2\n")
    fit = world.slack.file("fit.py", b"print('fit')\n")
    world.slack.mention(world.ana, "", channel=world.lab, files=(lines,))
    assert [row.path for row in world.rows(versions)] == ["lines.csv"]
    world.slack.mention(world.ana, "fit.py --bootstrap 20", channel=world.lab, files=(fit, lines))
    world.slack.wait_for(lambda: world.rows(jobs))
    assert sorted({row.path for row in world.rows(versions)}) == ["fit.py", "lines.csv"]
    assert {row.author for row in world.rows(versions)} == {world.ana_here.id}
    assert {call.params["file"] for call in world.slack.called("download")} == {lines, fit}


def test_direct_messages_work_in_the_personal_session(world: SlackWorld) -> None:
    world.slack.say(world.ana, f"job submit ```{SCRIPT}```")
    world.slack.wait_for(lambda: [m for m in world.slack.messages if m.user == world.slack.bot_user])
    [job] = world.rows(jobs)
    answer = world.slack.seen_by(world.ana)[-1]
    assert answer.channel == world.slack.direct(world.ana) and answer.via == "chat.postMessage"
    assert job.number == 1


def test_a_channel_means_its_session_and_what_concerns_it_is_said_in_it(world: SlackWorld) -> None:
    name = world.give_channel("hcl")
    world.slack.command(world.ana, "/collegium", f'job submit "{SCRIPT}"', channel=world.lab)
    world.slack.mention(world.ana, "job status 1", channel=world.lab)
    shown = world.slack.wait_for(lambda: [m for m in world.slack.messages if m.via == "chat.postMessage"])[-1]
    assert shown.to is None and shown.text.startswith("job 1")
    stop = next(button for button in shown.buttons.values() if button.get("style") == "danger")
    assert "confirm" in stop and json.loads(stop["value"])[-2:] == ["--session", name]


def test_a_button_pressed_by_who_may_not_is_refused_to_them_alone(world: SlackWorld) -> None:
    world.slack.command(world.ana, "/collegium", f'job submit "{SCRIPT}"', channel=world.lab)
    world.slack.command(world.ana, "/collegium", "job status 1", channel=world.lab)
    card = world.slack.seen_by(world.ana)[-1]
    world.slack.click(world.ben, card, "stop it")
    refusal = world.slack.wait_for(lambda: [m for m in world.slack.messages if m.to == world.ben])[-1]
    assert refusal.text.startswith("Error:") and refusal.via == "response_url"
    assert [row.state for row in world.rows(jobs)] != ["CANCELLED"]
    world.slack.click(world.ana, card, "stop it")
    assert [row.state for row in world.rows(jobs)] == ["CANCELLED"]


def test_a_page_that_is_opened_by_a_button_is_acknowledged_and_nothing_else(world: SlackWorld) -> None:
    world.slack.command(world.ana, "/collegium", f'job submit "{SCRIPT}"')
    world.slack.command(world.ana, "/collegium", "job status")
    card = world.slack.seen_by(world.ana)[-1]
    before = len(world.slack.messages)
    assert world.slack.click(world.ana, card, "open the page").status == 200
    assert len(world.slack.messages) == before


def test_who_is_not_linked_gets_a_private_link_and_nothing_is_done(world: SlackWorld) -> None:
    world.slack.command(world.cleo, "/collegium", f'job submit "{SCRIPT}"', channel=world.lab)
    [answer] = world.slack.seen_by(world.cleo)
    assert answer.to == world.cleo and "does not know you" in answer.text
    assert "/chat-link/clgh" in answer.buttons["link my account"]["url"]
    assert world.rows(jobs) == [] and world.slack.seen_by(world.ben) == []


def test_who_did_not_link_the_account_ends_the_link_with_one_button(world: SlackWorld) -> None:
    import asyncio

    from slack_sdk.web.async_client import AsyncWebClient

    from bot.slack_people import tell_linked

    client = AsyncWebClient(world.slack.bot_token, base_url=world.slack.url)
    asyncio.run(tell_linked(client, world.ben, "Ben B."))
    [notice] = world.slack.seen_by(world.ben)
    assert "linked to the account of Ben B." in notice.text and "confirm" in notice.buttons["This was not me"]
    world.slack.click(world.ben, notice, "This was not me")
    world.slack.wait_for(lambda: not world.rows(chat_identities, chat_identities.c.user == world.ben))
    world.slack.wait_for(lambda: "speaks for nobody here" in told(world, world.ben)[-1])
    world.slack.command(world.ben, "/collegium", "whoami")
    assert "does not know you" in told(world, world.ben)[-1]


def test_secrets_are_only_ever_said_where_they_are_not_kept(world: SlackWorld) -> None:
    world.slack.command(world.ana, "/collegium", "session create hcl")
    for say in (
        lambda: world.slack.command(world.ana, "/collegium", "share create ana/hcl", channel=world.lab),
        lambda: world.slack.mention(world.ana, "share create ana/hcl", channel=world.lab),
        lambda: world.slack.say(world.ana, "share create ana/hcl"),
    ):
        before = len(world.slack.messages)
        say()
        answer = world.slack.wait_for(
            lambda before=before: [m for m in world.slack.messages[before:] if m.user == world.slack.bot_user]
        )[-1]
        assert answer.is_ephemeral and "/l/" in answer.words, answer.words


def test_no_more_leaves_for_slack_than_the_channels_session_lets_out(world: SlackWorld) -> None:
    world.give_channel("hcl", chat_detail="ids")
    world.slack.command(world.ana, "/collegium", f'job submit "{SCRIPT}" --name Kryptonite', channel=world.lab)
    world.slack.command(world.ana, "/collegium", "note post Kryptonite --text Kryptonite", channel=world.lab)
    world.slack.command(world.ana, "/collegium", "note show 1", channel=world.lab)
    world.slack.command(world.ana, "/collegium", "note list", channel=world.lab)
    world.slack.command(world.ana, "/collegium", "note show 1 --session ana/hcl")
    assert len(world.rows(entries)) == 1 and len(world.slack.seen_by(world.ana)) == 5
    assert not [m.words for m in world.slack.messages if "Kryptonite" in m.words]


def _written(world: SlackWorld, session: str, who: Actor, content: bytes) -> None:
    with world.house.scope(world.ana_here) as scope:
        found = scope.access.session(session, "job:submit")
    blob = leases.keep(world.house, found, [content], owner=who.id, filename="fit.py")
    perform_record(world.house, "artifact_versioning", lambda ctx: add(ctx, found, "fit.py", blob.digest), who)


def test_a_script_that_somebody_else_changed_is_asked_about_and_a_button_runs_it(world: SlackWorld) -> None:
    session = world.give_channel("fits")
    _written(world, session, world.ana_here, b"print(1)\n")
    _written(world, session, world.ben_here, b"print(2)\n")
    world.slack.command(world.ana, "/collegium", "job submit fit.py --name fit", channel=world.lab)
    asked = world.slack.seen_by(world.ana)[-1]
    assert "changed fit.py since you last saw it" in asked.text and "+print(2)" in asked.words
    assert world.rows(jobs) == []
    world.slack.click(world.ana, asked, "run it as it is now")
    world.slack.wait_for(lambda: world.rows(jobs))
    assert [row.name for row in world.rows(jobs)] == ["fit"]


def test_where_there_is_a_choice_the_table_is_shown_first_and_a_button_submits(world: SlackWorld) -> None:
    world.give_channel("fits")
    account_on(world.house, world.ana_here, "raven", price_per_core_hour=0.5)
    world.slack.command(world.ana, "/collegium", f'job submit "{SCRIPT}" --name chosen --time 60', channel=world.lab)
    asked = world.slack.seen_by(world.ana)[-1]
    assert "Nothing is submitted yet." in asked.text and "0.50 EUR" in asked.words
    assert world.rows(jobs) == []
    world.slack.click(world.ana, asked, "submit it to local")
    world.slack.wait_for(lambda: world.rows(jobs))
    assert [(row.name, row.backend) for row in world.rows(jobs)] == [("chosen", "local")]


def test_a_dry_run_is_told_to_who_asked_and_records_no_job(world: SlackWorld) -> None:
    world.give_channel("fits")
    world.slack.command(world.ana, "/collegium", f'job submit "{SCRIPT}" --dry-run', channel=world.lab)
    shown = world.slack.seen_by(world.ana)[-1]
    assert "nothing was recorded and nothing sent" in shown.words and "given/script" in shown.words
    assert world.rows(jobs) == [] and world.slack.seen_by(world.ben) == []
