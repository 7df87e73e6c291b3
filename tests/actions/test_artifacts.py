"""Versions through the one door: content, lineage, names, alternative texts, the backup policy."""

from __future__ import annotations

from typing import Any

import pytest
import sqlalchemy as sa

from hub import perform as door
from hub.artifacts import lineage, versions, views
from hub.artifacts.tables import files, uploads
from hub.artifacts.tables import versions as versions_table
from hub.core import steps
from hub.core.context import Actor, Context
from hub.core.errors import HubError, InvalidInput, NotAllowed, NotFound
from hub.core.house import House
from tests.actions.artifact_fixtures import upload
from tests.conftest import Perform

VERSION: dict[str, Any] = {
    "tool": "distributed_collaboration",
    "params": {
        "action": "artifact_versioning",
        "artifact_path": "results/analysis_2024_01_15.png",
        "metadata": {
            "experiment": "quantum_oscillator",
            "parameters": {"mass": 1.0, "frequency": 2.0},
            "tools_used": ["plot", "quantum"],
            "commit_hash": "abc123def456",
        },
        "lineage": ["raw_data.csv", "processed_data.h5"],
    },
}
BACKUP: dict[str, Any] = {
    "tool": "distributed_collaboration",
    "params": {
        "action": "artifact_versioning",
        "auto_backup": True,
        "backup_schedule": "daily",
        "retention_policy": "30_days",
    },
}


@pytest.fixture
def session(perform: Perform, ana: Actor) -> str:
    return str(perform(ana, "session_create", name="hcl")["session"])


def add(perform: Perform, house: House, actor: Actor, session: str, path: str, content: bytes, **more: Any) -> Any:
    digest = upload(house, actor, session, content, path)
    return perform(actor, "artifact_versioning", artifact_path=path, digest=digest, session_id=session, **more)


def test_the_seed_payload_makes_a_version_with_its_lineage(house: House, perform: Perform, ana: Actor) -> None:
    params = VERSION["params"]
    for path in params["lineage"]:
        upload(house, ana, None, path.encode(), path)
        perform(ana, "artifact_versioning", artifact_path=path)
    upload(house, ana, None, b"not really a picture", "analysis_2024_01_15.png")
    made = door.perform(house, VERSION, ana).result
    assert (made["path"], made["number"], len(made["lineage"])) == (params["artifact_path"], 1, 2)
    with house.scope(ana) as scope:
        shown = views.artifact(scope, made["artifact"])
    assert shown.metadata == params["metadata"]
    assert shown.tools_used == ["plot", "quantum"]
    assert shown.commit == "abc123def456"


def test_every_unknown_source_is_listed_in_the_one_error(
    house: House, perform: Perform, ana: Actor, session: str
) -> None:
    digest = upload(house, ana, session, b"x", "x")
    with pytest.raises(InvalidInput) as caught:
        perform(
            ana,
            "artifact_versioning",
            artifact_path="x",
            digest=digest,
            lineage=["raw.csv", "p.h5"],
            session_id=session,
        )
    assert caught.value.errors == ("raw.csv", "p.h5")
    assert caught.value.path == "$.params.lineage"


def test_versions_of_a_path_are_numbered_from_one_and_stay(
    house: House, perform: Perform, ana: Actor, session: str
) -> None:
    made = [add(perform, house, ana, session, "a.txt", f"draft {i}".encode()) for i in range(3)]
    assert [m["number"] for m in made] == [1, 2, 3]
    with house.scope(ana) as scope:
        assert [row.number for row in views.history(scope, made[0]["artifact"]).artifacts] == [3, 2, 1]
        assert views.artifact(scope, made[0]["artifact"]).digest == made[0]["digest"]
        assert views.artifact(scope, made[0]["artifact"]).newest == 3
        page = views.session_files(scope, session)
    assert [(row.path, row.number) for row in page.artifacts] == [("a.txt", 3)]


def test_without_a_digest_what_the_path_holds_already_is_described_anew(
    house: House, perform: Perform, ana: Actor, session: str
) -> None:
    first = add(perform, house, ana, session, "a.txt", b"content")
    again = perform(ana, "artifact_versioning", artifact_path="a.txt", metadata={"checked": True}, session_id=session)
    assert (again["number"], again["digest"]) == (2, first["digest"])


def test_without_a_digest_a_waiting_upload_of_that_name_is_used_once(
    house: House, perform: Perform, ana: Actor, session: str
) -> None:
    first = add(perform, house, ana, session, "data/a.txt", b"old")
    new = upload(house, ana, session, b"new", "a.txt")
    second = perform(ana, "artifact_versioning", artifact_path="data/a.txt", session_id=session)
    third = perform(ana, "artifact_versioning", artifact_path="data/a.txt", session_id=session)
    assert second["digest"] == third["digest"] == new != first["digest"]


