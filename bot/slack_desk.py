"""What becomes of what was said: carried to the hub before Slack hears that it arrived, then answered in words.

Every command ends in one of four answers: what the hub says, what it refuses, *not recorded* when it was not asked, and
*not confirmed yet* when nobody knows; the last is followed by the outcome, whenever it comes.
"""

import asyncio
import tempfile
import time
from collections import OrderedDict
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import structlog

from bot import private
from bot.carrying import NOT_RECORDED, Carrier, ErrandHub, NotSent
from bot.commands import tree
from bot.delivery import Delivery
from bot.hub_client import Unanswered, Unreachable
from bot.problems import NOT_SIGNED_IN, Problem
from bot.slack_answers import Answers
from bot.slack_blocks import Rendered, plain_blocks, problem_blocks, words_of
from bot.slack_client import Failed, Trouble, call
from bot.slack_errand import Details, Said, carry_out
from bot.slack_forms import asked_for, errors, filled_in, form
from bot.slack_people import STRANGER, introduce, join, unlink
from bot.slack_spoken import (
    Payload,
    Spoken,
    command,
    commands_of,
    form_of,
    home_of,
    message,
    pressed,
    said_words,
)
from bot.slack_workspaces import Workspace, Workspaces

log = structlog.get_logger()

# Slack waits three seconds from when it sent; an event that is not recorded by then is to come again.
EVENT_SECONDS = 2.4
FILES_SECONDS = 300.0
EVENTS_KNOWN = 5_000

BUSY = "Not recorded: too much is asked at this moment, and the hub was not asked. Try again."
NOT_CONFIRMED = (
    "Not confirmed yet: the hub has not answered in time. It is asked again under the same key, so that it is done "
    "once; what became of it is told here."
)
NOT_CONNECTED = "This workspace is not connected to the hub; nothing was done."


