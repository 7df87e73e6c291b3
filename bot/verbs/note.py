"""`note`: the lab notebook. Write an entry, read it, sign it."""

from pathlib import PurePath

import click

from bot.cards import Next, Reply, Table
from bot.door import Door
from bot.faces.entry import entry_card, entry_row, written_card
from bot.grammar import Noun, session_option
from bot.hub_views import WrittenEntry
from bot.problems import usage
from bot.text import lines_joined
from bot.verbs.files import in_session
from bot.words import counted

MEANINGS = ("author", "reviewed", "witnessed", "rejected")


@click.group("note", cls=Noun)
def note() -> None:
    """The lab notebook: write an entry, read it, sign it."""


@note.command("post")
@click.argument("title", metavar="TITLE|FILE.md")
@click.option("--text", help="The entry, in Markdown; `-` reads standard input.")
@click.option(
    "-a",
    "--attach",
    "attached",
    metavar="FILE",
    multiple=True,
    help="A file it shows: sent if it is here, else a path in the session.",
)
@click.option(
    "--tool", "tools", metavar="TOOL", multiple=True, help="Something that was used, with its version if it matters."
)
@click.option("--conclusions", help="What follows from it.")
@click.option("--sign", metavar="KEY", help="Sign it at once with this key of yours.")
@click.option("--entry", "which", metavar="ENTRY", help="Save a new version of this entry instead.")
@session_option
@click.pass_obj
def post_note(
    door: Door,
    title: str,
    text: str | None,
    attached: tuple[str, ...],
    tools: tuple[str, ...],
    conclusions: str | None,
    sign: str | None,
    which: str | None,
    session: str | None,
) -> Reply:
    """Write an entry called TITLE; a Markdown file here is taken with its first heading as the title."""
    place = door.session(session)
    title, content = _title_and_text(door, title, text)
    entry = {
        "title": title,
        "content": content,
        "tools_used": tools or None,
        "artifacts": [in_session(door, one, place) for one in attached] or None,
        "conclusions": conclusions,
    }
    before = None if which is None else door.hub.entry(door.ref(which, session))
    saved = door.hub.act(
        "lab_notebook",
        WrittenEntry,
        idempotency_key=door.key(),
        session_id=place if before is None else None,
        entry={key: value for key, value in entry.items() if value is not None},
        entry_id=before.id if before else None,
        base_version=before.version if before else None,
        signature=sign,
    )
    return written_card(saved)


def _title_and_text(door: Door, title: str, text: str | None) -> tuple[str, str]:
    if text is not None:
        return title, lines_joined(door.standard_input() if text == "-" else text)
    written = door.read(title) if title.endswith((".md", ".markdown", ".txt")) else None
    if written is None:
        raise usage(
            "An entry needs a text.",
            hint=f"--text TEXT, --text - for standard input, or a Markdown file that is here (“{title}” is none).",
        )
    first, _, rest = written.lstrip("\n").partition("\n")
    if first.startswith("# "):
        return first[2:].strip(), rest.lstrip("\n")
    return PurePath(title).stem.replace("_", " "), written


@note.command("show")
@click.argument("which", metavar="ENTRY")
@session_option
@click.pass_obj
def show_note(door: Door, which: str, session: str | None) -> Reply:
    """Show ENTRY (`3`, `ana/hcl#3`) with its attachments and signatures."""
    return entry_card(door.hub.entry(door.ref(which, session)), with_text=True)


@note.command("sign")
@click.argument("which", metavar="ENTRY")
@click.option("-k", "--key", metavar="KEY", help="The name of a key of yours at the hub.")
@click.option("--signature", "signature_file", metavar="FILE", help="A detached signature made elsewhere.")
@click.option(
    "--meaning", type=click.Choice(MEANINGS), default="author", show_default=True, help="What the signature says."
)
@session_option
@click.pass_obj
def sign_note(
    door: Door, which: str, key: str | None, signature_file: str | None, meaning: str, session: str | None
) -> Reply:
    """Sign ENTRY: its text and every attachment, by digest."""
    if (key is None) == (signature_file is None):
        raise usage(
            "Say what to sign with: --key KEY or --signature FILE.",
            hint=f"`{door.written('key', 'list')}` shows your keys.",
        )
    signature = None if signature_file is None else door.read(signature_file)
    if signature_file is not None and signature is None:
        raise usage(f"There is no file {signature_file} here.")
    signed = door.hub.act(
        "note_sign",
        WrittenEntry,
        idempotency_key=door.key(),
        entry=door.ref(which, session),
        key=key,
        signature=signature,
        meaning=meaning,
    )
    return written_card(signed)


@note.command("list")
@session_option
@click.option("--cursor", help="Where the page before ended.")
@click.pass_obj
def list_notes(door: Door, session: str | None, cursor: str | None) -> Reply:
    """List the session's entries, newest first."""
    place = door.named_session(session)
    page = door.hub.entries(place, cursor=cursor)
    more = f"More: {door.written('note', 'list', '--session', place, '--cursor', page.cursor)}" if page.cursor else ""
    return Reply(
        sentence=f"{place}: {counted(len(page.entries), 'entry', 'entries')}" + (" and more." if page.cursor else "."),
        table=Table(("entry", "title", "by", "when", "signed"), tuple(entry_row(one) for one in page.entries), more),
        next=() if page.entries else (Next("write one", ("note", "post", "TITLE", "--text", "TEXT")),),
        data=page,
    )
