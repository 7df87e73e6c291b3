"""The room's chat as a door: what somebody writes there after `/` is a command, and its answer is for them alone.

The page sends a ticket with it, as it would to come in: so the command is done as whoever is signed in there, with
their rights and no others, and a page elsewhere has none. The same command under the same key is done once.
"""

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from bot import hub_views as views
from bot import private
from bot.carrying import NOT_RECORDED, Carrier, ErrandHub, NotSent
from bot.commands import run
from bot.door import Door
from bot.hub_client import Unanswered, Unreachable, decoded
from bot.problems import CONFLICT, UNREADABLE, Problem
from bot.terminal_plain import lines, problem_lines

PATH = "/bot/room"
BODY_BYTES = 64 * 1024
SECONDS = 10.0  # a page waits longer than a platform does
NOT_CONFIRMED = "Not confirmed: the hub has not answered in time, so nobody knows. Look before you write it again."


class Written(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a page sends: a ticket of the room, the command without its `/`, and the page's own name for it.

    The words of a button stand in the place of a text.
    """

    ticket: str
    text: str
    key: str
    words: list[str] = []


class Button(msgspec.Struct, frozen=True):
    """What can be answered to a question: the words of the command that a press gives."""

    label: str
    words: list[str]


class Answered(msgspec.Struct, frozen=True):
    """The answer as full lines, whether it was done, and, where it asks something, what can be answered."""

    lines: list[str]
    done: bool
    buttons: list[Button] = []


class _Member(views.View, frozen=True, kw_only=True):
    claim: str


class _Redeemed(views.View, frozen=True, kw_only=True):
    member: _Member
    session: str
    name: str


class RoomDesk:
    """Where commands written in rooms arrive."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier

    async def receive(self, request: Request) -> Response:
        """POST /bot/room"""
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > BODY_BYTES:
                return _answer(413, [f"A command has at most {BODY_BYTES // 1024} KiB."])
        try:
            written = msgspec.json.decode(body, type=Written)
        except UNREADABLE as error:
            return _answer(400, [f"This is no command: {error}."])
        if not 8 <= len(written.key) <= 64 or not written.key.isascii() or not written.key.isprintable():
            return _answer(400, ["A command's key has 8 to 64 characters."])
        if (secret := private.problem_in(" ".join((written.text, *written.words)), stands=False)) is not None:
            return _answer(secret.status, list(problem_lines(secret)))
        try:
            room = await self._carrier.ask(lambda: self._redeem(written.ticket))
            said = await self._carrier.first(
                room.member.claim, "", lambda hub: _carried_out(hub, room, written), seconds=SECONDS
            )
        except (NotSent, Unreachable):
            return _answer(503, [NOT_RECORDED])
        except Unanswered:
            return _answer(504, [NOT_CONFIRMED])
        except Problem as problem:
            return _answer(problem.status or 400, list(problem_lines(problem)))
        return JSONResponse(msgspec.to_builtins(said), 200 if said.done else 409)

    def _redeem(self, ticket: str) -> _Redeemed:
        sent = self._carrier.hub.send("POST", "/api/live/redeem", json={"ticket": ticket})
        return decoded(sent.content, _Redeemed)


def _carried_out(hub: ErrandHub, room: _Redeemed, written: Written) -> Answered:
    origin = f"room:{room.session}:{written.key}"
    door = Door(lambda: hub, session=lambda: room.name, call="/", origin=origin, asks_by_button=True)
    reply = run(written.words or written.text, door)
    if reply.exit_code != CONFLICT:
        return Answered(list(lines(reply)), True)
    # A question, which nothing was done for yet.
    asked = [Button(one.label, list(one.command)) for one in reply.next if one.command]
    return Answered(list(lines(reply)), False, asked)


def _answer(status: int, said: list[str]) -> JSONResponse:
    return JSONResponse(msgspec.to_builtins(Answered(said, status == 200)), status)