def test_without_any_content_the_answer_says_what_to_do(perform: Perform, ana: Actor, session: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        perform(ana, "artifact_versioning", artifact_path="nothing.txt", session_id=session)
    assert caught.value.code == "content_missing"
    assert "upload" in caught.value.hint


def test_a_digest_may_be_named_only_where_it_was_uploaded_or_may_be_read(
    house: House, perform: Perform, ana: Actor, ben: Actor, session: str
) -> None:
    digest = upload(house, ana, session, b"ana's", "a.txt")
    bens = perform(ben, "session_create", name="own")["session"]
    with pytest.raises(InvalidInput) as elsewhere:
        perform(ben, "artifact_versioning", artifact_path="a.txt", digest=digest, session_id=bens)
    grant(house, session, ben, "read_write")
    with pytest.raises(InvalidInput) as not_yet_named:
        perform(ben, "artifact_versioning", artifact_path="b.txt", digest=digest, session_id=session)
    assert elsewhere.value.code == not_yet_named.value.code == "unknown_digest"
    perform(ana, "artifact_versioning", artifact_path="a.txt", digest=digest, session_id=session)
    assert perform(ben, "artifact_versioning", artifact_path="b.txt", digest=digest, session_id=session)["number"] == 1
    unknown = "sha256:" + "0" * 64
    with pytest.raises(InvalidInput) as nowhere:
        perform(ben, "artifact_versioning", artifact_path="c.txt", digest=unknown, session_id=session)
    assert nowhere.value.message.replace("0" * 64, "") == elsewhere.value.message.replace(digest[7:], "")


def grant(house: House, session: str, person: Actor, role: str) -> None:
    from hub.sessions.tables import grants

    house.db.write(
        lambda tx: tx.insert_new(
            grants, session=session, subject=person.id, via="test", role=role, at=house.clock.now()
        )
    )


def test_who_may_only_read_adds_nothing_and_strangers_learn_nothing(
    house: House, perform: Perform, ana: Actor, ben: Actor, session: str
) -> None:
    made = add(perform, house, ana, session, "a.txt", b"content")
    with house.scope(ben) as scope:
        for ref in (made["artifact"], "ana/hcl:a.txt", made["digest"]):
            with pytest.raises(NotFound) as caught:
                views.artifact(scope, ref)
            assert caught.value.code == "artifact_not_found"
    grant(house, session, ben, "read")
    with house.scope(ben) as scope:
        assert views.artifact(scope, "ana/hcl:a.txt").id == made["artifact"]
    with pytest.raises(NotAllowed):
        perform(ben, "artifact_versioning", artifact_path="a.txt", session_id=session)
    with pytest.raises(NotAllowed):
        upload(house, ben, session, b"x", "x")


def test_an_artifact_is_found_by_every_name_people_say(
    house: House, perform: Perform, ana: Actor, session: str
) -> None:
    first = add(perform, house, ana, session, "results/x@2.png", b"one")
    second = add(perform, house, ana, session, "results/x@2.png", b"two")
    personal = add(perform, house, ana, None, "own.txt", b"mine")  # type: ignore[arg-type]
    with house.scope(ana) as scope:
        meant = {
            "ana/hcl:results/x@2.png": second,
            "hcl:results/x@2.png": second,
            "ana/hcl:results/x@2.png@1": first,
            "ana/hcl:results/x@2.png@2": second,
            first["digest"]: first,
            first["artifact"]: first,
            "own.txt": personal,
        }
        for ref, version in meant.items():
            assert views.artifact(scope, ref).id == version["artifact"], ref
        for ref in ("results/x@2.png", "ana/hcl:results", "ana/hcl:results/x@2.png@3", "", "art_" + "0" * 26):
            with pytest.raises(NotFound):
                views.artifact(scope, ref)


def test_names_are_pinned_to_versions_in_the_order_given(
    house: House, perform: Perform, ana: Actor, session: str
) -> None:
    for path, content in [("a", b"1"), ("b", b"2"), ("a", b"3")]:
        add(perform, house, ana, session, path, content)
    with house.scope(ana) as scope:
        pinned = versions.resolve(scope, session, ["b", "a@1", "a"])
        assert [(p.path, p.number) for p in pinned] == [("b", 1), ("a", 1), ("a", 2)]
        with pytest.raises(InvalidInput) as caught:
            versions.resolve(scope, session, ["a", "nope", "b@9"], "$.params.artifacts")
    assert caught.value.errors == ("nope", "b@9")


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>.txt", "'; DROP TABLE versions;--", "{{7*7}}", "%2e%2e%2fpasswd", "-rf *"]
)
def test_a_hostile_name_is_kept_as_data_and_becomes_no_file(
    house: House, perform: Perform, ana: Actor, session: str, name: str
) -> None:
    made = add(perform, house, ana, session, name, b"content")
    assert made["path"] == name
    on_disk = {path.name for path in house.settings.data.rglob("*")}
    assert name not in on_disk


