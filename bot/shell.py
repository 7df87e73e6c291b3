"""What only a shell has, for the verbs that exist nowhere else: its surroundings, another hub to speak to, patience."""

from collections.abc import Callable, Mapping

import msgspec

from bot.cards import Reply
from bot.hub_client import HubClient


class Shell(msgspec.Struct, frozen=True, kw_only=True):
    """The shell a command line was written in."""

    environ: Mapping[str, str]
    hub_named: Callable[[], str]  # the hub meant when none is given: by option, environment, or the last login
    connect: Callable[[str, str], HubClient]  # to an address, with a token or without
    say: Callable[[str], None]  # beside the answer, at once
    pause: Callable[[float], None]
    # Something shown and a question below it, with the usual answer; None where nobody sits at a terminal to be asked.
    ask: Callable[[str | Reply, str, bool], bool] | None = None
