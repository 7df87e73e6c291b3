"""Writing in the notebook: numbers, versions, conflicts, what is cited, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from hub.artifacts.tables import pins
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import Conflict, InvalidInput, NotAllowed, NotFound
from hub.core.house import House
from hub.ledger.tables import ledger_bodies
from hub.notebook import proofs, views
from hub.notebook.tables import entries, entry_versions, signatures
from tests.actions.notebook_fixtures import ENTRY, PLAIN, grant, personal, put_file, seed_files
from tests.conftest import Perform, make_person


def count(house: House, table: sa.Table) -> int:
    with house.db.read() as conn:
        return int(conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one())


def show(house: House, actor: Actor, ref: str, version: int | None = None) -> views.EntryView:
    with house.scope(actor) as scope:
        return views.entry(scope, ref, version)


def test_an_entry_is_kept_numbered_and_shown(house: House, ana: Actor, perform: Perform) -> None:
    seed_files(house, ana)
    written = perform(ana, "lab_notebook", entry=ENTRY)
    assert (written["number"], written["version"], written["name"]) == (1, 1, "ana/personal#n1")
    assert written["url"] == f"http://hub.test/entries/{written['entry']}"
    assert written["signature"] is None
    shown = show(house, ana, written["entry"])
    assert shown.title == ENTRY["title"]
    assert shown.tools_used == ("cas", "plot", "quantum")
    assert [each.name for each in shown.attachments] == ENTRY["artifacts"]
    assert all(each.digest and each.number == 1 for each in shown.attachments)
    assert shown.conclusions_html == "<p>Energy levels follow E_n = (n + 1/2)ℏω</p>\n"
    assert shown.author.handle == "ana"
    assert shown.may_write
    assert perform(ana, "lab_notebook", entry=PLAIN)["number"] == 2


def test_pictures_of_an_entry_are_shown_in_its_text(house: House, ana: Actor, perform: Perform) -> None:
    figure = put_file(house, ana, "energy_levels.png", b"\x89PNG", alt="Six levels")
    content = "![](energy_levels.png) and ![x](https://evil.example/x.png)"
    written = perform(
        ana, "lab_notebook", entry={"title": "Pictures", "content": content, "artifacts": ["energy_levels.png"]}
    )
    shown = show(house, ana, written["entry"])
    assert f'<img src="/api/artifacts/{figure.version}/preview" alt="Six levels" loading="lazy">' in shown.html
    assert 'src="https://' not in shown.html


def test_every_unknown_artifact_is_named_and_nothing_stored(house: House, ana: Actor, perform: Perform) -> None:
    put_file(house, ana, "wavefunctions.svg", b"<svg/>")
    with pytest.raises(InvalidInput) as refused:
        perform(ana, "lab_notebook", entry={**PLAIN, "artifacts": ["a.png", "wavefunctions.svg", "b.png"]})
    assert refused.value.errors == ("a.png", "b.png")
    assert refused.value.path == "$.params.entry.artifacts"
    assert count(house, entries) == 0
    assert perform(ana, "lab_notebook", entry=PLAIN)["number"] == 1


def test_what_an_entry_cites_is_pinned(house: House, ana: Actor, perform: Perform) -> None:
    seed_files(house, ana)
    written = perform(ana, "lab_notebook", entry=ENTRY)
    with house.db.read() as conn:
        rows = conn.execute(sa.select(pins)).all()
    assert {row.digest for row in rows} == {a.digest for a in show(house, ana, written["entry"]).attachments}
    assert {(row.reason_kind, row.reason_id) for row in rows} == {("entry", written["entry"])}


def test_an_edit_is_a_new_version_and_the_old_one_stays(
    house: House, ana: Actor, perform: Perform, clock: FrozenClock
) -> None:
    put_file(house, ana, "fit.png", b"first")
    first = perform(ana, "lab_notebook", entry={**PLAIN, "artifacts": ["fit.png"]})
    put_file(house, ana, "fit.png", b"second")
    clock.advance(60)
    second = perform(
        ana,
        "lab_notebook",
        entry={"title": "A day", "content": "Something", "artifacts": ["fit.png"]},
        entry_id=first["entry"],
        base_version=1,
    )
    assert (second["entry"], second["number"], second["version"]) == (first["entry"], 1, 2)
    old, new = show(house, ana, first["entry"], 1), show(house, ana, first["entry"])
    assert (old.content, new.content) == ("Nothing to cite", "Something")
    assert (old.attachments[0].number, new.attachments[0].number) == (1, 2)
    assert old.attachments[0].newer
    assert not new.attachments[0].newer
    assert new.previous_digest == old.digest
    assert [row.version for row in new.versions] == [2, 1]


def test_a_stale_edit_is_told_who_wrote_what_when(
    house: House, ana: Actor, ben: Actor, perform: Perform, clock: FrozenClock
) -> None:
    session = personal(house, ana)
    grant(house, session, ben, "read_write")
    written = perform(ana, "lab_notebook", entry=PLAIN)
    clock.advance(60)
    perform(ana, "lab_notebook", entry={**PLAIN, "content": "two"}, entry_id=written["entry"], base_version=1)
    with pytest.raises(Conflict) as refused:
        perform(ben, "lab_notebook", entry={**PLAIN, "content": "mine"}, entry_id=written["entry"], base_version=1)
    assert refused.value.code == "stale_version"
    assert "Ana wrote version 2 on 2024-06-01T12:01:00" in refused.value.message
    assert count(house, entry_versions) == 2


BAD: list[tuple[dict[str, Any], str]] = [
    ({"base_version": 1}, "$.params.base_version"),
    ({"entry_id": "n1"}, "$.params.base_version"),
    ({"entry_id": "n1", "base_version": 0}, "$.params.base_version"),
    ({"entry_id": "n1", "base_version": "1"}, "$.params.base_version"),
    ({"entry_id": ""}, "$.params.entry_id"),
    ({"entry": {**PLAIN, "author": "ben"}}, "$.params.entry"),
    ({"entry": {"title": "x"}}, "$.params.entry"),
    ({"entry": {**PLAIN, "title": 1}}, "$.params.entry.title"),
    ({"entry": {**PLAIN, "title": "t" * 301}}, "$.params.entry.title"),
    ({"entry": {**PLAIN, "title": "a\nb"}}, "$.params.entry.title"),
    ({"entry": {**PLAIN, "content": "c" * 200_001}}, "$.params.entry.content"),
    ({"entry": {**PLAIN, "content": "nul \x00"}}, "$.params.entry.content"),
    ({"entry": {**PLAIN, "content": "half \ud800"}}, "$.params.entry.content"),
    ({"entry": {**PLAIN, "content": "bell \x07"}}, "$.params.entry.content"),
    ({"entry": {**PLAIN, "tools_used": "cas"}}, "$.params.entry.tools_used"),
    ({"entry": {**PLAIN, "tools_used": ["x"] * 101}}, "$.params.entry.tools_used"),
    ({"entry": {**PLAIN, "artifacts": ["a", 2]}}, "$.params.entry.artifacts[1]"),
    ({"signature": "x" * 700_001}, "$.params.signature"),
    ({"signature": 5}, "$.params.signature"),
    ({"unknown": 5}, "$.params"),
]


def test_bad_input_is_refused_by_place_and_loses_nothing(house: House, ana: Actor, perform: Perform) -> None:
    perform(ana, "lab_notebook", entry=PLAIN)
    for params, path in BAD:
        with pytest.raises(InvalidInput) as refused:
            perform(ana, "lab_notebook", **{"entry": PLAIN, **params})
        assert refused.value.path == path, (path, refused.value)
        assert count(house, entry_versions) == 1


def test_html_in_every_name_is_kept_and_shown_harmless(house: House, ana: Actor, perform: Perform) -> None:
    name = "<img src=x onerror=alert(1)>.png"
    put_file(house, ana, name, b"\x89PNG")
    hostile = "<script>alert(1)</script>"
    written = perform(
        ana,
        "lab_notebook",
        entry={
            "title": hostile,
            "content": f"{hostile}\n\n![{hostile}](<artifact:{name}>)",
            "tools_used": [hostile],
            "artifacts": [name],
            "conclusions": hostile,
        },
    )
    shown = show(house, ana, written["entry"])
    assert shown.title == hostile
    assert shown.attachments[0].name == name
    assert "<script" not in shown.html + shown.conclusions_html
    assert "onerror=alert" not in shown.html.replace("%20", " ").replace("onerror=alert(1)&gt;", "")


def test_text_no_page_can_carry_is_shown_as_written(house: House, ana: Actor, perform: Perform) -> None:
    written = perform(ana, "lab_notebook", entry={"title": "Brackets", "content": "[" * 20_000})
    shown = show(house, ana, written["entry"])
    assert shown.html.startswith('<p class="missing">Shown as it was written: the text holds more than')
    assert shown.html.endswith("</pre>")


def test_who_may_only_read_writes_nothing_and_strangers_see_nothing(
    house: House, ana: Actor, ben: Actor, perform: Perform
) -> None:
    written = perform(ana, "lab_notebook", entry=PLAIN)
    reader = make_person(house, "rea")
    grant(house, personal(house, ana), reader, "read")
    assert show(house, reader, written["entry"]).may_write is False
    with pytest.raises(NotAllowed):
        perform(reader, "lab_notebook", entry=PLAIN, entry_id=written["entry"], base_version=1)
    with pytest.raises(NotAllowed):
        perform(reader, "note_sign", entry=written["entry"], signature="k", meaning="reviewed")
    with pytest.raises(NotFound):
        show(house, ben, written["entry"])
    with pytest.raises(NotFound):
        perform(ben, "lab_notebook", entry=PLAIN, session_id=personal(house, ana))
    with pytest.raises(NotFound):
        perform(ben, "lab_notebook", entry=PLAIN, entry_id=written["entry"], base_version=1)
    with pytest.raises(NotFound):
        perform(ben, "note_sign", entry=written["entry"], signature="k")
    narrow = msgspec.structs.replace(ana, scopes=frozenset({"entry:read"}))
    with pytest.raises((NotAllowed, NotFound)):
        perform(narrow, "lab_notebook", entry=PLAIN)
    assert count(house, entries) == 1


NAMES: list[str] = ["n1", "N1", "1", "note 1", "entry 1", "#n1", "ana/personal#n1", "personal#1"]


def test_entries_answer_to_the_names_people_say(house: House, ana: Actor, perform: Perform) -> None:
    written = perform(ana, "lab_notebook", entry=PLAIN)
    for ref in NAMES:
        assert show(house, ana, ref).id == written["entry"]


NO_NAMES: list[str] = ["n2", "n0", "", "ben/personal#n1", "nobody#n1", "n1; drop", "n" + "1" * 20, "\x00"]


def test_what_names_no_entry_is_not_found(house: House, ana: Actor, ben: Actor, perform: Perform) -> None:
    perform(ana, "lab_notebook", entry=PLAIN)
    perform(ben, "lab_notebook", entry=PLAIN)
    for ref in NO_NAMES:
        with pytest.raises(NotFound):
            show(house, ana, ref)


def test_a_version_that_is_not_there_is_not_found(house: House, ana: Actor, perform: Perform) -> None:
    perform(ana, "lab_notebook", entry=PLAIN)
    for version in (0, 2, -1):
        with pytest.raises(NotFound):
            show(house, ana, "n1", version)


def test_a_list_goes_on_where_its_cursor_says(house: House, ana: Actor, perform: Perform) -> None:
    for number in range(103):
        perform(ana, "lab_notebook", entry={"title": f"Day {number + 1}", "content": "x  \n" * 100})
    with house.scope(ana) as scope:
        first = views.session_entries(scope, None)
        rest = views.session_entries(scope, None, first.cursor)
        with pytest.raises(InvalidInput):
            views.session_entries(scope, None, "1; drop table")
    assert [row.number for row in first.entries] == list(range(103, 3, -1))
    assert [row.number for row in rest.entries] == [3, 2, 1]
    assert rest.cursor is None
    assert "\n" not in first.entries[0].excerpt


def test_the_ledger_has_ids_and_digests_and_no_words(house: House, ana: Actor, perform: Perform) -> None:
    seed_files(house, ana)
    written = perform(ana, "lab_notebook", entry=ENTRY)
    with house.db.read() as conn:
        bodies = [row.bytes for row in conn.execute(sa.select(ledger_bodies).order_by(ledger_bodies.c.line))]
    body = json.loads(bodies[-1])
    assert (body["action"], body["object_kind"], body["object"]) == ("lab_notebook", "entry", written["entry"])
    assert body["facts"]["body"] == written["digest"]
    assert len(body["facts"]["attachments"]) == 2
    assert ENTRY["title"].encode() not in b"".join(bodies)


def test_changed_rows_are_noticed(house: House, ana: Actor, perform: Perform) -> None:
    written = perform(ana, "lab_notebook", entry=PLAIN)
    perform(ana, "lab_notebook", entry={**PLAIN, "content": "two"}, entry_id="n1", base_version=1)
    with house.scope(ana) as scope:
        good = proofs.verification(scope, "n1", 1)
    assert good.valid
    assert not good.signed
    assert good.words == "The text is what was saved. Nobody has signed this version."
    with house.db.write_engine.begin() as conn:
        conn.execute(sa.update(entry_versions).where(entry_versions.c.version == 1).values(content="forged"))
    with house.scope(ana) as scope:
        forged = proofs.verification(scope, written["entry"], 1)
        intact = proofs.verification(scope, written["entry"], 2)
    assert not forged.valid
    assert "the text is not what was saved" in forged.words
    assert intact.valid
    with house.db.write_engine.begin() as conn:
        conn.execute(sa.update(entry_versions).where(entry_versions.c.version == 2).values(previous_digest="0" * 64))
    with house.scope(ana) as scope:
        assert "the history breaks at version 2" in proofs.verification(scope, written["entry"], 1).words


def test_the_same_key_twice_writes_one_entry(house: House, ana: Actor, perform: Perform) -> None:
    first = perform(ana, "lab_notebook", entry=PLAIN, key="retry-1")
    assert perform(ana, "lab_notebook", entry=PLAIN, key="retry-1") == first
    assert count(house, entries) == 1


def test_no_key_no_signature(house: House, perform: Perform) -> None:
    eva = make_person(house, "eva")
    perform(eva, "lab_notebook", entry=PLAIN)
    with pytest.raises(InvalidInput):
        perform(eva, "note_sign", entry="n1", signature="none")
    assert count(house, signatures) == 0