def test_lineage_is_a_graph_both_ways(house: House, perform: Perform, ana: Actor, session: str) -> None:
    add(perform, house, ana, session, "raw.csv", b"1,2")
    add(perform, house, ana, session, "clean.csv", b"1,2,3", lineage=["raw.csv"])
    made = add(perform, house, ana, session, "fit.json", b"{}", lineage=["clean.csv", "raw.csv"])
    with house.scope(ana) as scope:
        graph = views.lineage_graph(scope, "ana/hcl:clean.csv")
        nearest = views.lineage_graph(scope, made["artifact"], depth=1)
    labels = {node.id: node.label for node in graph.nodes}
    assert {(labels[e.source], labels[e.target]) for e in graph.edges} >= {
        ("raw.csv", "clean.csv"),
        ("clean.csv", "fit.json"),
    }
    assert [node.label for node in graph.nodes if node.current] == ["clean.csv"]
    assert {node.label for node in nearest.nodes} == {"raw.csv", "clean.csv", "fit.json"}
    assert lineage.drawing(graph).count("<rect") == 3


def test_a_jobs_outputs_stand_behind_the_job_in_the_graph(
    house: House, perform: Perform, ana: Actor, session: str
) -> None:
    raw = add(perform, house, ana, session, "raw.csv", b"1,2")
    digest = upload(house, ana, session, b"out", "out.csv")[7:]

    def collect(ctx: Context) -> str:
        made = versions.add(
            ctx, session, "out.csv", digest, lineage=[raw["artifact"]], job="job_1", author=ana.id, line=False
        )
        ctx.about("job", "job_1", session, outputs=[made.version])
        return made.version

    out = door.record(house, "job_observed", collect)
    with house.scope(ana) as scope:
        graph = views.lineage_graph(scope, out)
        assert [row.path for row in views.job_outputs(scope, "job_1")] == ["out.csv"]
        assert views.artifact(scope, out).author.handle == "ana"
    assert {(e.source, e.target) for e in graph.edges} == {(raw["artifact"], "job_1"), ("job_1", out)}


def test_a_long_lineage_is_cut_and_says_so(house: House, perform: Perform, ana: Actor, session: str) -> None:
    add(perform, house, ana, session, "step0", b"0")
    for i in range(1, 5):
        add(perform, house, ana, session, f"step{i}", str(i).encode(), lineage=[f"step{i - 1}"])
    with house.scope(ana) as scope:
        graph = views.lineage_graph(scope, "ana/hcl:step0", depth=2)
        assert [node.label for node in graph.nodes] == ["step0", "step1", "step2"]
        assert graph.truncated
        assert not views.lineage_graph(scope, "ana/hcl:step0", depth=5).truncated


def test_a_reference_is_never_shown_as_verified_without_a_digest(house: House, ana: Actor, session: str) -> None:
    source = versions.Source(cluster="raven", path="/ptmp/big.h5", size=10**12, mtime=house.clock.now())
    made = door.record(house, "job_observed", lambda ctx: versions.add_reference(ctx, session, "big.h5", source))
    with house.scope(ana) as scope:
        shown = views.artifact(scope, made.version)
    assert (shown.kind, shown.digest, shown.size) == ("reference", None, 10**12)
    assert "not verified" in shown.words
    assert shown.source is not None and shown.source.path == "/ptmp/big.h5"


def test_a_version_is_one_ledger_line_and_wakes_the_preview(
    house: House, perform: Perform, ana: Actor, session: str
) -> None:
    made = add(perform, house, ana, session, "a.txt", b"content")
    with house.db.read() as conn:
        waiting = conn.execute(sa.select(steps.steps).where(steps.steps.c.kind == "make_preview")).all()
    assert [step.object for step in waiting] == [made["artifact"]]


def test_an_idempotent_retry_adds_one_version(house: House, perform: Perform, ana: Actor, session: str) -> None:
    digest = upload(house, ana, session, b"x", "x")
    params = {"artifact_path": "x", "digest": digest, "session_id": session}
    assert perform(ana, "artifact_versioning", key="k", **params) == perform(
        ana, "artifact_versioning", key="k", **params
    )
    with house.db.read() as conn:
        assert conn.execute(sa.select(sa.func.count()).select_from(versions_table)).scalar() == 1


