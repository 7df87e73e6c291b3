"""`export`: leave with everything, in files that can be read without Collegium."""

import click

from bot.cards import ExportLive, Reply
from bot.door import Door
from bot.grammar import Verb
from bot.problems import usage


@click.command("export", cls=Verb)
@click.argument("words", metavar="[SESSION] DIR", nargs=-1, required=True)
@click.option("--all", "is_all", is_flag=True, help="Every session you take part in.")
@click.pass_obj
def export(door: Door, words: tuple[str, ...], is_all: bool) -> Reply:
    """Write a session into DIR: entries and drafts as Markdown, files by name, jobs, and SHA256SUMS.

    Run again, it fetches only what is missing. DIR's README.txt says how to read it without Collegium.
    """
    return Reply(live=wanted(door, words, is_all=is_all))


def wanted(door: Door, words: tuple[str, ...], *, is_all: bool) -> ExportLive:
    """What is to be exported, and where to."""
    if not door.has_folder:
        raise usage("An export needs a folder on your machine.", hint="In a shell: collegium export SESSION DIR")
    if len(words) > 2:
        raise usage("“export” takes a session and a folder.", hint="`collegium export ana/hcl DIR`")
    if is_all and len(words) == 2:
        raise usage("Either one session or --all.", fix=door.written("export", "--all", words[1]))
    if is_all:
        return ExportLive(words[-1])
    return ExportLive(words[-1], words[0] if len(words) == 2 else door.named_session(None))
