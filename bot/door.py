"""What a command is given: the hub, the files that came with it, and the session that is meant."""

import re
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property

import msgspec

from bot.hub_client import HubClient
from bot.hub_views import Me
from bot.problems import INVALID, NOT_FOUND, Problem, usage
from bot.shell import Shell
from bot.text import lines_joined
from bot.uploads import NoUploads, Uploads

# A job or an entry without its session, as people say it.
_NUMBER = re.compile(r"(?:(?:job|note|entry|n)\s*)?#?(?P<number>[1-9]\d{0,8})", re.IGNORECASE | re.ASCII)

Remember = Callable[[str | None], str]


class Place(msgspec.Struct, frozen=True):
    """The channel of a chat platform a command was written in, by the platform's own ids."""

    platform: str
    workspace: str
    channel: str
    thread: str = ""

    @property
    def name(self) -> str:
        """`slack:T123:C456`."""
        return f"{self.platform}:{self.workspace}:{self.channel}"

    @property
    def is_direct(self) -> bool:
        """Whether it is one person's own conversation with the bot, which no session can be given."""
        return self.platform == "slack" and self.channel.startswith("D")

    @property
    def came_by(self) -> str:
        """Where somebody was heard, as the hub is told."""
        return f"{self.name}:{self.thread}" if self.thread else self.name


class Door:
    """One person's way in, for the length of one command.

    `call` is how commands are written here: `collegium` in the shell, `!` in Matrix, `/` in Slack and the room.
    `origin` names the platform's event, so that a redelivered message does what it did before and nothing more.
    """

    def __init__(
        self,
        connect: Callable[[], HubClient],
        *,
        uploads: Uploads | None = None,
        session: Callable[[], str | None] | None = None,
        remember: Remember | None = None,
        read_standard_input: Callable[[], str] | None = None,
        open_page: Callable[[str], bool] | None = None,
        call: str = "collegium ",
        origin: str = "",
        place: Place | None = None,
        asks_by_button: bool = False,
        has_folder: bool = False,
        shell: Shell | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._connect = connect
        self._in_use = session or (lambda: None)
        self._remember = remember
        self._read_standard_input = read_standard_input
        self._open_page = open_page
        self._acts = 0
        self.said: tuple[str, ...] = ()  # the words of the command, for a button that gives it again
        self.uploads: Uploads = uploads or NoUploads()
        self.call = call
        self.origin = origin
        self.place = place
        self.asks_by_button = asks_by_button or place is not None  # a question is an answer with a button
        self.has_folder = has_folder  # whether files can be put where the person is
        self.shell = shell  # at a shell's door only
        self.now = now

    @property
    def the_shell(self) -> Shell:
        """The shell, for verbs that exist only there. Raises Problem at every other door."""
        if self.shell is None:
            raise usage("This is done in a shell, not here.")
        return self.shell

    @cached_property
    def hub(self) -> HubClient:
        return self._connect()

    @cached_property
    def me(self) -> Me:
        return self.hub.me()

    @cached_property
    def session_in_use(self) -> str | None:
        """The session a command without --session means; None is the personal one."""
        return self._in_use()

    def session(self, given: str | None) -> str | None:
        return given or self.session_in_use

    def named_session(self, given: str | None) -> str:
        """Like `session`, with the personal one by its name."""
        return self.session(given) or self.personal_session

    @cached_property
    def personal_session(self) -> str:
        """The name of the person's own session."""
        own = next((one.name for one in self.hub.sessions() if one.personal), "")
        if not own:
            raise Problem(
                "no_session", "You have no session of your own here.", hint="Name one: --session OWNER/NAME",
                exit_code=NOT_FOUND,
            )  # fmt: skip
        return own

    def ref(self, given: str, session: str | None = None) -> str:
        """What `12`, `#12`, `n3` or `job 12` means here, so that the hub need not guess the session: `ana/hcl#12`."""
        said = _NUMBER.fullmatch(given.strip())
        if said is None:
            return given
        place = self.session(session)
        return f"{place}#{said['number']}" if place else said["number"]

    def key(self) -> str:
        """The idempotency key of the next action: derived from the platform's event where there is one."""
        self._acts += 1
        return f"{self.origin}:{self._acts}" if self.origin else ""

    def written(self, *words: str) -> str:
        """A command as one writes it at this door."""
        return self.call + " ".join(_quoted(word) for word in words)

    def artifact_ref(self, path: str, session: str | None) -> str:
        """A file of the session by its full name, `ana/hcl:data/lines.csv`; an id or a full name stays."""
        if path.startswith("art_") or ("/" in path.partition(":")[0] and ":" in path):
            return path
        return f"{self.named_session(session)}:{path}"

    def read(self, name: str) -> str | None:
        """The text of a file that came with the command; None when none of that name did."""
        offered = self.uploads.find(name)
        if offered is None:
            return None
        try:
            return lines_joined(offered.source.read_text(encoding="utf-8-sig"))
        except UnicodeDecodeError as error:
            raise Problem("not_text", f"{name} is not text in UTF-8.", exit_code=INVALID) from error

    def standard_input(self) -> str:
        if self._read_standard_input is None:
            raise usage("There is no standard input here.", hint="Put the script into a code block.")
        return self._read_standard_input()

    def remember_session(self, session: str | None) -> str:
        """Use this session from now on; returns where that is kept."""
        if self._remember is None:
            raise usage("A channel's session is set by its administrators, not by `use`.")
        return self._remember(session)

    def open_page(self, url: str) -> bool:
        """Show a page to the person, if this door can."""
        return self._open_page is not None and self._open_page(url)


def _quoted(word: str) -> str:
    """Quoted for a shell only where it must be; a `#` within a word need not."""
    return shlex.quote(word) if shlex.quote(word.replace("#", "")) != word.replace("#", "") else word
