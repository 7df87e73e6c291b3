"""Every payload of the seed does what it says, or is refused with all that is missing, and then nothing starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core import steps
from hub.core.context import Actor
from hub.core.errors import HubError, InvalidInput, NotAllowed, Unavailable
from hub.core.house import House
from hub.ledger.tables import ledger
from hub.orchestrator.tools import TOOLS
from hub.perform import perform as perform_action
from tests.actions.notebook_fixtures import put_file, seed_files, step_up_code
from tests.conftest import Perform

SEED: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "seed_payloads.json").read_text())


def send(house: House, actor: Actor, name: str) -> Any:
    return perform_action(house, json.dumps(SEED[name]).encode(), actor).result


def recorded(house: House) -> tuple[int, int]:
    """How many ledger lines and steps there are."""
    with house.db.read() as conn:
        return (
            conn.execute(sa.select(sa.func.count()).select_from(ledger)).scalar_one(),
            conn.execute(sa.select(sa.func.count()).select_from(steps.steps)).scalar_one(),
        )


def refused(house: House, actor: Actor, name: str, kind: type[HubError]) -> HubError:
    before = recorded(house)
    with pytest.raises(kind) as caught:
        send(house, actor, name)
    assert recorded(house) == before, "something was started or written"
    return caught.value


def test_slurm_is_named_as_missing(house: House, ana: Actor) -> None:
    for path in ("input_data.csv", "analysis_script.py"):
        put_file(house, ana, path, b"1\n")
    error = refused(house, ana, "submit_slurm_job", Unavailable)
    assert "slurm" in (error.message + " ".join(error.errors)).lower()


def test_sharing_makes_the_session_and_invites_both(house: House, ana: Actor) -> None:
    shared = send(house, ana, "share_session")
    assert shared["name"] == "ana/physics_lab_2024"
    assert {i["email"]: i["role"] for i in shared["invitations"]} == {
        "student@university.edu": "read_write",
        "professor@university.edu": "admin",
    }


def test_sharing_after_its_expiry_is_refused(house: House, ana: Actor, clock: Any) -> None:
    clock.advance(365 * 24 * 3600)
    error = refused(house, ana, "share_session", InvalidInput)
    assert error.code == "expires_in_past"


def test_an_entry_is_written_and_signed_by_the_key_that_is_named(house: House, ana: Actor, perform: Perform) -> None:
    seed_files(house, ana)
    perform(ana, "key_create", name="professor_digital_signature")
    assert refused(house, ana, "notebook_entry", NotAllowed).code == "step_up_required"
    perform(ana, "signing_window", code=step_up_code(house, ana))
    written = send(house, ana, "notebook_entry")
    assert written["title"] == "Quantum Oscillator Analysis"
    assert written["signature"]["valid"] is True


def test_an_entry_signed_by_a_key_the_author_does_not_have_is_refused(house: House, ana: Actor) -> None:
    seed_files(house, ana)
    refused(house, ana, "notebook_entry", HubError)


def test_a_version_is_added_with_its_lineage(house: House, ana: Actor) -> None:
    for path in ("raw_data.csv", "processed_data.h5", "results/analysis_2024_01_15.png"):
        put_file(house, ana, path, path.encode())
    version = send(house, ana, "version_artifact")
    assert version["path"] == "results/analysis_2024_01_15.png"


def test_a_version_of_unknown_files_lists_them_all(house: House, ana: Actor) -> None:
    put_file(house, ana, "results/analysis_2024_01_15.png", b"png")
    error = refused(house, ana, "version_artifact", InvalidInput)
    assert {"raw_data.csv", "processed_data.h5"} <= set(" ".join(error.errors).replace(":", " ").split())


def test_a_workflow_of_three_steps_is_planned(house: House, ana: Actor) -> None:
    for path in ("preprocess.py", "analyze.py", "plot_results.py", "raw_data.csv"):
        put_file(house, ana, path, b"print(1)\n")
    planned = send(house, ana, "submit_workflow")
    assert [step["step"] for step in planned["steps"]] == ["data_preprocessing", "analysis", "visualization"]
    assert [step["state"] for step in planned["steps"]][1:] == ["WAITING", "WAITING"]


def test_a_workflow_whose_files_are_missing_lists_them_all(house: House, ana: Actor) -> None:
    error = refused(house, ana, "submit_workflow", InvalidInput)
    for path in ("preprocess.py", "analyze.py", "plot_results.py"):
        assert path in " ".join((error.message, *error.errors))


def test_a_live_session_is_made_with_all_it_asks_for(house: House, ana: Actor) -> None:
    shared = send(house, ana, "share_live")
    assert shared["made"] and shared["url"].startswith("http://hub.test/s/ana/")
    assert shared["features"] == {"live_cursor": True, "voice_chat": True, "screen_sharing": True}
    assert shared["not_served_yet"] == []


def test_a_backup_policy_is_set(house: House, ana: Actor) -> None:
    policy = send(house, ana, "schedule_backup")
    assert "daily" in json.dumps(policy) and "30" in json.dumps(policy)


def test_an_experiment_is_begun_with_the_bundled_tools(house: House, ana: Actor) -> None:
    """`test_experiment_whole.py` runs it to its end."""
    begun = send(house, ana, "research_workflow")
    assert [node["state"] for node in begun["nodes"]] == ["WAITING"] * 4


def test_an_experiment_names_every_tool_that_is_missing(
    house: House, ana: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    for tool in ("data", "ml_ai_augmentation"):
        monkeypatch.delitem(TOOLS, tool)
    error = refused(house, ana, "research_workflow", Unavailable)
    told = " ".join((error.message, *error.errors))
    assert "import_hdf5" in told and "symbolic_regression_train" in told


def test_an_overleaf_export_is_begun(house: House, ana: Actor) -> None:
    put_file(house, ana, "figure.png", b"png")
    assert send(house, ana, "publication_export")
