"""An entry: its text, what it rests on, who signed it and whether that holds, its versions, and what one can do."""

from __future__ import annotations

import datetime as dt

import msgspec
from markupsafe import Markup

from hub.core.context import Scope
from hub.notebook import keys, views, windows
from hub.notebook.proofs import SignatureView
from hub.notebook.statement import MEANINGS
from hub.notebook.views import AttachmentView, EntryView
from hub.web.pages import frames, render, words
from hub.web.pages.faces import Act, Card, Fact, Person, State
from hub.web.pages.notebook import UNSIGNED, Sheet

_MEANING = {
    "author": ("Author of", "author"),
    "reviewed": ("Reviewed", "reviewer"),
    "witnessed": ("Witnessed", "witness"),
    "rejected": ("Rejected", "one who rejects it"),
}
_HOLDS = State("Verified", "sealed", "ok")
_FAILS = State("Does not hold", "unsealed", "bad")


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """A version in the rail."""

    version: int
    href: str
    here: bool
    at: dt.datetime
    text: str


class Heading(msgspec.Struct, frozen=True):
    """A line of the contents."""

    href: str
    text: str


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What the reader should know or do before reading."""

    tint: str
    glyph: str
    title: str
    text: str
    href: str = ""
    link: str = ""


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """A signature with its verification."""

    person: Person
    meaning: str
    version: int
    at: dt.datetime
    text: str
    state: State


class Signing(msgspec.Struct, frozen=True, kw_only=True):
    """The form that signs."""

    next: str
    keys: list[str]
    meanings: list[tuple[str, str]]
    text: str


class Prompt(msgspec.Struct, frozen=True):
    """What stands between a reader and the form: a key to make, or a window to open."""

    title: str
    text: str
    act: Act


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """The entry as its template shows it."""

    id: str
    number: int
    version: int
    title: str
    state: State
    authors: list[Person]
    at: dt.datetime
    html: Markup
    conclusions: Markup
    tools: tuple[str, ...]
    digest: str


def show(scope: Scope, params: dict[str, str]) -> str:
    """GET /entries/{ref}?version="""
    entry = views.entry(scope, params["ref"], frames.number(params, "version"))
    # A picture that stands in the text already is not shown twice.
    pictures = [each for each in entry.attachments if _is_picture(each) and each.version_id not in entry.html]
    others = [each for each in entry.attachments if each not in pictures]
    signing, prompt = _signing(scope, entry)
    return render.html(
        "entry.html",
        frames.within(scope, entry.session, entry.title, "Notebook"),
        now=scope.now,
        entry=text_of(entry),
        versions=[_past(entry, row) for row in entry.versions],
        contents=_contents(entry),
        note=_note(scope, entry),
        figures=[card_of(each) for each in pictures],
        attachments=[card_of(each) for each in others],
        attached_say=_attached(entry.attachments),
        signatures=[_seal(each, entry.version) for each in entry.signatures],
        sign=signing,
        prompt=prompt,
        commands=[f"collegium note show {entry.name}", f"collegium verify {entry.name}"],
        form=_sheet(entry) if entry.may_write and entry.version == entry.newest else None,
        facts=_facts(entry),
    )


def _is_picture(each: AttachmentView) -> bool:
    return (each.media_type or "").startswith("image/")


def text_of(entry: EntryView) -> Text:
    """The entry's own part; its HTML was made safe where it was rendered (hub/notebook/markdown.py)."""
    return Text(
        id=entry.id,
        number=entry.number,
        version=entry.version,
        title=entry.title,
        state=_state(entry.signatures),
        authors=[frames.person(entry.author)],
        at=frames.instant(entry.at),
        html=Markup(entry.html),  # noqa: S704
        conclusions=Markup(entry.conclusions_html),  # noqa: S704
        tools=entry.tools_used,
        digest=entry.digest,
    )


def card_of(each: AttachmentView) -> Card:
    """An attachment as a card; an SVG is shown as itself, since in an image it can run nothing."""
    page = f"/artifacts/{each.version_id}"
    svg = each.media_type == "image/svg+xml"
    return Card(
        href=page,
        path=each.name,
        version=each.number or 0,
        digest=each.digest or "",
        size=words.size(each.size) if each.size is not None else "",
        picture=f"/api{page}/{'content' if svg else 'preview'}" if _is_picture(each) else "",
        alt=each.alt or "",
    )


def _state(signatures: list[SignatureView]) -> State:
    if not signatures:
        return UNSIGNED
    broken = sum(not each.valid for each in signatures)
    if broken:
        return State("A signature does not hold", "unsealed", "bad")
    times = {1: "Signed", 2: "Signed twice"}.get(len(signatures), f"Signed {len(signatures)} times")
    return State(f"{times}, verified", "sealed", "ok")