def test_a_refused_version_leaves_nothing_behind(house: House, perform: Perform, ana: Actor, session: str) -> None:
    digest = upload(house, ana, session, b"x", "x")
    with pytest.raises(InvalidInput):
        perform(ana, "artifact_versioning", artifact_path="x", digest=digest, lineage=["no"], session_id=session)
    with house.db.read() as conn:
        assert conn.execute(sa.select(files)).first() is None
        assert conn.execute(sa.select(uploads.c.named_at)).scalar() is None


BAD_PARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({"artifact_path": "../x"}, "bad_path"),
    ({"artifact_path": "x", "digest": "sha256:12"}, "bad_digest"),
    ({"artifact_path": "x", "metadata": {"m": "x" * 70_000}}, "metadata_too_large"),
    ({"artifact_path": "x" * 5000}, "invalid_input"),
    ({"artifact_path": "x", "lineage": ["a"] * 2000}, "invalid_input"),
    ({"artifact_path": "x", "colour": "red"}, "invalid_input"),
    ({"artifact_path": 3}, "invalid_input"),
    ({"results": "from_previous_step"}, "no_previous_step"),
    ({"results": "from_next_step"}, "invalid_input"),
    ({"auto_backup": True, "retention_policy": "for ever"}, "invalid_input"),
    ({"auto_backup": True, "backup_schedule": "hourlyish"}, "invalid_input"),
]


def test_bad_input_is_named_and_changes_nothing(house: House, perform: Perform, ana: Actor, session: str) -> None:
    for params, code in BAD_PARAMETERS:
        with pytest.raises(HubError) as caught:
            perform(ana, "artifact_versioning", session_id=session, **params)
        assert (caught.value.code, caught.value.status) == (code, 400), params
    with house.db.read() as conn:
        assert conn.execute(sa.select(versions_table)).first() is None


def test_an_alternative_text_describes_without_changing_the_version(
    house: House, perform: Perform, ana: Actor, session: str
) -> None:
    made = add(perform, house, ana, session, "a.png", b"x", alt="before")
    perform(ana, "artifact_alt", artifact="ana/hcl:a.png", alt="Absorbance against wavenumber")
    with house.scope(ana) as scope:
        shown = views.artifact(scope, made["artifact"])
    assert (shown.alt, shown.number, shown.digest) == ("Absorbance against wavenumber", 1, made["digest"])


def test_the_backup_seed_sets_a_policy_and_says_that_nothing_runs_yet(house: House, ana: Actor) -> None:
    policy = door.perform(house, BACKUP, ana).result
    assert (policy["auto_backup"], policy["backup_schedule"], policy["retention_policy"]) == (True, "daily", "30_days")
    assert policy["next_run"] is None
    assert "no scheduled backups" in policy["note"]
    with house.scope(ana) as scope:
        shown = views.backup_policy(scope, policy["session"])
    assert shown is not None and shown.retention_policy == "30_days"


def test_only_who_may_set_policies_sets_one(house: House, perform: Perform, ben: Actor, session: str) -> None:
    grant(house, session, ben, "read_write")
    with pytest.raises(NotAllowed):
        perform(ben, "artifact_versioning", auto_backup=False, session_id=session)


def test_what_cites_a_content_is_shown_and_pins_it(house: House, perform: Perform, ana: Actor, session: str) -> None:
    made = add(perform, house, ana, session, "a.txt", b"content")

    def cite(ctx: Context) -> None:
        versions.pin(ctx, session, made["digest"][7:], "entry", "ent_1")
        versions.pin(ctx, session, made["digest"][7:], "entry", "ent_1")

    door.record(house, "lab_notebook", cite)
    with house.scope(ana) as scope:
        assert [(use.kind, use.id) for use in views.uses(scope, made["artifact"])] == [("entry", "ent_1")]
        assert views.artifact(scope, made["artifact"]).pinned


def test_long_lists_come_in_pages(
    house: House, perform: Perform, ana: Actor, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.core.limits.PAGE_ITEMS", 2)
    digest = upload(house, ana, session, b"x", "x")
    for i in range(5):
        perform(ana, "artifact_versioning", artifact_path=f"f{i}", digest=digest, session_id=session)
    seen, cursor = [], None
    with house.scope(ana) as scope:
        while True:
            page = views.session_files(scope, session, cursor)
            seen += [row.path for row in page.artifacts]
            if (cursor := page.cursor) is None:
                break
        assert views.file_count(scope, session) == 5
        with pytest.raises(InvalidInput):
            views.session_files(scope, session, "x' OR 1=1")
    assert sorted(seen) == [f"f{i}" for i in range(5)]
