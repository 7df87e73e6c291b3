"""The whole grammar: one click tree for Slack, Matrix, the room's chat and the shell.

`run` is what every door calls with the words it received. The shell mounts the same tree beside the operator's verbs.
"""

from collections.abc import Sequence

import click
import msgspec

from bot.cards import Reply
from bot.door import Door
from bot.grammar import Noun, carry_out
from bot.problems import usage
from bot.text import Unclosed, words
from bot.verbs.access import explain, who
from bot.verbs.account import account
from bot.verbs.artifact import artifact
from bot.verbs.chat import channel, notify
from bot.verbs.check import verify
from bot.verbs.cluster import cluster
from bot.verbs.completion import completion
from bot.verbs.draft import draft
from bot.verbs.experiment import experiment
from bot.verbs.export import export
from bot.verbs.job import job
from bot.verbs.login import login, logout
from bot.verbs.note import note
from bot.verbs.person import key, link, whoami, window
from bot.verbs.quota import quota
from bot.verbs.room_messages import room
from bot.verbs.session import use
from bot.verbs.session_changes import session
from bot.verbs.share import share
from bot.verbs.workflow import workflow

COMMANDS: tuple[click.Command, ...] = (
    job, workflow, experiment, note, draft, artifact, share, session, use, room, link, whoami, key, window, verify,
    who, explain, channel, notify, account, cluster, quota, export, login, logout, completion,
)  # fmt: skip


@click.group("collegium", cls=Noun)
def tree() -> None:
    """Jobs, a signed notebook, versioned files and rooms for people who work together."""


for _command in COMMANDS:
    tree.add_command(_command)


def run(said: str | Sequence[str], door: Door) -> Reply:
    """The Reply to what somebody wrote. Raises Problem for everything that is not done."""
    if isinstance(said, str):
        try:
            said = words(said)
        except Unclosed as unclosed:
            raise usage(f"A quotation that opens with {unclosed.quote} does not close.") from unclosed
    reply = carry_out(tree, said, door, name=door.call.strip())
    if not reply.is_text or door.call.endswith(" "):
        return reply
    # "!" and "/" stand right before the first word.
    written = reply.body.replace(f"{door.call} ", door.call)
    return msgspec.structs.replace(reply, body=written, sentence=written.strip().splitlines()[0])
