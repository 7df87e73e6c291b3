"""`note`: the lab notebook. Write an entry, read it, sign it."""

import click

from bot.cards import Next, Reply, Table
from bot.door import Door
from bot.faces.entry import entry_card, entry_row, written_card
from bot.faces.who import session_of
from bot.grammar import Noun, session_option
from bot.hub_views import Entry, WrittenEntry
from bot.problems import usage
from bot.text import lines_joined
from bot.verbs.files import TEXT_FILES, in_session, title_and_text
from bot.words import counted

MEANINGS = ("author", "reviewed", "witnessed", "rejected")


@click.group("note", cls=Noun)
def note() -> None:
    """The lab notebook: write an entry, read it, sign it."""


@note.command(
    "post",
    fields={
        "entry.title": "TITLE",
        "entry.content": "--text",
        "entry.artifacts": "--attach",
        "entry.tools_used": "--tool",
        "entry.conclusions": "--conclusions",
        "signature": "--sign",
        "entry_id": "--entry",
    },
)
@click.argument("title", metavar="TITLE|FILE.md", required=False)
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
@click.option("--entry", "which", metavar="ENTRY", help="Save a new version of this entry; what is not given stays.")
@session_option
@click.pass_obj
def post_note(
    door: Door,
    title: str | None,
    text: str | None,
    attached: tuple[str, ...],
    tools: tuple[str, ...],
    conclusions: str | None,
    sign: str | None,
    which: str | None,
    session: str | None,
) -> Reply:
    """Write an entry called TITLE; a Markdown file here is taken with its first heading as the title."""
    before = None if which is None else door.hub.entry(door.ref(which, session))
    place = door.session(session) if before is None else session_of(before.name)
    title, text = _title_and_text(door, title, text, before)
    kept = before or Entry(id="", name="", number=0)
    saved = door.hub.act(
        "lab_notebook",
        WrittenEntry,
        idempotency_key=door.key(),
        session_id=place,
        entry={
            "title": title,
            "content": text,
            "tools_used": tools or kept.tools_used,
            "artifacts": [in_session(door, one, place) for one in attached]
            or [attachment.name for attachment in kept.attachments],
            "conclusions": kept.conclusions if conclusions is None else conclusions,
        },
        entry_id=before.id if before else None,
        base_version=before.version if before else None,
        signature=sign,
    )
    return written_card(saved)


def _title_and_text(door: Door, title: str | None, text: str | None, before: Entry | None) -> tuple[str, str]:
    """What is given, else what a file of that name says, else what the version before says."""
    if text is not None:
        text = lines_joined(door.standard_input() if text == "-" else text)
    elif title is not None and title.endswith(TEXT_FILES):
        title, text = title_and_text(door, title, "note post")
    title = before.title if title is None and before else title
    text = before.content if text is None and before else text
    if title is None or text is None:
        raise usage(
            "An entry needs a title and a text.",
            hint="note post TITLE --text TEXT, --text - for standard input, or note post FILE.md",
        )
    return title, text


@note.command("show")
@click.argument("which", metavar="ENTRY")
@session_option
@click.pass_obj
def show_note(door: Door, which: str, session: str | None) -> Reply:
    """Show ENTRY (`3`, `ana/hcl#3`) with its attachments and signatures."""
    return entry_card(door.hub.entry(door.ref(which, session)), with_text=True)


@note.command("sign", fields={"entry": "ENTRY", "key": "--key", "signature": "--signature"})
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
    counts = counted(len(page.entries), "entry", "entries") + (" and more." if page.cursor else ".")
    return Reply(
        sentence=f"{place}: {counts}",
        named=f"{place}: {counts}",
        ident=counts,
        session=place,
        table=Table(("entry", "title", "by", "when", "signed"), tuple(entry_row(one) for one in page.entries), more),
        next=() if page.entries else (Next("write one", ("note", "post", "TITLE", "--text", "TEXT")),),
        data=page,
    )
