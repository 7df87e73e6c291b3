"""`draft`: texts that several people write at once. Read one, begin one, keep a version, go back to it, remove it.

What is typed together is typed in the room; here is what is done with a draft as a whole.
"""

import re

import click

from bot.cards import Next, Reply, Table
from bot.door import Door
from bot.faces.draft import called, changed_card, draft_card, draft_row, version_card
from bot.grammar import Noun, session_option
from bot.problems import NOT_FOUND, Problem, nearest, usage
from bot.room_views import Draft, DraftRemoved, DraftRow, DraftVersion, DraftVersionText
from bot.text import lines_joined
from bot.verbs.files import TEXT_FILES, title_and_text
from bot.words import counted, listed

# A draft without its session, as people say it; and what the hub finds by itself.
_NUMBER = re.compile(r"(?:draft\s*)?#?d?([1-9]\d{0,8})", re.IGNORECASE | re.ASCII)
_KNOWN = re.compile(r"draft_[0-9a-z]{26}|\S+#(?:d|draft)?[1-9]\d{0,8}", re.IGNORECASE | re.ASCII)


@click.group("draft", cls=Noun)
def draft() -> None:
    """Texts that several people write at once: read one, begin one, keep versions."""


@draft.command("list")
@session_option
@click.pass_obj
def list_drafts(door: Door, session: str | None) -> Reply:
    """List the session's drafts, the one changed last first."""
    place = door.named_session(session)
    found: tuple[DraftRow, ...] = door.hub.of_room(place, "drafts", tuple[DraftRow, ...])
    counts = f"{counted(len(found), 'draft')}."
    return Reply(
        sentence=f"{place}: {counts}",
        named=f"{place}: {counts}",
        ident=counts,
        session=place,
        table=Table(("draft", "name", "begun by", "changed"), tuple(draft_row(one) for one in found)),
        next=() if found else (Next("begin one", ("draft", "create", "NAME")),),
        data=found,
    )


@draft.command("show", fields={"number": "--version"})
@click.argument("which", metavar="DRAFT")
@click.option("--version", type=int, metavar="NUMBER", help="The text it had in this version, not the newest.")
@session_option
@click.pass_obj
def show_draft(door: Door, which: str, version: int | None, session: str | None) -> Reply:
    """Show DRAFT (`2`, `d2`, `ana/hcl#d2` or its name): its text and its versions."""
    ref = _the_one(door, which, session)
    if version is not None:
        return version_card(door.hub.draft(ref, DraftVersionText, version))
    return draft_card(door.hub.draft(ref, Draft))


@draft.command("create", fields={"name": "NAME", "text": "--text"})
@click.argument("name", metavar="NAME|FILE.md")
@click.option("--text", help="What stands in it, in Markdown; `-` reads standard input.")
@session_option
@click.pass_obj
def create_draft(door: Door, name: str, text: str | None, session: str | None) -> Reply:
    """Begin a draft called NAME; a Markdown file here is taken with its first heading as the name.

    \b
    draft create Plan
    draft create plan.md --session ana/hcl
    """
    if text is not None:
        text = lines_joined(door.standard_input() if text == "-" else text)
    elif name.endswith(TEXT_FILES):
        name, text = title_and_text(door, name, "draft create")
    made = door.hub.act(
        "draft_create", DraftRow, idempotency_key=door.key(), session_id=door.session(session), name=name, text=text
    )
    return changed_card(made, f"{called(made)} is begun; the room is where it is written together", "is begun")


@draft.command("version", fields={"draft": "DRAFT", "name": "NAME"})
@click.argument("which", metavar="DRAFT")
@click.argument("name")
@session_option
@click.pass_obj
def keep_version(door: Door, which: str, name: str, session: str | None) -> Reply:
    """Keep DRAFT as it is now, as a version called NAME.

    \b
    draft version 2 "sent to Ben"
    """
    ref = _the_one(door, which, session)
    kept = door.hub.act("draft_version", DraftVersion, idempotency_key=door.key(), draft=ref, name=name)
    said = f"It is kept as version {kept.number} “{kept.name}”."
    back = ("draft", "restore", ref, str(kept.number))
    return Reply(
        sentence=said, named=said, ident=f"It is kept as version {kept.number}.", session=door.session(session) or "",
        next=(Next("go back to it", back),), data=kept,
    )  # fmt: skip


