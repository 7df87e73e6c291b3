"""A notebook entry: signed or not, by whom, what it cites; and what a check of it found."""

from bot import words
from bot.cards import Next, Reply, Row, State, Table, fields
from bot.faces.who import by_at, called, session_of
from bot.hub_views import Entry, EntryRow, EntryVerification, WrittenEntry
from bot.problems import OTHER

_SIGNED = State("Signed", "✓", "ok")
_UNSIGNED = State("Not signed", "○", "wait")
_BROKEN = State("Does not hold", "✗", "bad")
_HOLDS = State("Holds", "✓", "ok")


def entry_card(one: Entry, *, with_text: bool = False) -> Reply:
    """A notebook entry: signed or not, by whom, what it cites."""
    valid = [signature for signature in one.signatures if signature.valid]
    broken = [signature for signature in one.signatures if not signature.valid]
    signed = words.listed([f"{called(s.signer)} ({s.meaning}, {s.custody}-held key)" for s in valid])
    said = f"signed by {signed}" if valid else "not signed"
    if broken:
        said += f"; {words.counted(len(broken), 'signature')} not valid"
    return Reply(
        sentence=f"entry {one.number} “{one.title}”, version {one.version}, {said}",
        named=f"entry {one.number} “{one.title}”, version {one.version}, {said}",
        ident=f"entry {one.number}, version {one.version}, {'signed' if valid else 'not signed'}",
        title=f"entry {one.number} · {one.title}",
        session=session_of(one.name),
        state=_BROKEN if broken else _SIGNED if valid else _UNSIGNED,
        fields=fields(
            "version written signed sha256",
            version=one.version if one.version == one.newest else f"{one.version}, the newest is {one.newest}",
            written=by_at(one.author, one.at),
            signed=signed,
            not_valid="; ".join(f"{called(s.signer)}: {s.words}" for s in broken),
            tools=words.listed(list(one.tools_used)),
            attached=words.listed([attachment.name for attachment in one.attachments]),
            conclusions=one.conclusions,
            sha256=one.digest,
        ),
        body=one.content if with_text else "",
        next=(
            Next("check it again", ("verify", one.name)),
            *(() if valid else (Next("sign it", ("note", "sign", one.name, "--key", "KEY")),)),
        ),
        url=one.url,
        is_private=False,
        data=one,
    )


def written_card(one: WrittenEntry) -> Reply:
    """An entry that was just written or signed."""
    by = "" if one.signature is None else f", signed by {called(one.signature.signer)} as {one.signature.meaning}"
    return Reply(
        sentence=f"entry {one.number} “{one.title}”, version {one.version}{by or ', not signed'}",
        named=f"entry {one.number} “{one.title}”, version {one.version}{by or ', not signed'}",
        ident=f"entry {one.number}, version {one.version}, {'signed' if by else 'not signed'}",
        title=f"entry {one.number} · {one.title}",
        session=session_of(one.name),
        state=_SIGNED if one.signature else _UNSIGNED,
        fields=fields(
            "version sha256",
            version=one.version,
            signed=one.signature.words if one.signature else None,
            sha256=one.digest,
        ),
        next=(
            Next("read it", ("note", "show", one.name)),
            *(() if one.signature else (Next("sign it", ("note", "sign", one.name, "--key", "KEY")),)),
        ),
        url=one.url,
        is_private=False,
        data=one,
    )


def entry_row(one: EntryRow) -> Row:
    at = words.moment(one.at) if one.at else ""
    signed = words.counted(one.signatures, "signature") if one.signatures else "not signed"
    said = f"entry {one.number} “{one.title}”, version {one.version}, by {called(one.author)}, {at}, {signed}"
    return Row(
        (str(one.number), one.title, called(one.author), at, signed),
        said,
        named=said,
        ident=f"entry {one.number}, version {one.version}, {signed}",
    )


def verification_card(one: EntryVerification) -> Reply:
    """Whether an entry is what was saved and signed, check by check."""
    rows = [
        Row(_mark(check.holds, check.name, check.words), f"{_word(check.holds)}: {check.words}") for check in one.checks
    ]
    for signed in one.signatures:
        who = f"{called(signed.signature.signer)}, {signed.signature.meaning}"
        rows.append(Row(_mark(signed.signature.valid, who, signed.signature.words), f"{who}: {signed.signature.words}"))
    return Reply(
        sentence=f"{one.name}, version {one.version}: {one.words}",
        named=f"{one.name}, version {one.version}: {_word(one.valid)}",
        ident=f"version {one.version} of an entry {_word(one.valid)}",
        session=session_of(one.name),
        state=_HOLDS if one.valid else _BROKEN,
        fields=fields(sha256=one.digest),
        table=Table(("", "what", "found"), tuple(rows)),
        exit_code=0 if one.valid else OTHER,
        data=one,
    )


def _mark(holds: bool, name: str, said: str) -> tuple[str, str, str]:
    return ("✓" if holds else "✗", name, said)


def _word(holds: bool) -> str:
    return "holds" if holds else "does not hold"
