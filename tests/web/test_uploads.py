"""Uploads and downloads over HTTP: tus, ranges, validators, and files that are harmless in a browser."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from hub import perform as door
from hub.artifacts import uploads, versions
from hub.artifacts.frames import FRAME_BYTES
from hub.core.context import Actor, Context
from hub.core.errors import InvalidInput
from hub.core.house import House
from hub.web import application, ranges
from hub.web.uploads import parse_metadata
from tests.actions.artifact_fixtures import upload
from tests.conftest import Perform

pytestmark = pytest.mark.slow

Client = httpx.AsyncClient
Run = Callable[[Callable[[Client], Coroutine[Any, Any, None]]], None]
BYTES = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0"}
HOSTILE = '<img src=x onerror=alert(1)>"; filename="evil.html'


@pytest.fixture
def app(house: House) -> Starlette:
    return application.create(house)


@pytest.fixture
def token(perform: Perform, ana: Actor) -> str:
    return str(perform(ana, "token_create", name="tests")["secret"])


@pytest.fixture
def session(perform: Perform, ana: Actor) -> str:
    return str(perform(ana, "session_create", name="hcl")["session"])


@pytest.fixture
def run(app: Starlette, token: str) -> Run:
    """Runs a coroutine with a signed-in client of the application."""

    def start(work: Callable[[Client], Coroutine[Any, Any, None]]) -> None:
        async def inside() -> None:
            headers = {"Authorization": f"Bearer {token}"}
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://hub.test", headers=headers) as client:
                await work(client)

        asyncio.run(inside())

    return start


def metadata(**pairs: str) -> str:
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in pairs.items())


def add(house: House, perform: Perform, actor: Actor, session: str, path: str, content: bytes) -> str:
    digest = upload(house, actor, session, content, path)
    return str(perform(actor, "artifact_versioning", artifact_path=path, digest=digest, session_id=session)["artifact"])


# tus


def test_a_file_travels_in_two_requests_and_comes_back_by_digest(run: Run, session: str) -> None:
    whole = random.Random(1).randbytes(2 * FRAME_BYTES + 123)
    digest = f"sha256:{hashlib.sha256(whole).hexdigest()}"

    async def work(client: Client) -> None:
        begun = await client.post(
            f"/api/uploads?session={session}",
            headers={
                "Upload-Length": str(len(whole)),
                "Upload-Metadata": metadata(filename="data/a.bin", sha256=digest),
            },
        )
        assert begun.status_code == 201
        assert begun.headers["Tus-Resumable"] == "1.0.0"
        place = begun.headers["Location"]
        half = FRAME_BYTES + 77
        first = await client.patch(place, headers={**BYTES, "Upload-Offset": "0"}, content=whole[:half])
        assert (first.status_code, first.headers["Upload-Offset"]) == (204, str(half))
        assert "Collegium-Digest" not in first.headers
        stands = await client.head(place)
        assert (stands.headers["Upload-Offset"], stands.headers["Upload-Length"]) == (str(half), str(len(whole)))
        assert stands.headers["Cache-Control"] == "no-store"
        rest = await client.patch(place, headers={**BYTES, "Upload-Offset": str(half)}, content=whole[half:])
        assert rest.headers["Collegium-Digest"] == digest
        params = {"action": "artifact_versioning", "artifact_path": "data/a.bin", "digest": digest}
        made = await client.post(
            "/api/actions", json={"tool": "distributed_collaboration", "params": {**params, "session_id": session}}
        )
        found = await client.get(f"/api/artifacts/{made.json()['result']['artifact']}/content")
        assert found.content == whole

    run(work)


def test_a_connection_cut_in_the_middle_leaves_a_resumable_upload(
    run: Run, house: House, ana: Actor, session: str
) -> None:
    whole = random.Random(2).randbytes(FRAME_BYTES + 5000)
    begun = uploads.begin(house, ana, session, len(whole))

    async def breaks(client: Client) -> None:
        # As uvicorn tells it: some of the body, then the client is gone.
        scope_messages = [
            {"type": "http.request", "body": whole[: FRAME_BYTES + 100], "more_body": True},
            {"type": "http.disconnect"},
        ]
        request = client.build_request("PATCH", f"/api/uploads/{begun.id}", headers={**BYTES, "Upload-Offset": "0"})
        scope = {
            "type": "http",
            "method": "PATCH",
            "path": request.url.path,
            "raw_path": request.url.raw_path,
            "query_string": b"",
            "headers": [(key.lower(), value) for key, value in request.headers.raw],
            "client": ("127.0.0.1", 1),
            "server": ("hub.test", 80),
            "scheme": "http",
            "http_version": "1.1",
        }

        async def receive() -> dict[str, Any]:
            return scope_messages.pop(0)

        async def send(_: Any) -> None:
            return

        transport = client._transport
        assert isinstance(transport, httpx.ASGITransport)
        await transport.app(scope, receive, send)  # type: ignore[arg-type]
        stands = await client.head(f"/api/uploads/{begun.id}")
        at = int(stands.headers["Upload-Offset"])
        assert at == FRAME_BYTES + 100
        done = await client.patch(
            f"/api/uploads/{begun.id}", headers={**BYTES, "Upload-Offset": str(at)}, content=whole[at:]
        )
        assert done.headers["Collegium-Digest"] == f"sha256:{hashlib.sha256(whole).hexdigest()}"

    run(breaks)


def test_a_sender_that_falls_silent_is_not_waited_for(
    run: Run, house: House, ana: Actor, session: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.core.limits.UPLOAD_IDLE_SECONDS", 0.05)
    begun = uploads.begin(house, ana, session, 10)

    async def work(client: Client) -> None:
        async def silent() -> AsyncIterator[bytes]:
            yield b"1234"
            await asyncio.Event().wait()

        answer = await client.patch(
            f"/api/uploads/{begun.id}", headers={**BYTES, "Upload-Offset": "0"}, content=silent()
        )
        assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, "4")

    run(work)


def test_the_server_says_what_it_can(run: Run) -> None:
    async def work(client: Client) -> None:
        told = (await client.options("/api/uploads")).headers
        assert (told["Tus-Version"], told["Tus-Extension"]) == ("1.0.0", "creation,expiration,termination")
        assert int(told["Tus-Max-Size"]) > 3 * 1024**3

    run(work)


def test_a_thrown_away_upload_is_gone(run: Run, house: House, ana: Actor, session: str) -> None:
    begun = uploads.begin(house, ana, session, 10)

    async def work(client: Client) -> None:
        assert (await client.delete(f"/api/uploads/{begun.id}")).status_code == 204
        assert (await client.head(f"/api/uploads/{begun.id}")).status_code == 404

    run(work)


BAD_REQUESTS: list[tuple[str, str, dict[str, str], int, str]] = [
    ("POST", "", {}, 400, "bad_header"),
    ("POST", "", {"Upload-Length": "-1"}, 400, "bad_header"),
    ("POST", "", {"Upload-Length": "1e3"}, 400, "bad_header"),
    ("POST", "", {"Upload-Length": "9" * 30}, 400, "bad_header"),
    ("POST", "", {"Upload-Length": str(10**15)}, 413, "upload_too_large"),
    ("POST", "", {"Upload-Length": "1", "Upload-Metadata": "filename ???"}, 400, "bad_metadata"),
    ("POST", "", {"Upload-Length": "1", "Upload-Metadata": "filename gICA"}, 400, "bad_metadata"),
    ("POST", "", {"Upload-Length": "1", "Upload-Metadata": "x" * 9000}, 400, "invalid_input"),
    ("POST", "", {"Upload-Length": "1", "Upload-Metadata": metadata(filename="../x")}, 400, "bad_path"),
    ("POST", "", {"Upload-Length": "1", "Upload-Metadata": metadata(sha256="12")}, 400, "bad_digest"),
    ("POST", "", {"Upload-Defer-Length": "1"}, 400, "invalid_input"),
    ("POST", "", {"Upload-Length": "1", "Tus-Resumable": "2.0.0"}, 412, "tus_version"),
    ("POST", "?session=nobody/none", {"Upload-Length": "1"}, 404, "session_not_found"),
    ("POST", "?colour=red", {"Upload-Length": "1"}, 400, "invalid_input"),
    ("PATCH", "/upl_none", BYTES, 400, "bad_header"),
    ("PATCH", "/upl_none", {**BYTES, "Upload-Offset": "0"}, 404, "upload_not_found"),
    ("PATCH", "/upl_none", {"Content-Type": "text/plain", "Upload-Offset": "0"}, 415, "wrong_content_type"),
    ("GET", "", {}, 405, "method_not_allowed"),
]


def test_a_bad_request_is_answered_clearly(run: Run) -> None:
    async def work(client: Client) -> None:
        for method, query, headers, status, code in BAD_REQUESTS:
            answer = await client.request(method, f"/api/uploads{query}", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (status, code), (method, query, headers)
            assert answer.headers["content-type"] == "application/problem+json"

    run(work)


def test_the_wrong_offset_and_too_many_bytes_are_refused(run: Run, house: House, ana: Actor, session: str) -> None:
    begun = uploads.begin(house, ana, session, 5)

    async def work(client: Client) -> None:
        place = f"/api/uploads/{begun.id}"
        conflict = await client.patch(place, headers={**BYTES, "Upload-Offset": "3"}, content=b"12")
        assert (conflict.status_code, conflict.json()["facts"]) == (409, {"offset": 0})
        assert conflict.headers["Tus-Resumable"] == "1.0.0"
        long = await client.patch(place, headers={**BYTES, "Upload-Offset": "0"}, content=b"123456")
        assert (long.status_code, long.json()["code"]) == (413, "upload_too_long")
        assert (await client.head(place)).headers["Upload-Offset"] == "0"

    run(work)


def test_nobody_unknown_may_upload_or_download(app: Starlette, house: House, perform: Perform, ana: Actor) -> None:
    async def work() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://hub.test") as client:
            assert (await client.post("/api/uploads", headers={"Upload-Length": "1"})).status_code == 401
            assert (await client.get("/api/artifacts/x/content")).status_code == 401

    asyncio.run(work())


@given(st.text(max_size=200))
def test_any_metadata_is_either_read_or_refused(text: str) -> None:
    try:
        assert all(isinstance(value, str) for value in parse_metadata(text).values())
    except InvalidInput as refused:
        assert refused.path == "Upload-Metadata"


# content


@pytest.fixture
def ten(house: House, perform: Perform, ana: Actor, session: str) -> str:
    return add(house, perform, ana, session, "ten.bin", b"0123456789")


RANGES: list[tuple[str | None, int, bytes, str | None]] = [
    (None, 200, b"0123456789", None),
    ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
    ("bytes=7-", 206, b"789", "bytes 7-9/10"),
    ("bytes=-2", 206, b"89", "bytes 8-9/10"),
    ("bytes=-50", 206, b"0123456789", "bytes 0-9/10"),
    ("bytes=8-999", 206, b"89", "bytes 8-9/10"),
    ("bytes=10-", 416, b"", "bytes */10"),
    ("bytes=-0", 416, b"", "bytes */10"),
    ("bytes=5-2", 200, b"0123456789", None),
    ("bytes=0-1,4-5", 200, b"0123456789", None),
    ("lines=1-2", 200, b"0123456789", None),
]


def test_a_range_is_served_exactly(run: Run, ten: str) -> None:
    async def work(client: Client) -> None:
        for asked, status, body, content_range in RANGES:
            headers = {} if asked is None else {"Range": asked}
            answer = await client.get(f"/api/artifacts/{ten}/content", headers=headers)
            assert (answer.status_code, answer.content) == (status, body), asked
            assert answer.headers.get("Content-Range") == content_range, asked
            assert answer.headers["Accept-Ranges"] == "bytes"
            if status != 416:
                assert answer.headers["Content-Length"] == str(len(body)), asked

    run(work)


@given(st.text(alphabet="bytes=-,0123456789 ", max_size=30), st.integers(0, 100))
def test_any_range_header_stays_within_the_file(header: str, size: int) -> None:
    try:
        found = ranges.part(header, size)
    except ranges.Unsatisfiable:
        return
    if found is not None:
        assert 0 <= found[0] < found[1] <= size


def test_a_browser_keeps_a_file_and_asks_each_time_whether_it_may_still_show_it(run: Run, ten: str) -> None:
    etag = f'"{hashlib.sha256(b"0123456789").hexdigest()}"'

    async def work(client: Client) -> None:
        fixed = await client.get(f"/api/artifacts/{ten}/content")
        assert fixed.headers["ETag"] == etag
        assert fixed.headers["Cache-Control"] == "private, no-cache"
        newest = await client.get("/api/artifacts/ana/hcl:ten.bin/content")
        assert newest.headers["Cache-Control"] == "private, no-cache"
        for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
            again = await client.get(f"/api/artifacts/{ten}/content", headers={"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b"")
        other = await client.get(f"/api/artifacts/{ten}/content", headers={"If-None-Match": '"other"'})
        assert other.status_code == 200
        resumed = {"Range": "bytes=5-", "If-Range": etag}
        assert (await client.get(f"/api/artifacts/{ten}/content", headers=resumed)).status_code == 206
        changed = {"Range": "bytes=5-", "If-Range": '"other"'}
        assert (await client.get(f"/api/artifacts/{ten}/content", headers=changed)).status_code == 200
        bare = await client.head(f"/api/artifacts/{ten}/content")
        assert (bare.status_code, bare.headers["Content-Length"]) == (200, "10")

    run(work)


def test_no_file_runs_or_is_read_as_a_page(run: Run, house: House, perform: Perform, ana: Actor, session: str) -> None:
    names = ["page.html", "drawing.svg", "script.js", "x.xhtml", "notes.md", "data.bin"]
    artifacts = {name: add(house, perform, ana, session, name, b"<script>alert(1)</script>") for name in names}

    async def work(client: Client) -> None:
        for name, artifact in artifacts.items():
            for query in ("", "?show=1"):
                answer = await client.get(f"/api/artifacts/{artifact}/content{query}")
                assert answer.headers["X-Content-Type-Options"] == "nosniff", name
                assert answer.headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'"), name
                assert "html" not in answer.headers["Content-Type"], name
                in_place = answer.headers["Content-Disposition"].startswith("inline")
                assert not in_place or answer.headers["Content-Type"] == "text/plain; charset=utf-8", name

    run(work)


def test_a_file_keeps_its_name_and_the_name_breaks_no_header(
    run: Run, house: House, perform: Perform, ana: Actor, session: str
) -> None:
    names = [HOSTILE, "räksmörgås ψ.csv", "a;b=c.txt", "%0d%0aSet-Cookie: x=1", "'", "..."]
    artifacts = {name: add(house, perform, ana, session, f"folder/{name}", b"x") for name in names}

    async def work(client: Client) -> None:
        for name, artifact in artifacts.items():
            said = (await client.get(f"/api/artifacts/{artifact}/content")).headers["Content-Disposition"]
            plain, _, true_name = said.partition("; filename*=UTF-8''")
            assert unquote(true_name) == name
            assert plain.startswith('attachment; filename="') and plain.count('"') == 2, name
            assert said.isascii() and said.isprintable(), name
            found = await client.get(f"/api/artifacts/{quote(f'ana/hcl:folder/{name}')}")
            assert found.json()["path"] == f"folder/{name}"

    run(work)


def test_content_left_in_place_is_not_found_and_says_where_it_lies(run: Run, house: House, session: str) -> None:
    source = versions.Source(cluster="raven", path="/ptmp/big.h5", size=10**12, mtime=house.clock.now())

    def observe(ctx: Context) -> str:
        return versions.add_reference(ctx, session, "big.h5", source, author="hub").version

    artifact = door.record(house, "job_observed", observe)

    async def work(client: Client) -> None:
        answer = await client.get(f"/api/artifacts/{artifact}/content")
        assert (answer.status_code, answer.json()["code"]) == (404, "content_in_place")

    run(work)


def test_bytes_that_were_altered_on_disk_are_never_sent(run: Run, house: House, ten: str) -> None:
    digest = hashlib.sha256(b"0123456789").hexdigest()
    (path,) = (house.settings.data / "blobs").rglob(digest)
    spoiled = bytearray(path.read_bytes())
    spoiled[len(spoiled) // 2] ^= 1
    path.write_bytes(spoiled)

    async def work(client: Client) -> None:
        try:
            answer = await client.get(f"/api/artifacts/{ten}/content")
        except Exception:
            return  # The answer had begun; the connection breaks.
        assert answer.status_code == 500
        assert b"0123456789" not in answer.content

    run(work)


def test_a_preview_is_made_for_who_looks_first(
    run: Run, house: House, perform: Perform, ana: Actor, session: str
) -> None:
    table = add(house, perform, ana, session, "t.csv", b"J,wavenumber\n1,2865.1\n2,2843.6\n")
    text = add(house, perform, ana, session, "n.md", b"# <b>Notes</b>\n")
    none = add(house, perform, ana, session, "x.h5", b"x")

    async def work(client: Client) -> None:
        rows = await client.get(f"/api/artifacts/{table}/preview")
        assert rows.json()["header"] == ["J", "wavenumber"]
        assert rows.json()["rows"] == [["1", "2865.1"], ["2", "2843.6"]]
        lines = await client.get(f"/api/artifacts/{text}/preview?size=card")
        assert (lines.text, lines.headers["Content-Type"]) == ("# <b>Notes</b>\n", "text/plain; charset=utf-8")
        again = {"If-None-Match": lines.headers["ETag"]}
        assert (await client.get(f"/api/artifacts/{text}/preview", headers=again)).status_code == 304
        assert (await client.get(f"/api/artifacts/{none}/preview")).json()["code"] == "no_preview"
        assert (await client.get(f"/api/artifacts/{none}/preview?size=huge")).status_code == 400

    run(work)