@draft.command("restore", fields={"draft": "DRAFT", "version": "VERSION"})
@click.argument("which", metavar="DRAFT")
@click.argument("version", type=int)
@session_option
@click.pass_obj
def restore_version(door: Door, which: str, version: int, session: str | None) -> Reply:
    """Give DRAFT the text of VERSION, by its number.

    It is one edit more: whoever has the draft open sees it. Keep a version before, to come back to what is there now.

    \b
    draft restore 2 1
    """
    ref = _the_one(door, which, session)
    restored = door.hub.act("draft_restore", DraftRow, idempotency_key=door.key(), draft=ref, version=version)
    what = f"has the text of version {version} again"
    return changed_card(restored, f"{called(restored)} {what}", what)


@draft.command("rename", fields={"draft": "DRAFT", "name": "NAME"})
@click.argument("which", metavar="DRAFT")
@click.argument("name")
@session_option
@click.pass_obj
def rename_draft(door: Door, which: str, name: str, session: str | None) -> Reply:
    """Call DRAFT by another NAME.

    \b
    draft rename 2 "Plan for June"
    """
    ref = _the_one(door, which, session)
    renamed = door.hub.act("draft_rename", DraftRow, idempotency_key=door.key(), draft=ref, name=name)
    return changed_card(renamed, f"draft {renamed.number} is called “{renamed.name}” now", "has another name")


@draft.command("remove", fields={"draft": "DRAFT"})
@click.argument("which", metavar="DRAFT")
@click.option("--yes", "is_meant", is_flag=True, help="It is meant: nothing of the draft comes back.")
@session_option
@click.pass_obj
def remove_draft(door: Door, which: str, is_meant: bool, session: str | None) -> Reply:
    """Delete DRAFT with its text and its versions, for good; an entry made of it stays.

    \b
    draft remove 2 --yes
    """
    if not is_meant:
        again = ("draft", "remove", which, *(("--session", session) if session else ()), "--yes")
        raise usage(
            "A draft is deleted with its text and all its versions, for everybody and for good: nothing is done yet.",
            hint=f"If it is meant: {door.written(*again)}",
        )
    ref = _the_one(door, which, session)
    gone = door.hub.act("draft_remove", DraftRemoved, idempotency_key=door.key(), draft=ref)
    versions = f" with {counted(gone.versions, 'version')}" if gone.versions else ""
    said = f"{called(gone)} is deleted{versions}"
    return Reply(
        sentence=said,
        named=said,
        ident=f"draft {gone.number} is deleted{versions}",
        session=door.session(session) or "",
        data=gone,
    )


def _the_one(door: Door, said: str, session: str | None) -> str:
    """What the hub calls the draft that is meant: by number, by full name, by id, or by the name people gave it."""
    said = said.strip()
    if number := _NUMBER.fullmatch(said):
        place = door.session(session)
        return f"{place}#d{number[1]}" if place else f"d{number[1]}"
    if _KNOWN.fullmatch(said):
        return said
    place = door.named_session(session)
    there: tuple[DraftRow, ...] = door.hub.of_room(place, "drafts", tuple[DraftRow, ...])
    found = [one for one in there if one.name.casefold() == said.casefold()]
    if len(found) == 1:
        return found[0].id
    if found:
        raise Problem(
            "ambiguous_draft", f"{place} has {len(found)} drafts called “{said}”.", status=409,
            hint=f"Say which by its number: {listed([str(one.number) for one in found])}.",
        )  # fmt: skip
    raise Problem(
        "draft_not_found",
        f"{place} has no draft called “{said}”.",
        fix=nearest(said, [one.name for one in there]),
        hint=f"`{door.written('draft', 'list', '--session', place)}` shows what there is.",
        exit_code=NOT_FOUND,
    )
