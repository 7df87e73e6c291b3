"""What the one tree understands, and what it says to what it does not."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import click
import pytest

from bot.cards import Reply
from bot.commands import run, tree
from bot.door import Door
from bot.grammar import EmailRole, KeyValue, When
from bot.hub_client import HubClient
from bot.problems import USAGE, Problem
from tests.bot.fake_hub import FakeHub, job, session

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.fixture
def hub() -> FakeHub:
    fake = FakeHub()
    fake.views["/api/jobs/ana/hcl%2312"] = job(12, "RUNNING", session_name="ana/hcl", ref="ana/hcl#12")
    return fake


@pytest.fixture
def chat(hub: FakeHub) -> Door:
    """A channel whose session is ana/hcl, on a platform that can bring no files."""
    return Door(
        lambda: HubClient("http://hub.test", "clg_bot", act_as="per_1", transport=hub),
        session=lambda: "ana/hcl",
        call="!",
        origin="$event",
        now=lambda: NOW,
    )


def told(said: str, door: Door) -> Problem:
    with pytest.raises(Problem) as problem:
        run(said, door)
    return problem.value


@pytest.mark.parametrize(
    ("said", "sentence", "fix"),
    [
        ("job sumbit run.sh", "There is no “job sumbit”.", "job submit"),
        ("jbo list", "There is no “jbo”.", "job"),
        ("submit run.sh", "There is no “submit”.", "job submit"),
        ("note revoke x", "There is no “note revoke”.", "share revoke"),
        ("job submit x --tme 3", "“job submit” has no option --tme.", "job submit … --time"),
        ("share create --role reed", "--role: 'reed' is not one of 'read', 'read_write'.", "--role read"),
        ("job frobnicate", "There is no “job frobnicate”.", ""),
        ("job submit x --qqqqq", "“job submit” has no option --qqqqq.", ""),
        ("job cancel", "“job cancel” needs JOB.", ""),
        ("job submit x -e NAME", "--env: “NAME” is not of the form KEY=VALUE.", ""),
        ("job submit x -c 0", "--cpus: 0 is not in the range x>=1.", ""),
        ('note post "half', 'A quotation that opens with " does not close.', ""),
        (
            "share create --expires soon",
            "--expires: “soon” is no moment; write 2027-01-31, 2027-01-31T18:00, 12h or 7d.",
            "",
        ),
        ("job logs 12 --tail 3 --follow", "--tail goes with neither --follow nor --offset.", ""),
        ("use x --personal", "Either a name or --personal.", ""),
        ("note sign 3", "Say what to sign with: --key KEY or --signature FILE.", ""),
        ("share create x -p ben@x.org --link", "A link and people are two commands.", ""),
    ],
)  # fmt: skip
def test_words_that_make_no_command_are_told_with_what_was_meant(
    chat: Door, hub: FakeHub, said: str, sentence: str, fix: str
) -> None:
    problem = told(said, chat)
    assert (str(problem), problem.fix, problem.exit_code) == (sentence, fix, USAGE)
    assert fix or problem.hint or "neither" in sentence or "Either" in sentence or "quotation" in sentence
    assert hub.acted == []


def test_what_a_channel_cannot_do_is_said(chat: Door, hub: FakeHub) -> None:
    hub.views["/api/sessions/ana/water"] = session("ana/water")
    assert "administrators" in str(told("use ana/water", chat))
    assert "code block" in told("job submit -", chat).hint


def test_a_number_means_the_channels_session(chat: Door, hub: FakeHub) -> None:
    for said in ("job status 12", "job status #12", "job status ana/hcl#12", "job status “job 12”"):
        assert run(said, chat).sentence.startswith("job 12 “fit” running on local")
    assert hub.requests[0].headers["Collegium-Act-As"] == "per_1"


def test_a_code_block_is_a_script(chat: Door, hub: FakeHub) -> None:
    hub.results["job_submit"] = job()
    reply = run("job submit ```bash\r\necho —x\r\n``` —name fit —time 5", chat)
    assert hub.acted == [
        (
            "job_submit",
            {
                "session_id": "ana/hcl",
                "script": "echo —x\n",
                "name": "fit",
                "job_type": "auto",
                "resources": {"time": "5"},
            },
        )
    ]
    assert reply.title == "job 12 · fit" and not reply.is_private


def test_a_redelivered_event_is_the_same_action(chat: Door, hub: FakeHub) -> None:
    hub.results["job_cancel"] = job(12, "CANCELLED")
    run("job cancel 12", chat)
    assert hub.requests[-1].headers["Idempotency-Key"] == "$event:1"


def test_help_is_a_reply_like_any_other_and_written_as_the_door_writes(chat: Door) -> None:
    reply = run("job --help", chat)
    assert reply.is_text and reply.exit_code == 0
    assert reply.sentence == "Usage: !job [OPTIONS] COMMAND [ARGS]..."
    assert "--plain" not in reply.body
    assert run("job", chat).exit_code == USAGE


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


@pytest.mark.parametrize(("name", "command"), list(commands(tree)))
def test_every_command_and_option_says_what_it_is(chat: Door, name: str, command: click.Command) -> None:
    told, _, examples = (command.help or "").partition("\b\n")
    assert told.strip().endswith((".", "2000", ".fish"))
    assert all(line.strip().startswith(f"{name} ") for line in examples.strip().splitlines()), (
        "examples of this command"
    )
    for param in command.params:
        if isinstance(param, click.Option):
            assert (param.help and param.help.endswith(".")) or "m:" in (param.help or "") or ":" in (param.help or "")
    if getattr(command, "in_shell_only", False):
        with pytest.raises(Problem, match="is a command of the shell"):
            run(f"{name} --help", chat)
    else:
        assert run(f"{name} --help", chat).body.startswith("Usage: !" + name.split(maxsplit=1)[0])


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("45m", "2026-11-22T12:45:00Z"),
        ("12h", "2026-11-23T00:00:00Z"),
        ("7d", "2026-11-29T12:00:00Z"),
        ("2w", "2026-12-06T12:00:00Z"),
        ("2027-01-31T18:00:00+01:00", "2027-01-31T17:00:00Z"),
        ("2027-01-31T18:00:00Z", "2027-01-31T18:00:00Z"),
    ],
)
def test_a_moment_to_come(chat: Door, text: str, moment: str) -> None:
    context = click.Context(click.Command("x"), obj=chat)
    assert When().convert(text, None, context) == moment


def test_a_local_day_is_taken_where_the_person_is() -> None:
    local = datetime(2027, 1, 31).astimezone().astimezone(UTC)
    assert When().convert("2027-01-31", None, None) == local.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_values_with_a_meaning() -> None:
    assert EmailRole().convert("ben@x.org:read-write", None, None) == {"email": "ben@x.org", "role": "read_write"}
    assert EmailRole().convert("ben@x.org", None, None) == {"email": "ben@x.org", "role": "read"}
    assert KeyValue().convert("A=b=c", None, None) == ("A", "b=c")
    for bad in ("ben:read", "@", "ben@x.org:reader"):
        with pytest.raises(click.BadParameter):
            EmailRole().convert(bad, None, None)


def test_an_empty_reply_says_nothing() -> None:
    assert Reply().is_empty and not Reply(sentence="Done.").is_empty
