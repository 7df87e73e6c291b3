"""A shared draft: its text, when it changed last, the versions one can go back to."""

from bot import words
from bot.cards import Next, Reply, Row, Table, fields
from bot.faces.who import by_at, session_of
from bot.faces.who import called as by_name
from bot.room_views import Draft, DraftRemoved, DraftRow, DraftVersion, DraftVersionText


def draft_card(one: Draft) -> Reply:
    """A draft with its text as it is now."""
    counts = words.counted(len(one.versions), "version") if one.versions else "no version yet"
    said = f"{called(one)}, {counts}"
    keep = (Next("keep it as it is", ("draft", "version", one.ref, "NAME")),) if one.may_write else ()
    return Reply(
        sentence=said,
        named=said,
        ident=f"draft {one.number}, {counts}",
        title=f"draft {one.number} · {one.name}",
        session=session_of(one.ref),
        fields=fields(
            "begun changed",
            begun=by_at(one.created_by, one.created),
            changed=words.moment(one.updated) if one.updated else None,
        ),
        body=one.text or "(It is empty.)",
        table=_versions(one.versions) if one.versions else None,
        next=keep,
        url=one.url,
        is_private=False,
        data=one,
    )


def version_card(one: DraftVersionText) -> Reply:
    """A version of a draft with its text."""
    said = f"version {one.number} “{one.name}” of {one.ref}"
    back = ("draft", "restore", one.ref, str(one.number))
    return Reply(
        sentence=said,
        named=said,
        ident=f"version {one.number} of a draft",
        title=said,
        session=session_of(one.ref),
        fields=fields("kept sha256", kept=by_at(one.author, one.at), sha256=one.sha256),
        body=one.text or "(It is empty.)",
        next=(Next("go back to it", back),),
        is_private=False,
        data=one,
    )


def changed_card(one: DraftRow, said: str, state: str) -> Reply:
    """A draft to which something was just done: in a sentence with its name, and as a `state` without it."""
    return Reply(
        sentence=said,
        named=said,
        ident=f"draft {one.number} {state}",
        session=session_of(one.ref),
        next=(Next("read it", ("draft", "show", one.ref)),),
        url=one.url,
        is_private=False,
        data=one,
    )


def called(one: DraftRow | DraftRemoved) -> str:
    """`draft 2 “Plan”`."""
    return f"draft {one.number} “{one.name}”"


def draft_row(one: DraftRow) -> Row:
    at = words.moment(one.updated) if one.updated else ""
    said = f"{called(one)}, begun by {by_name(one.created_by)}, changed {at}"
    return Row(
        (str(one.number), one.name, by_name(one.created_by), at),
        said,
        named=said,
        ident=f"draft {one.number}, changed {at}",
    )


def _versions(kept: tuple[DraftVersion, ...]) -> Table:
    rows = []
    for one in kept:
        at = words.moment(one.at) if one.at else ""
        said = f"version {one.number} “{one.name}”, kept by {by_name(one.author)} at {at}"
        rows.append(
            Row((str(one.number), one.name, by_name(one.author), at), said, named=said, ident=f"version {one.number}")
        )
    return Table(("version", "name", "by", "when"), tuple(rows))
