"""What an operator can set: one frozen struct, read once, unknown names refused.

Each setting comes from `COLLEGIUM_<NAME>`, from the file named by `COLLEGIUM_<NAME>_FILE` (for secrets), or from
`collegium.toml`; the environment wins. `collegium settings` prints them with secrets masked.
"""

from __future__ import annotations

import getpass
import hashlib
import ipaddress
import os
import tempfile
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints
from urllib.parse import urlsplit

import msgspec

from hub.core.errors import InvalidInput

PREFIX = "COLLEGIUM_"
SOCKET_FOLDER_BYTES = 88
# Names with our prefix that are not settings of the hub: the launcher's pipe, and what the shell client reads.
NOT_SETTINGS = {
    "PARENT_PIPE",
    "HUB",
    "SESSION",
    "TOKEN",
    "TOKEN_FILE",
    "CONFIG",
    "INPUTS",
    "JOB",
    "TEST_POSTGRES",
    "PLAIN",
}


class Doc(msgspec.Struct, frozen=True):
    """The sentence the reference prints for a setting, and whether its value is a secret."""

    text: str
    secret: bool = False


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the hub can be told from outside."""

    data: Annotated[Path, Doc("Folder that holds everything of an embedded hub.")] = Path(".data")
    environment: Annotated[
        Literal["laptop", "production"],
        Doc("`production` refuses weak secrets, http origins, debug and SQLite with several web processes."),
    ] = "laptop"
    host: Annotated[str, Doc("Address the front door listens on.")] = "127.0.0.1"
    port: Annotated[int, Doc("Port of the front door; 0 picks a free one.")] = 8400
    public_url: Annotated[str, Doc("URL under which people reach the hub; empty means http://HOST:PORT.")] = ""
    database_url: Annotated[str, Doc("SQLAlchemy URL; empty means SQLite under DATA.", secret=True)] = ""
    redis_url: Annotated[str, Doc("Redis or Valkey; empty means the embedded one under DATA.", secret=True)] = ""
    secret: Annotated[str, Doc("At least 32 characters; empty means one made under DATA/keys.", secret=True)] = ""
    live_token: Annotated[
        str, Doc("Service token of the live process; empty means one made under DATA/keys.", secret=True)
    ] = ""
    bot_token: Annotated[
        str, Doc("Service token of the chat bot; empty means one made under DATA/keys.", secret=True)
    ] = ""
    join: Annotated[
        Literal["invite", "workspace"],
        Doc("`workspace` lets full members of a connected chat workspace make their account by their first command."),
    ] = "invite"
    smtp_url: Annotated[
        str, Doc("Where mail goes: smtp://, smtp+starttls:// or smtps://USER:PASSWORD@HOST:PORT.", secret=True)
    ] = ""
    mail_from: Annotated[str, Doc("Address mail comes from; empty means collegium@ the public host.")] = ""
    breached_passwords: Annotated[
        str, Doc("File of breached passwords: sorted SHA-1 digests in hexadecimal, one a line, as HIBP publishes them.")
    ] = ""
    second_factor_for: Annotated[
        Literal["nobody", "operator", "everybody"],
        Doc("Whose sign-ins need an authenticator app or a passkey; they set one up before they can do anything else."),
    ] = "nobody"
    slack_api_url: Annotated[str, Doc("Slack's Web API; another address is for tests.")] = "https://slack.com/api/"
    tls_certificate: Annotated[
        str, Doc("PEM file of the front door's certificate chain; empty: TLS ends elsewhere.")
    ] = ""
    tls_key: Annotated[str, Doc("PEM file of the certificate's key.")] = ""
    ssh_from: Annotated[
        str,
        Doc(
            "Addresses or networks, with commas, from which this hub reaches clusters; its keys count from there only."
        ),
    ] = ""
    backup_to: Annotated[str, Doc("Folder that `collegium backup` writes to when none is named.")] = ""
    web_url: Annotated[
        str, Doc("Where live reaches web when they share no machine; empty: over a Unix socket under DATA.")
    ] = ""
    trusted_proxies: Annotated[
        str, Doc("Addresses, with commas, whose X-Forwarded-For web believes; `*` where only the proxy reaches it.")
    ] = "127.0.0.1"
    web_processes: Annotated[int, Doc("How many web processes are run.")] = 1
    workers: Annotated[int, Doc("How many RQ workers `up` starts.")] = 2
    owner: Annotated[str, Doc("Handle of the person made at first start of an embedded hub.")] = ""
    log_level: Annotated[Literal["debug", "info", "warning", "error"], Doc("How much is logged.")] = "info"
    debug: Annotated[bool, Doc("Verbose errors in the log; never in production.")] = False
    sandbox: Annotated[
        Literal["auto", "require", "off"],
        Doc("`require` refuses to start local jobs without bubblewrap; production always requires it."),
    ] = "auto"
    running_jobs_per_person: Annotated[int, Doc("Local jobs one person may have running at once.")] = 2
    running_jobs: Annotated[int, Doc("Local jobs running at once on this machine.")] = 4
    sweep_after_days: Annotated[
        int,
        Doc(
            "Days after a job's end until its folders go, here and on its cluster, if all it made came home; 0: never."
        ),
    ] = 14
    sweep_unfetched_after_days: Annotated[
        int, Doc("The same for jobs with files that did not come home, which are lost then; 0: never.")
    ] = 0
    cluster_shells: Annotated[
        int, Doc("Commands that run at once on one account's connection to a cluster: 1 to 6 of its 8 channels.")
    ] = 2
    price_core_hour: Annotated[float, Doc("What an hour of a core of this machine costs; 0: nothing.")] = 0.0
    price_gpu_hour: Annotated[float, Doc("What an hour of a GPU of this machine costs; 0: nothing.")] = 0.0
    currency: Annotated[str, Doc("What prices and costs are counted in: EUR, USD, credits.")] = "EUR"
    visible_cursors: Annotated[
        int, Doc("How many cursors of others a member of a room is shown at once; the rest is told as a density.")
    ] = 40
    stun_urls: Annotated[str, Doc("STUN servers for voice and screens, with commas: stun:HOST:PORT.")] = ""
    turn_urls: Annotated[
        str, Doc("TURN relays for voice and screens, with commas: turn:HOST:PORT?transport=udp, turns:HOST:PORT.")
    ] = ""
    turn_secret: Annotated[str, Doc("The secret shared with the relay (coturn's static-auth-secret).", secret=True)] = (
        ""
    )
    livekit_url: Annotated[
        str,
        Doc(
            "A LiveKit server for calls of more than six, as browsers reach it: https://HOST, or http on this machine."
        ),
    ] = ""
    livekit_key: Annotated[str, Doc("The name of the key that hub and LiveKit share.")] = ""
    livekit_secret: Annotated[str, Doc("That key's secret, at least 32 characters.", secret=True)] = ""
    # Which of the above came from outside: what set-up stores does not replace them.
    given: frozenset[str] = frozenset()

    @property
    def origin(self) -> str:
        """The public origin without a trailing slash."""
        return (self.public_url or f"{self._scheme}://{self.host}:{self.port}").rstrip("/")

    @property
    def origins(self) -> frozenset[str]:
        """The origins a browser may come from: the public one, and on a laptop both names of this machine."""
        if self.public_url:
            return frozenset({self.origin})
        local = {f"{self._scheme}://{name}:{self.port}" for name in ("localhost", "127.0.0.1")}
        return frozenset({self.origin, *local})

    @property
    def _scheme(self) -> str:
        return "https" if self.tls_certificate else "http"

    @property
    def is_loopback(self) -> bool:
        """Whether links to this hub open on its own machine only."""
        host = urlsplit(self.origin).hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            return True
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return address.is_loopback or address.is_unspecified

    def is_given(self, name: str) -> bool:
        """Whether this setting was given from outside the hub, which then does not replace it by what it has stored."""
        return name in self.given or getattr(self, name) != _DEFAULTS[name]

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.data.absolute() / 'hub.sqlite3'}"

    @property
    def run(self) -> Path:
        """The folder of this hub's Unix sockets: under DATA, or beside other temporaries when that name is too long.

        The kernel allows 107 bytes (103 on macOS) for a socket's whole path.
        """
        folder = self.data.absolute() / "run"
        if len(str(folder).encode()) <= SOCKET_FOLDER_BYTES:
            return folder
        digest = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"collegium-{os.getuid()}-{digest}"

    @property
    def valkey_socket(self) -> Path:
        return self.run / "valkey.sock"

    @property
    def redis(self) -> str:
        return self.redis_url or f"unix://{self.valkey_socket}"

    @property
    def bot_socket(self) -> Path:
        """The Unix socket on which the bot listens for what the front door forwards from chat platforms."""
        return self.run / "bot.sock"

    @property
    def web_socket(self) -> Path:
        """The Unix socket on which web listens behind the front door of an embedded hub."""
        return self.run / "web.sock"

    @property
    def owner_handle(self) -> str:
        if self.owner:
            return self.owner
        try:
            name = getpass.getuser()
        except (KeyError, OSError):
            name = "owner"
        return "".join(c for c in name.lower() if c.isalnum() or c == "-")[:32] or "owner"


_DEFAULTS: dict[str, Any] = {field.name: field.default for field in msgspec.structs.fields(Settings)}


def documented() -> list[tuple[str, Any, str, bool]]:
    """Every setting as (environment name, default, sentence, is a secret), in the order they are declared."""
    hints = get_type_hints(Settings, include_extras=True)
    rows = []
    for field in msgspec.structs.fields(Settings):
        if field.name == "given":
            continue
        doc = next(a for a in get_args(hints[field.name]) if isinstance(a, Doc))
        rows.append((PREFIX + field.name.upper(), field.default, doc.text, doc.secret))
    return rows


def _plain_type(name: str) -> Any:
    hint = get_type_hints(Settings, include_extras=True)[name]
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def load(environ: Mapping[str, str], **overrides: Any) -> Settings:
    """Settings from the environment (and `COLLEGIUM_CONFIG`, a TOML file).

    Raises InvalidInput naming the variable or key at fault.
    """
    names = {field.name for field in msgspec.structs.fields(Settings)} - {"given"}
    values: dict[str, Any] = {}
    if config := environ.get(PREFIX + "CONFIG"):
        try:
            values.update(tomllib.loads(Path(config).read_text()))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise InvalidInput(f"{config}: {error}", code="bad_setting", path=config) from None
        if unknown := sorted(set(values) - names):
            raise InvalidInput(f"unknown settings: {', '.join(unknown)}", code="bad_setting", path=config)
    for variable, value in environ.items():
        if not variable.startswith(PREFIX) or (name := variable.removeprefix(PREFIX)) in NOT_SETTINGS:
            continue
        name, text = name.lower(), value
        if name not in names and name.endswith("_file") and name.removesuffix("_file") in names:
            try:
                name, text = name.removesuffix("_file"), Path(value).read_text().strip()
            except OSError as error:
                raise InvalidInput(f"{variable}: {error}", code="bad_setting", path=variable) from None
        if name not in names:
            raise InvalidInput(
                f"unknown setting {variable}",
                code="bad_setting",
                path=variable,
                hint="`collegium settings` lists them all",
            )
        values[name] = text
    values.update({k: v for k, v in overrides.items() if v is not None})
    converted: dict[str, Any] = {}
    for name, value in values.items():
        try:
            kind = _plain_type(name)
            converted[name] = Path(value) if kind is Path else msgspec.convert(value, kind, strict=False)
        except (msgspec.ValidationError, TypeError) as error:
            raise InvalidInput(
                f"{PREFIX}{name.upper()}: {error}", code="bad_setting", path=PREFIX + name.upper()
            ) from None
    settings = Settings(**converted, given=frozenset(name for name, value in values.items() if value not in (None, "")))
    _check_rooms(settings)
    _check_prices(settings)
    _check_ssh(settings)
    _refuse_weak(settings)
    return settings


def _check_rooms(settings: Settings) -> None:
    if settings.turn_urls and not settings.turn_secret:
        raise InvalidInput(
            "COLLEGIUM_TURN_URLS needs COLLEGIUM_TURN_SECRET: nobody gets past the relay without",
            code="bad_setting",
            path="COLLEGIUM_TURN_SECRET",
        )
    if settings.visible_cursors < 1:
        raise InvalidInput(
            f"COLLEGIUM_VISIBLE_CURSORS is {settings.visible_cursors}, and the least is 1",
            code="bad_setting",
            path="COLLEGIUM_VISIBLE_CURSORS",
            hint="to show no cursors in a session, switch its feature `live_cursor` off",
        )
    if settings.livekit_url:
        _check_livekit(settings)


def _check_livekit(settings: Settings) -> None:
    if not settings.livekit_url.startswith(("https://", "http://")):
        raise InvalidInput(
            "COLLEGIUM_LIVEKIT_URL begins with https://, or with http:// on this machine",
            code="bad_setting",
            path="COLLEGIUM_LIVEKIT_URL",
        )
    if not settings.livekit_key or len(settings.livekit_secret) < 32:
        raise InvalidInput(
            "COLLEGIUM_LIVEKIT_URL needs COLLEGIUM_LIVEKIT_KEY and COLLEGIUM_LIVEKIT_SECRET, at least 32 characters",
            code="bad_setting",
            path="COLLEGIUM_LIVEKIT_SECRET",
        )


def _check_prices(settings: Settings) -> None:
    for name in ("price_core_hour", "price_gpu_hour"):
        if not 0 <= getattr(settings, name) <= 1e6:
            variable = PREFIX + name.upper()
            raise InvalidInput(f"{variable} must be from 0 to 1000000", code="bad_setting", path=variable)


def _check_ssh(settings: Settings) -> None:
    for each in settings.ssh_from.split(",") if settings.ssh_from else ():
        try:
            ipaddress.ip_network(each)
        except ValueError:
            raise InvalidInput(
                f"COLLEGIUM_SSH_FROM: {each[:60]!r} is no address and no network",
                code="bad_setting",
                path="COLLEGIUM_SSH_FROM",
                hint="write 192.0.2.7 or 192.0.2.0/24, with commas and no blanks between",
            ) from None


def _refuse_weak(settings: Settings) -> None:
    if settings.environment != "production":
        return
    faults = []
    if len(settings.secret) < 32:
        faults.append("COLLEGIUM_SECRET must have at least 32 characters")
    if not settings.public_url.startswith("https://"):
        faults.append("COLLEGIUM_PUBLIC_URL must begin with https://")
    if settings.livekit_url.startswith("http://"):
        faults.append("COLLEGIUM_LIVEKIT_URL must begin with https://")
    if settings.debug:
        faults.append("COLLEGIUM_DEBUG must be off")
    if settings.database.startswith("sqlite") and settings.web_processes > 1:
        faults.append("SQLite serves one web process; use PostgreSQL for several")
    if settings.sandbox == "off":
        faults.append("COLLEGIUM_SANDBOX must not be off")
    if faults:
        raise InvalidInput("these settings are not safe in production", code="bad_setting", errors=faults)