class Desk:
    """Where everything said in Slack arrives."""

    def __init__(self, workspaces: Workspaces, carrier: Carrier, answers: Answers, api_url: str) -> None:
        self._workspaces = workspaces
        self._carrier = carrier
        self._answers = answers
        self._api_url = api_url
        self._events: OrderedDict[str, asyncio.Task[None]] = OrderedDict()
        self._later: set[asyncio.Task[Any]] = set()
        self._details: Details = {}

    async def close(self, seconds: float = 5.0) -> None:
        """Let what is under way be said."""
        under_way = {*self._later, *self._events.values()}
        if under_way:
            _, left = await asyncio.wait(under_way, timeout=seconds)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    # The four ways to be spoken to.

    async def command(
        self, body: Payload, *, at: float, since: float, delivery: Delivery | None = None
    ) -> Rendered | None:
        """A slash command: what is answered with the acknowledgement, for the person alone; None for a form."""
        spoken = command(body, at, delivery)
        workspace = self._workspaces.get(spoken.team)
        if workspace is None:
            return plain_blocks(NOT_CONNECTED)
        if (secret := private.problem_in(spoken.text)) is not None:
            return problem_blocks(secret, spoken.call)
        try:
            said = said_words(spoken.text)
        except Problem as problem:
            return problem_blocks(problem, spoken.call)
        if kind := form_of(said):
            return await self._open_form(workspace, kind, spoken)
        return (await self._carry(workspace, spoken, said, since)).content

    async def event(self, body: Payload, *, since: float, delivery: Delivery | None = None) -> bool:
        """A mention or a direct message; whether it is done with, so that Slack need not send it again."""
        workspace = self._workspaces.get(body["team_id"])
        spoken = None if workspace is None else message(body, workspace.bot_user, delivery)
        if workspace is None or spoken is None:
            return True
        under_way = self._events.get(spoken.origin)
        if under_way is None or (under_way.done() and (under_way.cancelled() or under_way.exception() is not None)):
            is_stranger = home_of(body) not in ("", spoken.team)
            under_way = asyncio.create_task(self._hear(workspace, spoken, is_stranger, since))
            self._events[spoken.origin] = under_way
            while len(self._events) > EVENTS_KNOWN:
                self._events.popitem(last=False)
        left = max(0.05, since + EVENT_SECONDS - time.monotonic())
        done, _ = await asyncio.wait({under_way}, timeout=left)
        if not done:
            return False
        under_way.result()
        return True

    async def button(self, body: Payload, *, at: float, since: float, delivery: Delivery | None = None) -> None:
        """A button: what it stands for is done, and its outcome told to who pressed it."""
        spoken = pressed(body, at, delivery)
        action = body["actions"][0]
        name, value = str(action.get("action_id", "")), str(action.get("value", ""))
        workspace = self._workspaces.get(spoken.team)
        if workspace is None or not (value or name.startswith("form:")):
            return  # a page that was opened: Slack tells of it, and there is nothing to do
        if home_of(body) not in ("", spoken.team):
            self._say_later(spoken, Said(plain_blocks(STRANGER)))
        elif name.startswith("form:"):
            if (said := await self._open_form(workspace, name.removeprefix("form:"), spoken)) is not None:
                self._say_later(spoken, Said(said))
        elif name == "chat:join":
            self._say_later(spoken, await self._join(workspace, spoken, value, since))
        elif name == "chat:not_me":
            self._say_later(spoken, Said(await unlink(self._carrier, spoken)))
        else:
            self._say_later(spoken, await self._press(workspace, spoken, value, since))

    async def form_sent(
        self, body: Payload, *, at: float, since: float, delivery: Delivery | None = None
    ) -> dict[str, str]:
        """A form: what is wrong with it, by field; nothing when it is done, and then the outcome is told."""
        kind = str(body["view"].get("callback_id", "")).removeprefix("form:")
        workspace = self._workspaces.get(body["team"]["id"])
        if workspace is None:
            return errors(kind, Problem("not_connected", NOT_CONNECTED))
        try:
            origin, said = filled_in(body)
        except Problem as problem:
            return errors(kind, problem)
        spoken = Spoken(
            team=workspace.team, user=body["user"]["id"], channel=origin.channel, thread=origin.thread,
            response_url=origin.response_url, call=origin.call, at=datetime.fromtimestamp(at, UTC),
            key=f"{body['view']['id']}:{body.get('trigger_id') or body['view'].get('hash', '')}", delivery=delivery,
        )  # fmt: skip
        outcome = await self._carry(workspace, spoken, said, since)
        if outcome.problem is not None and outcome.problem.code != "chat_not_linked":
            return errors(kind, outcome.problem)
        self._say_later(spoken, outcome)
        return {}

    # What they have in common.

    async def _hear(self, workspace: Workspace, spoken: Spoken, is_stranger: bool, since: float) -> None:
        """Carry out what a message asks for, in its order, and say what became of each."""
        if is_stranger:
            await self._answers.say(spoken, plain_blocks(STRANGER))
            return
        if (secret := private.problem_in(spoken.text)) is not None:
            await self._answers.say(spoken, problem_blocks(secret, spoken.call))
            return
        try:
            commands = commands_of(spoken, list(tree.commands))
        except Problem as problem:
            await self._answers.say(spoken, problem_blocks(problem, spoken.call))
            return
        for number, said in enumerate(commands):
            one = spoken if number == 0 else msgspec.structs.replace(spoken, key=f"{spoken.key}:{number}")
            if kind := form_of(said):
                await self._answers.say(one, asked_for(kind))
                continue
            outcome = await self._carry(workspace, one, said, since, stays=True)
            # What is recorded is recorded; saying so must not keep Slack waiting.
            self._say_later(one, outcome)

    async def _press(self, workspace: Workspace, spoken: Spoken, value: str, since: float) -> Said:
        try:
            said = words_of(value)
        except ValueError:
            return Said(plain_blocks("This button is from another version of Collegium; write the command instead."))
        return await self._carry(workspace, spoken, said, since)

    async def _join(self, workspace: Workspace, spoken: Spoken, value: str, since: float) -> Said:
        """Make the account, then carry out the command it was wanted for."""
        try:
            handle = await join(self._carrier, workspace, spoken)
            said = words_of(value)
        except Problem as problem:
            return Said(problem_blocks(problem, spoken.call), problem=problem)
        except ValueError:
            said = []
        welcome = plain_blocks(f"Welcome: you are {handle} here.")
        if not said:
            return Said(welcome)
        self._say_later(spoken, Said(welcome))
        return await self._carry(workspace, spoken, said, since)

    async def _open_form(self, workspace: Workspace, kind: str, spoken: Spoken) -> Rendered | None:
        """Open a form at once: its trigger is good for three seconds. What to say when Slack does not open it."""
        try:
            await call(workspace.client.views_open, trigger_id=spoken.trigger, view=form(kind, spoken))
        except Failed as failed:
            if failed.trouble is Trouble.TOKENS:
                self._in_background(self._workspaces.broken(workspace.installation, failed))
            if "trigger" in failed.error:
                return asked_for(kind)
            return plain_blocks(f"Slack did not open the form ({failed.error}). Write the command with its words.")
        return None

    async def _carry(
        self, workspace: Workspace, spoken: Spoken, said: Sequence[str], since: float, *, stays: bool = False
    ) -> Said:
        """One command's outcome. With `stays`, this waits until the outcome is known, having said so meanwhile."""
        if (
            secret := private.problem_in(" ".join(said), stands=False)
        ) is not None:  # a form's fields, a button's words
            return Said(problem_blocks(secret, spoken.call), problem=secret)

        def errand(hub: ErrandHub) -> Said:
            with tempfile.TemporaryDirectory(prefix="collegium-") as folder:
                return carry_out(
                    hub, self._carrier.hub, spoken, said, workspace, Path(folder), self._api_url, self._details
                )

        claim, came_by = spoken.claim, spoken.place.came_by
        seconds = FILES_SECONDS if spoken.files else None
        try:
            outcome = await self._carrier.first(
                claim, came_by, errand, since=since, seconds=seconds, delivery=spoken.delivery
            )
        except Unreachable as problem:
            return Said(plain_blocks(NOT_RECORDED), problem=_worded(problem, NOT_RECORDED))
        except NotSent as problem:
            return Said(plain_blocks(BUSY), problem=_worded(problem, BUSY))
        except Unanswered:
            known = self._until_known(workspace, spoken, said, errand)
            if stays:
                await self._answers.say(spoken, plain_blocks(NOT_CONFIRMED))
                return await known
            self._in_background(self._say(spoken, known))
            return Said(plain_blocks(NOT_CONFIRMED))
        return await self._known(workspace, spoken, said, outcome)

    async def _until_known(self, workspace: Workspace, spoken: Spoken, said: Sequence[str], errand: Any) -> Said:
        try:
            outcome = await self._carrier.until_known(spoken.claim, spoken.place.came_by, errand, spoken.delivery)
        except Problem as problem:
            return Said(problem_blocks(problem, spoken.call), problem=problem)
        return await self._known(workspace, spoken, said, outcome)

    async def _known(self, workspace: Workspace, spoken: Spoken, said: Sequence[str], outcome: Said) -> Said:
        problem = outcome.problem
        if problem is not None and problem.code == "chat_not_linked":
            return Said(await introduce(self._carrier, workspace, spoken, list(said)), problem=problem, is_secret=True)
        if problem is not None and problem.exit_code == NOT_SIGNED_IN:
            problem.hint = "Ask who runs this hub."
            return Said(problem_blocks(problem, spoken.call), problem=problem)
        return outcome

    # Saying.

    async def _say(self, spoken: Spoken, known: Coroutine[Any, Any, Said]) -> None:
        outcome = await known
        await self._answers.say(spoken, outcome.content, is_public=outcome.is_public, is_secret=outcome.is_secret)

    def _say_later(self, spoken: Spoken, outcome: Said) -> None:
        self._in_background(
            self._answers.say(spoken, outcome.content, is_public=outcome.is_public, is_secret=outcome.is_secret)
        )

    def _in_background(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.create_task(work)
        self._later.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[Any]) -> None:
        self._later.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("slack.answer_failed", error=repr(error)[:300], exc_info=error)


def _worded(problem: Problem, words: str) -> Problem:
    return Problem(problem.code, words, status=problem.status, exit_code=problem.exit_code)