def _past(entry: EntryView, row: views.VersionRow) -> Past:
    newest = row.version == entry.newest
    return Past(
        version=row.version,
        href=f"/entries/{entry.id}" if newest else f"/entries/{entry.id}?version={row.version}",
        here=row.version == entry.version,
        at=frames.instant(row.at),
        text="signed" if row.signatures else "",
    )


def _contents(entry: EntryView) -> list[Heading]:
    found = [Heading(f"#{each.id}", each.text) for each in entry.headings if each.level <= 3 and each.text]
    if entry.conclusions:
        found.append(Heading("#conclusions", "Conclusions"))
    if entry.attachments:
        found.append(Heading("#attached", "Attached"))
    return [*found, Heading("#signatures", "Signatures")]


def _note(scope: Scope, entry: EntryView) -> Note | None:
    if entry.version != entry.newest:
        return Note(
            tint="wait",
            glyph="clock",
            title=f"This is version {entry.version}.",
            text=f"The newest is version {entry.newest}.",
            href=f"/entries/{entry.id}",
            link="Read the newest",
        )
    newer = [each.name for each in entry.attachments if each.newer]
    if entry.may_sign and entry.author.id == scope.actor.id and not entry.signatures:
        return Note(
            tint="ask",
            glyph="pen",
            title="You wrote this and have not signed it.",
            text="A signature covers the text and every file, by digest.",
            href="#sign",
            link=f"Sign version {entry.version}",
        )
    if newer:
        names = words.listing(newer[:3]) + (" and others" if len(newer) > 3 else "")
        return Note(
            tint="wait",
            glyph="file",
            title=f"{words.sentence(words.count(len(newer), 'file'))} moved on since.",
            text=f"{names} {'has' if len(newer) == 1 else 'have'} newer versions; this text rests on those it cites.",
        )
    return None


def _attached(attachments: list[AttachmentView]) -> str:
    places = sum(each.digest is None for each in attachments)
    said = f"{words.count(len(attachments), 'file')}, cited by digest"
    return f"{said}; {words.number(places)} by location only" if places else said


def _seal(each: SignatureView, version: int) -> Seal:
    meaning, _ = _MEANING.get(each.meaning, (each.meaning.capitalize(), ""))
    revoked = "" if each.key_revoked is None else " The key was revoked later."
    return Seal(
        person=frames.person(each.signer),
        meaning=meaning,
        version=version,
        at=frames.instant(each.at),
        text=f"{words.sentence(each.custody_words)}. {words.sentence(each.words)}{revoked}",
        state=_HOLDS if each.valid else _FAILS,
    )


def _signing(scope: Scope, entry: EntryView) -> tuple[Signing | None, Prompt | None]:
    """The form that signs; or what must come first."""
    if not entry.may_sign or scope.actor.kind != "person" or entry.version != entry.newest:
        return None, None
    if any(each.signer.id == scope.actor.id for each in entry.signatures):
        return None, None
    usable = [key.name for key in keys.mine(scope) if key.custody == "hub" and key.revoked is None]
    here = f"/entries/{entry.id}#sign"
    if not usable:
        first = Act("Make a key", action="key_create", fields={"name": f"{scope.actor.handle}_key"}, next=here)
        return None, Prompt("You have no signing key yet.", "This hub can hold one for you.", first)
    opened = [window.name for window in windows.mine(scope) if window.name in usable]
    if not opened:
        act = Act("Open a signing window", action="signing_window", fields={"key": usable[0]}, next=here, glyph="key")
        return None, Prompt(
            "Signing needs a moment of yours.",
            "For ten minutes after you ask, this browser may sign with your key.",
            act,
        )
    return Signing(
        next=f"/entries/{entry.id}",
        keys=opened,
        meanings=[(meaning, _MEANING[meaning][1]) for meaning in MEANINGS],
        text="The key is held by this hub: lower assurance than one on a device of yours.",
    ), None


def _sheet(entry: EntryView) -> Sheet:
    return Sheet(
        heading=f"Version {entry.newest + 1}",
        button=f"Save version {entry.newest + 1}",
        session=entry.session,
        entry_id=entry.id,
        base_version=entry.newest,
        title=entry.title,
        content=entry.content,
        conclusions=entry.conclusions,
        tools=", ".join(entry.tools_used),
        artifacts=", ".join(each.name for each in entry.attachments),
        rows=min(30, max(8, entry.content.count("\n") + 3)),
    )


def _facts(entry: EntryView) -> list[Fact]:
    first = frames.instant(entry.versions[-1].at)
    facts = [
        Fact("Called", entry.name, code=True),
        Fact("Written", words.moment(first), at=first),
        Fact("Version", f"{entry.version} of {entry.newest}"),
        Fact("Files", str(len(entry.attachments))),
        Fact("Seen by", "who can see this?", href=f"/who?object={entry.id}"),
    ]
    if entry.previous_digest:
        facts.append(Fact("Follows", words.short(entry.previous_digest), code=True))
    return facts
