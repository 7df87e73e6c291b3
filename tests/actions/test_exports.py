"""The Overleaf project: what is in it, that it is the same each time, and that no text in it becomes a command."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from hub.artifacts.blobs import BlobStore
from hub.artifacts.tables import lineage
from hub.core import steps
from hub.core.context import Actor
from hub.core.errors import InvalidInput, NotAllowed, NotFound, Unavailable
from hub.core.house import House
from hub.core.steps import steps as steps_table
from hub.exports import latex, rules, views
from hub.work import entry
from tests.actions.notebook_fixtures import grant, personal, put_file
from tests.conftest import Perform, make_person


def run_steps(house: House, kind: str = "make_export") -> None:
    """Carry out what is waiting, as a worker would."""
    with house.db.read() as conn:
        waiting = conn.execute(
            sa.select(steps_table.c.id).where(steps_table.c.kind == kind, steps_table.c.done_at.is_(None))
        ).scalars()
        ids = list(waiting)
    for step_id in ids:
        entry.carry_out(house, step_id)


def ask(perform: Perform, actor: Actor, **params: Any) -> Any:
    return perform(actor, "export", tool="export_tool", **{"export_type": "overleaf", **params})


def made(house: House, actor: Actor, export: str) -> tuple[views.ExportView, zipfile.ZipFile]:
    """The finished export and its project."""
    run_steps(house)
    with house.scope(actor) as scope:
        shown = views.export(scope, export)
        assert shown.state == "READY", shown.error
        digest = scope.execute(sa.text("SELECT digest FROM versions WHERE id = :id"), {"id": shown.artifact}).scalar()
    content = b"".join(house.port(BlobStore).open(digest, shown.session))
    return shown, zipfile.ZipFile(io.BytesIO(content))


def test_the_seed_export_holds_figures_captions_and_provenance(house: House, ana: Actor, perform: Perform) -> None:
    raw = put_file(house, ana, "raw_data.csv", b"v,e\n0,0.5\n")
    figure = put_file(
        house,
        ana,
        "results/levels.png",
        b"\x89PNG levels",
        alt="Six equidistant levels",
        lineage=[raw.version],
        tools_used=["plot 3.1", "quantum"],
        commit="abc123def456",
    )
    put_file(house, ana, "band.pdf", b"%PDF", metadata={"caption": "The band"})
    asked = ask(perform, ana, artifacts="from_distributed_collaboration", provenance="included")
    assert (asked["state"], asked["files"], asked["path"]) == ("QUEUED", 3, "exports/overleaf-personal.zip")
    shown, project = made(house, ana, asked["export"])
    assert project.namelist() == [
        "main.tex",
        "provenance.json",
        "figures/001-band.pdf",
        "data/002-raw-data.csv",
        "figures/003-levels.png",
    ]
    assert project.read("figures/003-levels.png") == b"\x89PNG levels"
    text = project.read("main.tex").decode()
    assert (
        r"\includegraphics[width=0.85\linewidth,height=0.4\textheight,keepaspectratio]{figures/003-levels.png}" in text
    )
    assert "Six equidistant levels" in text
    assert "The band" in text
    assert figure.digest is not None
    assert figure.digest[:32] in text
    assert figure.digest[32:] in text
    assert "plot 3.1" in text
    assert f"http://hub.test/artifacts/{figure.version}" in text
    listed = json.loads(project.read("provenance.json"))["files"]
    assert [each["path"] for each in listed] == ["band.pdf", "raw_data.csv", "results/levels.png"]
    assert listed[2]["made_from"] == [
        f"raw_data.csv@1 ({hashlib.sha256(b'v,e' + bytes([10]) + b'0,0.5' + bytes([10])).hexdigest()[:12]})"
    ]
    with house.db.read() as conn:
        sources = conn.execute(sa.select(lineage.c.source).where(lineage.c.version == shown.artifact)).scalars().all()
    assert len(sources) == 3


def test_the_same_materials_give_the_same_bytes(house: House, ana: Actor, perform: Perform) -> None:
    put_file(house, ana, "a.png", b"figure")
    first, one = made(house, ana, ask(perform, ana)["export"])
    second, two = made(house, ana, ask(perform, ana)["export"])
    assert first.artifact != second.artifact
    assert one.fp is not None
    assert two.fp is not None
    assert one.fp.read() == two.fp.read()
    assert [each.export for each in _list(house, ana)] == [second.export, first.export]


def _list(house: House, actor: Actor) -> list[views.ExportView]:
    with house.scope(actor) as scope:
        return views.session_exports(scope, None)


def test_a_project_can_do_without_provenance_and_take_named_files_only(
    house: House, ana: Actor, perform: Perform
) -> None:
    put_file(house, ana, "a.png", b"old")
    put_file(house, ana, "a.png", b"new")
    put_file(house, ana, "b.png", b"b")
    _, project = made(house, ana, ask(perform, ana, artifacts=["a.png@1"], provenance="none")["export"])
    assert project.namelist() == ["main.tex", "figures/001-a.png"]
    assert project.read("figures/001-a.png") == b"old"
    assert "Provenance" not in project.read("main.tex").decode()


def test_what_went_in_was_fixed_when_it_was_asked_for(house: House, ana: Actor, perform: Perform) -> None:
    put_file(house, ana, "a.png", b"then")
    asked = ask(perform, ana)
    put_file(house, ana, "a.png", b"now")
    assert made(house, ana, asked["export"])[1].read("figures/001-a.png") == b"then"


NOT_THERE_YET: list[str] = ["eln", "ro_crate", "pdf", "folder"]


def test_archives_that_are_not_there_yet_are_named_and_nothing_starts(
    house: House, ana: Actor, perform: Perform
) -> None:
    put_file(house, ana, "a.png", b"a")
    for kind in NOT_THERE_YET:
        with pytest.raises(Unavailable) as refused:
            ask(perform, ana, export_type=kind)
        assert refused.value.errors == (f"export_tool: {kind}",)
        assert _list(house, ana) == []


BAD: list[dict[str, Any]] = [
    {"export_type": "word"},
    {"artifacts": "everything"},
    {"artifacts": []},
    {"artifacts": ["a.png", "missing.png"]},
    {"artifacts": ["a.png"] * 1001},
    {"artifacts": ["a" * 1025]},
    {"artifacts": ["\x00"]},
    {"provenance": "maybe"},
    {"unknown": 1},
]


def test_bad_exports_are_refused(house: House, ana: Actor, perform: Perform) -> None:
    put_file(house, ana, "a.png", b"a")
    for params in BAD:
        with pytest.raises(InvalidInput):
            ask(perform, ana, **params)
        assert _list(house, ana) == []


def test_an_empty_session_has_nothing_to_export(ana: Actor, perform: Perform) -> None:
    with pytest.raises(InvalidInput) as refused:
        ask(perform, ana)
    assert refused.value.code == "nothing_to_export"


def test_who_may_only_read_exports_nothing(house: House, ana: Actor, ben: Actor, perform: Perform) -> None:
    put_file(house, ana, "a.png", b"a")
    reader = make_person(house, "rea")
    grant(house, personal(house, ana), reader, "read")
    with pytest.raises(NotAllowed):
        ask(perform, reader, session_id=personal(house, ana))
    with pytest.raises(NotFound):
        ask(perform, ben, session_id=personal(house, ana))
    asked = ask(perform, ana)
    with pytest.raises(NotFound), house.scope(ben) as scope:
        views.export(scope, asked["export"])


def test_content_that_is_gone_fails_the_export_and_says_so(house: House, ana: Actor, perform: Perform) -> None:
    lost = put_file(house, ana, "a.png", b"a")
    asked = ask(perform, ana)
    assert lost.digest is not None
    house.port(BlobStore).delete(lost.digest, personal(house, ana))
    run_steps(house)
    assert _list(house, ana)[0].state == "FAILED"
    assert _list(house, ana)[0].export == asked["export"]
    assert "no content" in (_list(house, ana)[0].error or "")


def test_a_step_that_was_overtaken_records_nothing(house: House, ana: Actor, perform: Perform) -> None:
    put_file(house, ana, "a.png", b"a")
    ask(perform, ana)
    with house.db.read() as conn:
        step_id = conn.execute(sa.select(steps_table.c.id).where(steps_table.c.kind == "make_export")).scalar_one()
    stale = house.db.write(lambda tx: steps.claim(tx, step_id, "one", house.clock.now()))
    assert stale is not None
    with house.db.write_engine.begin() as conn:
        conn.execute(sa.update(steps_table).where(steps_table.c.id == step_id).values(attempt=2))
    with pytest.raises(steps.StaleStep):
        steps.RUNNERS["make_export"](stale, house)
    assert _list(house, ana)[0].state == "QUEUED"


HOSTILE = r"\input{/etc/passwd} \write18{rm -rf ~} $x$ %\end{document} #1 & _ ^ ~ {} \\ ℏω 量子 😀 ``x'' --- ^^5c"


def test_nothing_people_wrote_becomes_a_command(house: House, ana: Actor, perform: Perform) -> None:
    put_file(
        house,
        ana,
        "fig<b>%$.png",
        b"a",
        alt=HOSTILE + "]",
        tools_used=[r"\immediate\write18{id}"],
        metadata={"caption": HOSTILE},
    )
    _, project = made(house, ana, ask(perform, ana)["export"])
    text = project.read("main.tex").decode()
    body = text.partition(r"\begin{document}")[2]
    assert text.count(r"\end{document}") == 1
    commands = set(re.findall(r"\\([a-zA-Z@]+)", body))
    assert not commands & {"input", "write", "immediate", "include", "openin", "def", "catcode", "csname"}
    assert project.namelist() == ["main.tex", "provenance.json", "figures/001-fig-b.png"]


@given(st.text(max_size=200))
def test_escaped_text_holds_only_what_prints(text: str) -> None:
    written = rules.escaped(text)
    known = (
        r"\\(?:text(?:backslash|asciicircum|asciitilde|less|greater|bar|quotedbl|quotesingle|asciigrave)\{\}"
        r"|anychar\{[0-9A-F]+\}|[{}$&#%_])|-\{\}"
    )
    assert re.fullmatch(rf"(?:{known}|[^\\{{}}$&#%_^~<>|\"'`\n\r\t-])*", written)
    assert "--" not in written


@pytest.mark.parametrize(
    "path", ["../../etc/passwd.png", "/abs.png", "a\\b.png", "😀.png", "." * 50 + ".png", "x" * 500]
)
def test_file_names_in_a_project_are_plain(path: str) -> None:
    material = rules.Material(
        version="art_1",
        path=path,
        number=1,
        kind="stored",
        digest="a" * 64,
        size=1,
        media_type="image/png",
        alt=None,
        metadata={},
        tools_used=(),
        author="Ana",
        at="2024-06-01T12:00:00Z",
        commit=None,
        job=None,
        made_from=(),
    )
    name = rules.chosen([material])[0].name
    assert name is not None
    assert re.fullmatch(r"figures/001-[A-Za-z0-9-]{1,60}\.png", name)


def test_what_is_too_large_or_elsewhere_is_listed_with_the_reason() -> None:
    def material(**changed: Any) -> rules.Material:
        plain: dict[str, Any] = {
            "version": "art_1",
            "path": "big.png",
            "number": 1,
            "kind": "stored",
            "digest": "a" * 64,
            "size": 1,
            "media_type": "image/png",
            "alt": None,
            "metadata": {},
            "tools_used": (),
            "author": "Ana",
            "at": "2024-06-01T12:00:00Z",
            "commit": None,
            "job": None,
            "made_from": (),
        }
        return rules.Material(**{**plain, **changed})

    included = rules.chosen(
        [
            material(size=rules.FIGURE_BYTES + 1),
            material(kind="reference", digest=None),
            material(media_type="application/x-hdf5"),
        ]
    )
    assert [each.name for each in included] == [None, None, None]
    text = latex.document("T", ["Ana"], included, "http://hub.test", with_provenance=True)
    assert "too large for a project" in text
    assert "only its location is known here" in text
    assert "neither a figure nor a table" in text
    assert "There are no figures in this project." in text
