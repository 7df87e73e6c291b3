"""The hub as a chat bot needs it: installations, channels, what was seen, cards, how far the ledger was followed.

Everything a bot must still know after it was killed is a row at the hub, reached here. `as_` speaks to the same hub, on
the same connections, for somebody who was heard in a channel.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from bot import hub_views as views
from bot.hub_client import HubClient, decoded
from bot.work_views import Experiment

T = TypeVar("T")

_SEEN_SECONDS = 2.0


class Installation(views.View, frozen=True, kw_only=True):
    """A connected workspace and its tokens; `workspace` is empty until the platform was asked."""

    platform: str
    workspace: str
    name: str = ""
    bot_user: str = ""
    bot_token: str
    signing_secret: str
    app_token: str | None = None


class Channel(views.View, frozen=True, kw_only=True):
    """A channel: the full name of the session it belongs to, which cards it shows, how much of them may leave."""

    channel: str = ""
    session: str | None = None
    session_id: str | None = None
    cards: str = "full"
    chat_detail: str = "full"


class SessionFace(views.View, frozen=True, kw_only=True):
    """What a card needs of a session, and the channels that show its cards."""

    id: str
    name: str
    url: str = ""
    chat_detail: str = "full"
    channels: tuple[Channel, ...] = ()


class Mentioned(views.View, frozen=True, kw_only=True):
    """How somebody may be mentioned in a workspace; `notify` is None for the default."""

    person: str
    notify: str | None = None
    users: tuple[str, ...] = ()


class Held(views.View, frozen=True, kw_only=True):
    """Whether this process follows the ledger now, under which epoch, and from where."""

    held: bool
    epoch: int
    sequence: int


class Card(views.View, frozen=True, kw_only=True):
    """The row of one thing shown in one channel."""

    id: str
    platform: str
    workspace: str
    channel: str
    thread: str = ""
    kind: str
    object: str
    session: str | None = None
    person: str | None = None
    state: str = "posting"
    message: str | None = None
    reply: str = ""
    reply_message: str | None = None
    anew: int = 0
    shown: str = ""
    posting_at: datetime
    settled: bool = False


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A thing that is to be shown in a channel."""

    platform: str
    workspace: str
    channel: str
    thread: str = ""
    kind: str
    object: str
    session: str | None = None
    person: str | None = None
    state: str = "wanted"


class Claimed(views.View, frozen=True, kw_only=True):
    """A card's row, and whether it was made just now."""

    card: Card
    made: bool


class LinkFace(views.View, frozen=True, kw_only=True):
    """An expiring link, without its secret."""

    id: str
    session: str = ""
    session_name: str = ""
    label: str = ""
    role: str = "read"
    expires: datetime
    uses: int = 0
    uses_left: int | None = None
    state: str = "open"


class Faces(views.View, frozen=True, kw_only=True):
    """What cards show, read in one look; what is no more is left out."""

    jobs: tuple[views.Job, ...] = ()
    ended_jobs: tuple[views.Job, ...] = ()
    workflows: tuple[views.Workflow, ...] = ()
    experiments: tuple[Experiment, ...] = ()
    entries: tuple[views.Entry, ...] = ()
    links: tuple[LinkFace, ...] = ()
    sessions: tuple[SessionFace, ...] = ()


class _Yes(views.View, frozen=True):
    first: bool


class ChatHub(HubClient):
    """The hub, asked by its chat bot with the bot's own token. May be used from several threads at a time."""

    def ask(self, path: str, answer: type[T], **question: object) -> T:
        """A question of the bot's own bookkeeping; asking twice does no harm, so silence is asked again."""
        body = msgspec.json.encode(question)
        response = self._insist(
            "POST", f"/api/chats/{path}", content=body, headers={"Content-Type": "application/json"}
        )
        return decoded(response.content, answer)

    def installations(self) -> tuple[Installation, ...]:
        """The connected workspaces, with their tokens."""
        return self.ask("installations", tuple[Installation, ...])

    def introduce(self, one: Installation, *, workspace: str, name: str, bot_user: str) -> None:
        """Tell the hub what the platform says a token speaks for."""
        self.ask(
            "introduce", _Yes, platform=one.platform, known_as=one.workspace,
            workspace=workspace, name=name, bot_user=bot_user,
        )  # fmt: skip

    def broken(self, platform: str, workspace: str, why: str | None) -> None:
        """Tell the hub that the platform does not take a workspace's tokens any more, or (None) that it does."""
        self.ask("broken", _Yes, platform=platform, workspace=workspace, why=why)

    def seen(self, platform: str, key: str) -> bool:
        """Whether a platform's event is seen for the first time; it is remembered for an hour.

        Raises Problem when that could not be recorded: then the event must be refused, so that it is sent again.
        Asked once: an answer that got lost would turn a repetition into "seen already".
        """
        body = msgspec.json.encode({"platform": platform, "key": key})
        answer = self.send(
            "POST", "/api/chats/seen", content=body, headers={"Content-Type": "application/json"},
            timeout=_SEEN_SECONDS,
        )  # fmt: skip
        return decoded(answer.content, _Yes).first

    def channel(self, platform: str, workspace: str, channel: str) -> Channel:
        """What a channel is set to."""
        return self.ask("channel", Channel, platform=platform, workspace=workspace, channel=channel)

    def mentioned(self, person: str, platform: str, workspace: str) -> Mentioned:
        """How a person may be mentioned in a workspace."""
        return self.ask("person", Mentioned, person=person, platform=platform, workspace=workspace)

    def follow(self, holder: str, sequence: int | None = None, *, release: bool = False) -> Held:
        """Take or renew the lease under which one process follows the ledger, and record how far it has come."""
        return self.ask("follow", Held, holder=holder, sequence=sequence, release=release)

    def claim_cards(self, epoch: int, claims: Sequence[Claim]) -> tuple[Claimed, ...]:
        """The rows of things in channels, in order; each made in the state it says unless it is there."""
        return self.ask("cards/claim", tuple[Claimed, ...], epoch=epoch, claims=claims)

    def change_cards(self, epoch: int, changes: Sequence[Mapping[str, object]]) -> tuple[Card | None, ...]:
        """Record what became of cards (`id`, and what is new of it), in order; None for one that is no more."""
        return self.ask("cards/change", tuple[Card | None, ...], epoch=epoch, changes=changes)

    def unsettled_cards(self) -> list[Card]:
        """Every card for which something is left to be done."""
        found: list[Card] = []
        while True:
            page = self.ask("cards/unsettled", tuple[Card, ...], after=found[-1].id if found else "")
            if not page:
                return found
            found += page

    def look(self, **ids: tuple[str, ...]) -> Faces:
        """What cards show, by id: `jobs` (in brief), `ended_jobs` (in full), `workflows`, `experiments`, `entries`,
        `links`, `sessions`."""
        return self.ask("cards/look", Faces, **ids)
