"""Files reach the hub whole, whatever happens on the way, and nothing else of this machine does."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import httpx
import pytest

from bot.hub_client import HubClient, NoAnswer
from bot.problems import CONFLICT, Problem
from bot.uploads import LocalUploads, NoUploads, Offered, digest_of, upload
from tests.bot.fake_hub import Answer, FakeHub, breaks, digest, problem, refuses

CONTENT = os.urandom(3_000_000)


@pytest.fixture
def hub() -> FakeHub:
    return FakeHub()


@pytest.fixture
def client(hub: FakeHub) -> HubClient:
    return HubClient("http://hub.test", "clg_x", transport=hub, pause=lambda seconds: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "here" / "data").mkdir(parents=True)
    (tmp_path / "here" / "data" / "lines.csv").write_bytes(CONTENT)
    return tmp_path / "here"


@pytest.fixture
def uploads(folder: Path, tmp_path: Path) -> LocalUploads:
    return LocalUploads(folder, tmp_path / "state" / "uploads.json")


def cut_after(hub: FakeHub, size: int):  # type: ignore[no-untyped-def]
    """The connection breaks when so many bytes of a PATCH have arrived."""

    def fault(request: httpx.Request) -> Answer | None:
        assert request.method == "PATCH"
        hub.uploads[request.url.path] += request.read()[:size]
        raise httpx.WriteError("broken pipe", request=request)

    return fault


def test_a_file_is_found_by_its_path_below_the_folder_and_by_its_name_elsewhere(
    uploads: LocalUploads, folder: Path
) -> None:
    found = uploads.find("data/lines.csv")
    assert found == Offered("data/lines.csv", folder / "data" / "lines.csv", len(CONTENT))
    assert uploads.find(str(folder / "data/lines.csv")).path == "data/lines.csv"  # type: ignore[union-attr]
    (folder.parent / "outside.csv").write_text("x")
    assert uploads.find("../outside.csv").path == "outside.csv"  # type: ignore[union-attr]
    (folder / "link.csv").symlink_to("data/lines.csv")
    assert uploads.find("link.csv").path == "link.csv"  # type: ignore[union-attr]


@pytest.mark.parametrize("name", ["nosuch.csv", "a\0b", "x" * 5000, "#!/bin/sh\ntrue\n", "data/lines.csv/x"])
def test_what_is_no_file_here_can_only_be_the_sessions(uploads: LocalUploads, name: str) -> None:
    assert uploads.find(name) is None


def test_a_folder_is_told_with_what_to_do(uploads: LocalUploads) -> None:
    with pytest.raises(Problem, match="folder") as told:
        uploads.find("data")
    assert "tar czf data.tar.gz data" in told.value.hint


def test_a_file_is_sent_with_its_name_and_digest(uploads: LocalUploads, client: HubClient, hub: FakeHub) -> None:
    offered = uploads.find("data/lines.csv")
    assert offered is not None
    assert uploads.send(client, offered, "ana/hcl") == digest(CONTENT)
    assert bytes(*hub.uploads.values()) == CONTENT
    assert hub.metadata == {"filename": "data/lines.csv", "sha256": digest(CONTENT).removeprefix("sha256:")}
    assert hub.requests[0].url.params["session"] == "ana/hcl"


def test_an_empty_file_is_a_file(uploads: LocalUploads, folder: Path, client: HubClient) -> None:
    (folder / "empty").touch()
    assert uploads.send(client, uploads.find("empty"), None) == digest(b"")  # type: ignore[arg-type]


def test_a_connection_that_breaks_in_the_middle_loses_nothing(client: HubClient, hub: FakeHub) -> None:
    passes = lambda r: None  # noqa: E731
    # Begun, cut, silent when asked where it stands, sent from a wrong offset, asked again, cut again, not there at all.
    hub.faults = [passes, cut_after(hub, 1_000_000), breaks, passes, passes, cut_after(hub, 1), refuses]
    seen: list[int] = []
    found = upload(
        client, io.BytesIO(CONTENT), len(CONTENT), name="x", session=None, report=lambda sent, size: seen.append(sent)
    )
    assert found == digest(CONTENT) and bytes(*hub.uploads.values()) == CONTENT
    assert seen[-1] == len(CONTENT)


def test_an_answer_that_was_lost_after_the_last_byte_is_asked_for(client: HubClient, hub: FakeHub) -> None:
    hub.faults = [lambda r: None, cut_after(hub, len(CONTENT))]
    assert upload(client, io.BytesIO(CONTENT), len(CONTENT), name="x", session=None) == digest(CONTENT)
    assert [request.method for request in hub.requests] == ["POST", "PATCH", "HEAD"]


def test_the_same_command_given_again_goes_on_where_it_was_cut(
    uploads: LocalUploads, folder: Path, tmp_path: Path, client: HubClient, hub: FakeHub
) -> None:
    hub.faults = [lambda r: None, cut_after(hub, 1_000_000), *[breaks] * 50]
    offered = uploads.find("data/lines.csv")
    assert offered is not None
    with pytest.raises(NoAnswer):
        uploads.send(client, offered, None)
    memory = tmp_path / "state" / "uploads.json"
    assert stat.S_IMODE(memory.stat().st_mode) == 0o600
    hub.faults, hub.requests = [], []
    again = LocalUploads(folder, memory)
    assert again.send(client, offered, None) == digest(CONTENT)
    assert [request.method for request in hub.requests] == ["HEAD", "PATCH"]
    assert hub.requests[1].headers["Upload-Offset"] == "1000000"
    assert memory.read_bytes() == b"{}"


def test_an_upload_the_hub_has_forgotten_begins_anew(
    uploads: LocalUploads, tmp_path: Path, client: HubClient, hub: FakeHub
) -> None:
    hub.faults = [lambda r: None, cut_after(hub, 10), *[breaks] * 50]
    offered = uploads.find("data/lines.csv")
    assert offered is not None
    with pytest.raises(NoAnswer):
        uploads.send(client, offered, None)
    hub.faults = []
    hub.uploads.clear()
    assert uploads.send(client, offered, None) == digest(CONTENT)


def test_the_hubs_word_counts_about_the_offset(client: HubClient, hub: FakeHub) -> None:
    def lost(request: httpx.Request) -> Answer | None:
        hub.uploads[request.url.path] += request.read()[:10]
        return problem(409, "upload_busy", "another request is still writing")

    hub.faults = [lambda r: None, lost]
    assert upload(client, io.BytesIO(CONTENT), len(CONTENT), name="x", session=None) == digest(CONTENT)


def test_a_file_that_changed_while_it_was_sent_is_not_used(
    uploads: LocalUploads, folder: Path, client: HubClient, hub: FakeHub
) -> None:
    def changes(request: httpx.Request) -> Answer | None:
        (folder / "data" / "lines.csv").write_bytes(CONTENT[::-1])
        return None

    hub.faults = [changes]
    with pytest.raises(Problem, match="changed while it was sent") as told:
        uploads.send(client, uploads.find("data/lines.csv"), None)  # type: ignore[arg-type]
    assert told.value.exit_code == CONFLICT


def test_a_file_that_shrinks_is_told(uploads: LocalUploads, folder: Path, client: HubClient, hub: FakeHub) -> None:
    def shrinks(request: httpx.Request) -> Answer | None:
        os.truncate(folder / "data" / "lines.csv", 5)
        return None

    hub.faults = [shrinks]
    with pytest.raises(Problem, match="shorter"):
        uploads.send(client, uploads.find("data/lines.csv"), None)  # type: ignore[arg-type]


def test_a_hub_that_takes_no_more_bytes_is_not_asked_for_ever(client: HubClient, hub: FakeHub) -> None:
    stands = {"Upload-Offset": "0"}
    hub.faults = [lambda r: None, *[lambda r: httpx.Response(204, headers=stands)] * 50]
    with pytest.raises(Problem, match="takes no more bytes"):
        upload(client, io.BytesIO(b"abc"), 3, name="x", session=None)
    assert len(hub.requests) < 12


def test_the_bytes_go_to_no_other_host(client: HubClient, hub: FakeHub) -> None:
    hub.faults = [lambda r: httpx.Response(201, headers={"Location": "http://elsewhere.test/x"})]
    with pytest.raises(Problem, match="another host"):
        upload(client, io.BytesIO(b"abc"), 3, name="x", session=None)


def test_a_file_that_may_not_be_read_is_told(folder: Path, uploads: LocalUploads, client: HubClient) -> None:
    offered = Offered("gone.csv", folder / "gone.csv", 3)
    with pytest.raises(Problem, match="cannot be read"):
        uploads.send(client, offered, None)


def test_a_door_without_files_has_none(client: HubClient) -> None:
    door = NoUploads()
    assert door.find("run.sh") is None and door.names() == []
    with pytest.raises(Problem, match="cannot be sent"):
        door.send(client, Offered("x", Path("x"), 1), None)


def test_a_digest_is_made_in_constant_memory(folder: Path) -> None:
    assert digest_of(folder / "data" / "lines.csv") == digest(CONTENT)
