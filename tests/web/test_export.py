"""Leaving: what `collegium export` writes can be read and checked without Collegium, and is taken up where it broke."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from starlette.testclient import TestClient

from bot.commands import tree
from bot.terminal import receive
from hub.core.context import Actor
from hub.core.house import House
from hub.notebook import dsse
from hub.web.inside import Inside
from tests.actions.notebook_fixtures import detached, put_file, step_up_code
from tests.bot.conftest import Ran, Stream
from tests.conftest import Perform
from tests.web.conftest import Client

pytestmark = pytest.mark.slow

Export = Callable[..., Ran]


class ByTestClient(httpx.BaseTransport):
    """The shell's requests, answered by a web process in memory; `faults` may answer or break first."""

    def __init__(self, client: TestClient) -> None:
        self._client = client
        self.asked: list[str] = []
        self.faults: list[Callable[[httpx.Request], httpx.Response | None]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        for fault in self.faults:
            if (answer := fault(request)) is not None:
                return answer
        found = self._client.request(
            request.method, request.url.raw_path.decode(), headers=dict(request.headers), content=request.read()
        )
        return httpx.Response(found.status_code, headers=found.headers, content=found.content)

    def close(self) -> None:
        pass


def check_sums(root: Path) -> None:
    """What `sha256sum -c` does."""
    for line in (root / "SHA256SUMS").read_text().splitlines():
        digest, _, path = line.partition("  ")
        assert hashlib.sha256((root / path).read_bytes()).hexdigest() == digest, path


@pytest.fixture
def hub(client: Client, ana: Actor) -> ByTestClient:
    return ByTestClient(client(ana))


@pytest.fixture
def export(hub: ByTestClient, tmp_path: Path) -> Iterator[Export]:
    def run(*words: str, **options: Any) -> Ran:
        out, err = Stream(), Stream()
        environ = {"HOME": str(tmp_path), "COLLEGIUM_HUB": "http://hub.test", "TERM": "dumb"}
        code = receive(
            tree, ("export", *words), environ=environ, stdout=out, stderr=err, here=tmp_path,
            transport=options.get("transport", hub),
        )  # fmt: skip
        return Ran(code, out.text, err.text)

    yield run


@pytest.fixture
def lived_in(house: House, ana: Actor, perform: Perform) -> House:
    """A session with versions, a signed entry, a job and a word."""
    put_file(house, ana, "data/levels.csv", b"n,E\n")
    put_file(house, ana, "data/levels.csv", b"n,E\n0,0.5\n", alt="Levels")
    put_file(house, ana, "Data/LEVELS.csv", b"shouted")
    pair = dsse.make_key()
    perform(ana, "key_create", name="laptop", public=pair.public.hex(), code=step_up_code(house, ana))
    entry = {"title": "Levels / of: HCl?", "content": "They *rise*.\n", "artifacts": ["data/levels.csv"]}
    written = perform(ana, "lab_notebook", entry=entry)
    signed = detached(house, ana, written["entry"], "laptop", pair.private)
    perform(ana, "note_sign", entry=written["entry"], signature=signed)
    perform(ana, "room_message", session_id="ana/personal", text="two\nlines", client_id="c1")
    perform(ana, "job_submit", script="#!/bin/sh\necho hello\n")
    perform(ana, "link_create", role="read", label="for the reviewer")
    return house


def test_everything_is_there_and_its_sums_agree(lived_in: House, export: Export, tmp_path: Path) -> None:
    ran = export("ana/personal", "out")
    assert ran.code == 0, ran.err
    root = tmp_path / "out"
    check_sums(root)
    listed = {line.partition("  ")[2] for line in (root / "SHA256SUMS").read_text().splitlines()}
    assert listed | {"SHA256SUMS"} == {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()}
    place = root / "ana" / "personal"
    assert (place / "artifacts" / "data~2" / "levels.csv").read_bytes() == b"n,E\n0,0.5\n"
    assert (place / "older" / "data" / "levels@1.csv").read_bytes() == b"n,E\n"
    # Two folders that differ by case alone lie apart, and the manifest says which is which.
    manifest = json.loads((root / "manifest.json").read_text())
    called = {one["called"]: path for path, one in manifest["files"].items()}
    assert (root / called["Data/LEVELS.csv"]).read_bytes() == b"shouted"
    assert manifest["complete"] and not (root / "INCOMPLETE.txt").exists()
    job = json.loads((place / "jobs" / next(p.name for p in (place / "jobs").iterdir()) / "job.json").read_text())
    assert job["submitted_by"] == "ana" and "echo hello" in job["script"]["text"]
    about = (place / "session.json").read_text()
    assert json.loads(about)["people"][0]["handle"] == "ana" and "for the reviewer" in about
    assert "clgl_" not in about and "secret" not in about
    assert "] Ana (ana): two\n    lines\n" in (place / "messages.txt").read_text()
    info = json.loads((place / "artifacts.json").read_text())
    assert {one["file"] for one in info} == {p for p in listed if "/artifacts/" in p or "/older/" in p}


def test_drafts_are_there_as_markdown_with_their_versions(
    lived_in: House, ana: Actor, perform: Perform, export: Export, hub: ByTestClient, tmp_path: Path
) -> None:
    draft = perform(ana, "draft_create", name="Plan: A/B?", text="# Plan\n\nfirst\n")["id"]
    first = perform(ana, "draft_version", draft=draft, name="as sent")
    entry = {"title": "Of it", "content": "# Plan\n\nfirst\n", "draft_version": first["id"]}
    perform(ana, "lab_notebook", entry=entry)
    other = perform(ana, "draft_create", name="Plan: A/B?", text="")["id"]
    ran = export("ana/personal", "out")
    assert ran.code == 0 and "2 drafts" in ran.out, ran.err
    root, place = tmp_path / "out", tmp_path / "out" / "ana" / "personal" / "drafts"
    check_sums(root)
    home = place / "d1-Plan_ A_B_"
    assert (home / "text.md").read_text() == (home / "v1.md").read_text() == "# Plan\n\nfirst\n"
    assert (place / "d2-Plan_ A_B_" / "text.md").read_bytes() == b""
    told = json.loads((home / "draft.json").read_text())
    assert (told["ref"], told["name"], told["created_by"]) == ("ana/personal#d1", "Plan: A/B?", "ana")
    (version,) = told["versions"]
    assert (version["name"], version["author"]) == ("as sent", "ana")
    assert version["sha256"] == hashlib.sha256((root / version["file"]).read_bytes()).hexdigest()
    page = (place.parent / "entries" / "n2-Of it" / "v1.md").read_text()
    assert f'draft_version: {{"id":"{first["id"]}","file":"{version["file"]}"}}' in page
    # Taken up again, what changed is fetched, a version is not; what was removed at the hub stays.
    perform(ana, "draft_rename", draft=draft, name="Plan C")
    perform(ana, "draft_remove", draft=other)
    hub.asked.clear()
    assert export("ana/personal", "out").code == 0
    check_sums(root)
    assert not [path for path in hub.asked if path.startswith("/api/drafts/") and "/versions/" in path]
    assert json.loads((home / "draft.json").read_text())["name"] == "Plan C"
    assert (place / "d2-Plan_ A_B_" / "text.md").exists()


def test_a_draft_that_is_removed_while_it_is_exported_is_said_to_be_missing(
    lived_in: House, ana: Actor, perform: Perform, export: Export, hub: ByTestClient, tmp_path: Path
) -> None:
    draft = perform(ana, "draft_create", name="Plan", text="x")["id"]

    def removed(request: httpx.Request) -> None:
        if request.url.path == f"/api/drafts/{draft}":
            hub.faults.clear()
            perform(ana, "draft_remove", draft=draft)

    hub.faults.append(removed)
    ran = export("ana/personal", "out")
    assert ran.code == 0 and "0 drafts" in ran.out and "left out: draft 1: there is no draft" in ran.out
    check_sums(tmp_path / "out")


def test_a_signature_verifies_and_names_what_lies_beside_it(lived_in: House, export: Export, tmp_path: Path) -> None:
    assert export("ana/personal", "out").code == 0
    entries = tmp_path / "out" / "ana" / "personal" / "entries"
    (home,) = entries.iterdir()
    assert home.name == "n1-Levels _ of_ HCl_"
    (signature,) = (each.with_suffix("") for each in (home / "signatures").glob("*.pae"))
    public = load_pem_public_key(Path(f"{signature}.pem").read_bytes())
    assert isinstance(public, Ed25519PublicKey)
    public.verify(Path(f"{signature}.sig").read_bytes(), Path(f"{signature}.pae").read_bytes())
    envelope = json.loads(Path(f"{signature}.dsse.json").read_bytes())
    payload = base64.b64decode(envelope["payload"])
    assert payload in Path(f"{signature}.pae").read_bytes()
    subjects = {one["name"]: one["digest"]["sha256"] for one in json.loads(payload)["subject"]}
    assert subjects["urn:collegium:entry:body"] == hashlib.sha256((home / "v1.body").read_bytes()).hexdigest()
    page = (home / "v1.md").read_text()
    assert page.startswith('---\ntitle: "Levels / of: HCl?"\n') and page.endswith("---\n\nThey *rise*.\n\n")
    cited = json.loads(next(line for line in page.splitlines() if line.startswith("cites: "))[7:])
    assert cited[0]["file"] == "ana/personal/artifacts/data~2/levels.csv"  # beside Data
    content = tmp_path / "out" / cited[0]["file"]
    assert subjects["data/levels.csv"] == hashlib.sha256(content.read_bytes()).hexdigest()


@pytest.mark.real
def test_what_the_readme_says_to_type_does_what_it_says(lived_in: House, export: Export, tmp_path: Path) -> None:
    assert export("ana/personal", "out").code == 0
    root = tmp_path / "out"
    lines = [line.strip() for line in (root / "README.txt").read_text().splitlines()]
    sums, openssl = (line for line in lines if line.startswith(("sha256sum -c", "openssl ")))
    summed = subprocess.run(["sh", "-c", sums], cwd=root, check=False, capture_output=True, text=True)
    assert summed.returncode == 0 and "v1.md: OK" in summed.stdout, summed.stderr
    (signature,) = (each.with_suffix("") for each in root.rglob("*.pae"))
    for changed in (False, True):
        if changed:
            Path(f"{signature}.pae").write_bytes(b"another statement")
        words = [word.replace("SIGNATURE", str(signature)) for word in openssl.split()]
        verified = subprocess.run(words, check=False, capture_output=True, text=True)
        assert (verified.returncode == 0) is not changed, verified.stdout + verified.stderr


def test_a_second_run_fetches_only_what_is_new(
    lived_in: House, ana: Actor, export: Export, hub: ByTestClient, tmp_path: Path
) -> None:
    assert export("ana/personal", "out").code == 0
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*.csv")}
    hub.asked.clear()
    put_file(lived_in, ana, "new.csv", b"new")
    assert export("ana/personal", "out").code == 0
    assert len([path for path in hub.asked if path.endswith("/content")]) == 1
    assert not [path for path in hub.asked if path.endswith("/verification")]
    assert all(path.read_bytes() == content for path, content in before.items())
    assert (tmp_path / "out/ana/personal/artifacts/new.csv").read_bytes() == b"new"


def test_a_hub_that_goes_away_leaves_a_clear_state_and_the_rest_comes_later(
    lived_in: House, export: Export, hub: ByTestClient, tmp_path: Path
) -> None:
    def gone(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/entries"):
            raise httpx.ConnectError("no route")
        return None

    hub.faults.append(gone)
    ran = export("ana/personal", "out")
    assert ran.code == 8 and "goes on from there" in ran.err
    root = tmp_path / "out"
    assert "No hub answers" in (root / "INCOMPLETE.txt").read_text()
    assert not json.loads((root / "manifest.json").read_text())["complete"]
    check_sums(root)
    hub.faults.clear()
    hub.asked.clear()
    assert export("ana/personal", "out").code == 0
    assert not [path for path in hub.asked if path.endswith("/content")]
    assert not (root / "INCOMPLETE.txt").exists()


def test_an_interrupted_export_says_so_and_goes_on(
    lived_in: House, export: Export, hub: ByTestClient, tmp_path: Path
) -> None:
    def interrupted(request: httpx.Request) -> httpx.Response | None:
        if request.url.path.endswith("/messages"):
            raise KeyboardInterrupt
        return None

    hub.faults.append(interrupted)
    assert export("ana/personal", "out").code == 130
    assert "interrupted" in (tmp_path / "out" / "INCOMPLETE.txt").read_text()
    hub.faults.clear()
    assert export("ana/personal", "out").code == 0
    assert not (tmp_path / "out" / "INCOMPLETE.txt").exists()


def test_a_person_with_many_sessions_leaves_with_all_of_them(
    house: House, ana: Actor, perform: Perform, export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.core.limits.PAGE_ITEMS", 2)
    for number in range(5):
        perform(ana, "session_create", name=f"s{number}", title="S")
    assert export("--all", "out").code == 0
    held = {each.name for each in (tmp_path / "out" / "ana").iterdir()}
    assert held == {"personal", "s0", "s1", "s2", "s3", "s4"}


def test_a_file_that_breaks_off_is_taken_up_at_its_next_byte(
    house: House, ana: Actor, export: Export, hub: ByTestClient, tmp_path: Path
) -> None:
    content = bytes(range(256)) * 4000
    put_file(house, ana, "big.bin", content)
    offsets: list[str] = []

    class Cut(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield content[:1000]
            raise httpx.ReadError("reset")

    def broken(request: httpx.Request) -> httpx.Response | None:
        if not request.url.path.endswith("/content"):
            return None
        offsets.append(request.headers.get("Range", ""))
        return httpx.Response(200, stream=Cut()) if len(offsets) == 1 else None

    hub.faults.append(broken)
    assert export("ana/personal", "out").code == 0
    assert offsets == ["", "bytes=1000-"]
    assert (tmp_path / "out/ana/personal/artifacts/big.bin").read_bytes() == content


def test_other_bytes_than_the_digest_says_are_refused(
    house: House, ana: Actor, export: Export, hub: ByTestClient, tmp_path: Path
) -> None:
    put_file(house, ana, "x.txt", b"right")
    hub.faults.append(
        lambda request: httpx.Response(200, content=b"wrong") if request.url.path.endswith("/content") else None
    )
    ran = export("ana/personal", "out")
    assert ran.code != 0 and "is not x.txt" in ran.err
    assert not (tmp_path / "out/ana/personal/artifacts/x.txt").exists()


def test_all_takes_every_session_and_a_closed_one_does_not_stop_the_others(
    house: House, ana: Actor, ben: Actor, perform: Perform, export: Export, hub: ByTestClient, tmp_path: Path
) -> None:
    perform(ana, "session_create", name="hcl", title="HCl")
    shut = perform(ana, "session_create", name="shut", title="Shut")["session"]
    hub.faults.append(
        lambda request: httpx.Response(404, json={"code": "session_not_found", "detail": "there is no session"},
                                       headers={"Content-Type": "application/problem+json"})
        if f"{shut}/participants" in request.url.path else None
    )  # fmt: skip
    ran = export("--all", "out")
    assert ran.code == 1 and "ana/shut: there is no session" in ran.err
    assert (tmp_path / "out/ana/hcl/session.json").exists() and (tmp_path / "out/ana/personal/session.json").exists()
    assert "ana/shut" in (tmp_path / "out/INCOMPLETE.txt").read_text()


def test_names_a_session_holds_cannot_leave_the_folder(
    house: House, ana: Actor, export: Export, tmp_path: Path
) -> None:
    hostile = ["CON/aux.txt", "a b/c:d.txt", "x" * 200 + ".csv", "e\u0301.txt", "ends."]
    for name in hostile:
        put_file(house, ana, name, name.encode())
    assert export("ana/personal", "out").code == 0
    artifacts = tmp_path / "out/ana/personal/artifacts"
    found = [path for path in artifacts.rglob("*") if path.is_file()]
    assert len(found) == len(hostile)
    assert {path.read_bytes().decode() for path in found} == set(hostile)
    assert all(len(part.encode()) <= 130 and not part.endswith(".") for path in found for part in path.parts[-2:])


def test_a_folder_with_something_else_in_it_is_left_alone(lived_in: House, export: Export, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    ran = export("ana/personal", "out")
    assert ran.code == 6 and "neither empty nor an export" in ran.err
    assert [each.name for each in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_the_operator_leaves_with_everybodys_sessions_from_the_data_folder(
    lived_in: House, ben: Actor, perform: Perform, export: Export, tmp_path: Path
) -> None:
    put_file(lived_in, ben, "private.txt", b"Ben's")
    transport = Inside(lived_in)
    transport.close = lambda: None  # type: ignore[method-assign]
    ran = export("--all", "out", transport=transport)
    assert ran.code == 0, ran.err
    root = tmp_path / "out"
    assert (root / "ben/personal/artifacts/private.txt").read_bytes() == b"Ben's"
    assert (root / "ana/personal/older/data/levels@1.csv").exists()
    check_sums(root)
