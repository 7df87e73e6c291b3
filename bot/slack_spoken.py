"""What somebody said in Slack, whichever way it came: a command, a mention, a direct message, a button, a form."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from bot.delivery import Delivery
from bot.door import Place
from bot.problems import usage
from bot.slack_text import heard, without_mention
from bot.text import Unclosed, words

ALWAYS = "/collegium"
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_SCRIPTS = (".py", ".sh", ".bash", ".R", ".r", ".jl", ".m", ".pl")
_HEARD_SUBTYPES = (None, "file_share")
# Commands that open a form when nothing follows them.
FORMS = {("job", "submit"): "job", ("note", "post"): "note"}

Payload = Mapping[str, Any]


class File(msgspec.Struct, frozen=True):
    """A file that hung on a message."""

    id: str
    name: str
    size_bytes: int
    url: str = ""
    mode: str = "hosted"


class Spoken(msgspec.Struct, frozen=True, kw_only=True):
    """Who said it, where, when; `key` is the platform's own id of it, under which it is done once."""

    team: str
    user: str
    channel: str
    key: str
    at: datetime
    call: str = ALWAYS + " "
    thread: str = ""
    text: str = ""
    response_url: str = ""
    trigger: str = ""
    is_command: bool = False
    is_mention: bool = False
    files: tuple[File, ...] = ()
    delivery: Delivery | None = None  # how it reached us, where it could reach us twice

    @property
    def place(self) -> Place:
        return Place("slack", self.team, self.channel, self.thread)

    @property
    def claim(self) -> str:
        """Whom the hub is to take them for."""
        return f"chat:slack:{self.team}:{self.user}"

    @property
    def origin(self) -> str:
        return f"slack:{self.team}:{self.key}"

    @property
    def is_direct(self) -> bool:
        return self.place.is_direct


def command(body: Payload, at: float, delivery: Delivery | None = None) -> Spoken:
    """A slash command; `/job …` is the same as `/collegium job …`."""
    name, text = str(body.get("command", "")), str(body.get("text", ""))
    is_short = name != ALWAYS
    return Spoken(
        team=body["team_id"],
        user=body["user_id"],
        channel=body["channel_id"],
        key=body["trigger_id"],
        at=_moment(at),
        call="/" if is_short else ALWAYS + " ",
        text=f"{name.removeprefix('/')} {text}" if is_short else text,
        response_url=body.get("response_url", ""),
        trigger=body["trigger_id"],
        is_command=True,
        delivery=delivery,
    )


def message(body: Payload, bot_user: str, delivery: Delivery | None = None) -> Spoken | None:
    """A mention or a direct message; None for everything that is not a person speaking to the bot."""
    event: Payload = body["event"]
    user = event.get("user")
    is_mention = event.get("type") == "app_mention"
    if not user or user == bot_user or event.get("bot_id") or event.get("bot_profile") or event.get("app_id"):
        return None
    if event.get("subtype") not in _HEARD_SUBTYPES or event.get("edited") or event.get("hidden"):
        return None
    if not is_mention and event.get("channel_type") != "im":
        return None
    return Spoken(
        team=body["team_id"],
        user=user,
        channel=event["channel"],
        key=body["event_id"],
        at=_moment(float(body.get("event_time") or float(event["ts"]))),
        call="@Collegium " if is_mention else ALWAYS + " ",
        thread=event.get("thread_ts", ""),
        text=without_mention(str(event.get("text", "")), bot_user),
        is_mention=is_mention,
        files=tuple(_file(one) for one in event.get("files") or ()),
        delivery=delivery,
    )


def home_of(body: Payload) -> str:
    """The workspace who speaks belongs to; another than the channel's is a stranger's."""
    event = body.get("event") or {}
    user = body.get("user")
    claimed = user.get("team_id") if isinstance(user, Mapping) else None
    return str(event.get("user_team") or event.get("team") or claimed or body.get("team_id") or "")


def pressed(body: Payload, at: float, delivery: Delivery | None = None) -> Spoken:
    """A button."""
    container = body.get("container") or {}
    channel = (body.get("channel") or {}).get("id") or container.get("channel_id") or ""
    return Spoken(
        team=body["team"]["id"],
        user=body["user"]["id"],
        channel=channel,
        key=body["trigger_id"],
        at=_moment(at),
        thread=container.get("thread_ts", ""),
        response_url=body.get("response_url", ""),
        trigger=body["trigger_id"],
        delivery=delivery,
    )


def said_words(text: str) -> list[str]:
    """The words of a command. Raises Problem when a quotation does not close."""
    try:
        return words(heard(text))
    except Unclosed as unclosed:
        raise usage(f"A quotation that opens with {unclosed.quote} does not close.") from unclosed


def commands_of(spoken: Spoken, known: Collection[str]) -> list[list[str]]:
    """The commands in a mention or a direct message.

    Words of the tree are a command; a code block is a script to submit; a file alone becomes an artifact, and a file
    that is named, or is a program, is submitted with the other files as its inputs.
    """
    said = said_words(spoken.text)
    if said and said[0] in known:
        return [said]
    names = [one.name for one in spoken.files]
    fences = _FENCE.findall(spoken.text)
    if fences:
        script = said_words(fences[0])
        around = _options(said_words(_FENCE.sub(" ", spoken.text)))
        return [["job", "submit", *around, *_inputs(names), "--", *script]]
    if not names:
        return [said]
    if not said:
        return [["artifact", "add", "--", name] for name in names]
    if said[0] in names:
        return [["job", "submit", *_inputs(names, said[0]), "--", *said]]
    programs = [name for name in names if name.endswith(_SCRIPTS)]
    if len(programs) == 1:
        return [["job", "submit", *_options(said), *_inputs(names, programs[0]), "--", programs[0]]]
    return [said]


def form_of(said: Sequence[str]) -> str:
    """The form an empty command opens; nothing for every other."""
    return FORMS.get((said[0], said[1]), "") if len(said) == 2 else ""


def _options(said: Sequence[str]) -> list[str]:
    """What is said around a script: its options, without the courtesies before them."""
    first = next((at for at, word in enumerate(said) if word.startswith("-")), len(said))
    return [word for word in said[first:] if word != "--"]


def _inputs(names: Sequence[str], program: str = "") -> list[str]:
    return [word for name in names if name != program for word in ("--in", name)]


def _file(one: Payload) -> File:
    return File(
        id=one["id"],
        name=str(one.get("name") or one.get("title") or one["id"]),
        size_bytes=int(one.get("size") or 0),
        url=one.get("url_private_download") or one.get("url_private") or "",
        mode=one.get("mode", "hosted"),
    )


def _moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)
