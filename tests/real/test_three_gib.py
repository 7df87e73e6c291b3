"""Three gibibytes up and down through a real server process, whose memory stays what it was."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

SIZE = 3 << 30
BLOCK = 1 << 20
ALLOWED_GROWTH_KIB = 96 * 1024

SERVER = """
import json, socket, sys
import uvicorn
from pathlib import Path
from hub import app
from hub.core.bus import MemoryBus
from hub.core.database import metadata
from hub.core.settings import Settings
from hub.people import accounts
from hub.perform import perform
from hub.web import application

listening = socket.create_server(("127.0.0.1", 0))
origin = f"http://127.0.0.1:{listening.getsockname()[1]}"
house = app.build(Settings(data=Path(sys.argv[1]), public_url=origin), bus=MemoryBus())
metadata.create_all(house.db.write_engine)
made = house.db.write(
    lambda tx: accounts.make(tx, handle="ana", name="Ana", hub_role="member", now=house.clock.now())
)
with house.db.read() as conn:
    ana = accounts.actor_of(conn, made)
token = perform(house, {"action": "token_create", "name": "test"}, ana).result["secret"]
print(json.dumps({"port": listening.getsockname()[1], "token": token}), flush=True)
uvicorn.Server(uvicorn.Config(application.create(house), log_level="error")).run(sockets=[listening])
"""


class Server(msgspec.Struct):
    """A running server and how to speak to it."""

    pid: int
    port: int
    headers: dict[str, str]
    connections: list[http.client.HTTPConnection]

    def ask(self, method: str, path: str, body: object = None, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        self.connections.append(connection)
        connection.request(method, path, body, {**self.headers, **headers})  # type: ignore[arg-type]
        return connection.getresponse()

    def peak_kib(self) -> int:
        """The highest resident memory the process has ever had."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path / "data")], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        told = json.loads(process.stdout.readline())
        with contextlib.ExitStack() as closing:
            server = Server(process.pid, told["port"], {"Authorization": f"Bearer {told['token']}"}, [])
            closing.callback(lambda: [connection.close() for connection in server.connections])
            yield server
    finally:
        process.terminate()
        process.wait(timeout=30)
        process.stdout.close()


def blocks(start: int, end: int) -> Iterator[bytes]:
    """A file that does not compress and repeats nowhere within a frame, made as it is sent."""
    noise = hashlib.shake_256(b"noise").digest(BLOCK - 8)
    for at in range(start, end, BLOCK):
        yield (at.to_bytes(8, "big") + noise)[: end - at]


def finished_upload(server: Server, size: int) -> http.client.HTTPResponse:
    begun = server.ask("POST", "/api/uploads", **{"Upload-Length": str(size), "Tus-Resumable": "1.0.0"})
    place = begun.headers["Location"]
    # The first request breaks off in its middle, as a laptop that is closed does.
    torn = http.client.HTTPConnection("127.0.0.1", server.port, timeout=300)
    torn.putrequest("PATCH", place)
    half = size // 2
    sent = {**server.headers, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    for name, value in {**sent, "Content-Length": str(size)}.items():
        torn.putheader(name, value)
    torn.endheaders()
    for block in blocks(0, half):
        torn.send(block)
    torn.close()
    for _ in range(100):
        at = int(server.ask("HEAD", place).headers["Upload-Offset"])
        answer = server.ask(
            "PATCH",
            place,
            rest(at, size),
            **{
                "Upload-Offset": str(at),
                "Content-Type": "application/offset+octet-stream",
                "Content-Length": str(size - at),
            },
        )
        if answer.status != 409:  # the broken request may still be putting away what had arrived
            assert at % BLOCK == 0 and at >= half - 64 * BLOCK
            return answer
    raise AssertionError("the broken request never let go")


def rest(start: int, size: int) -> Iterator[bytes]:
    first = start - start % BLOCK
    for number, block in enumerate(blocks(first, size)):
        yield block[start - first :] if number == 0 else block


@pytest.mark.real
@pytest.mark.timeout(900)
def test_three_gib_travel_up_and_down_in_constant_memory(server: Server) -> None:
    small = finished_upload(server, 8 * BLOCK)
    assert small.status == 204
    before = server.peak_kib()

    uploaded = finished_upload(server, SIZE)
    assert uploaded.status == 204, uploaded.read()
    expected = hashlib.sha256()
    for block in blocks(0, SIZE):
        expected.update(block)
    assert uploaded.headers["Collegium-Digest"] == f"sha256:{expected.hexdigest()}"

    action = {
        "action": "artifact_versioning",
        "artifact_path": "big.bin",
        "digest": uploaded.headers["Collegium-Digest"],
    }
    made = server.ask("POST", "/api/actions", json.dumps({"tool": "distributed_collaboration", "params": action}))
    artifact = json.load(made)["result"]["artifact"]
    download = server.ask("GET", f"/api/artifacts/{artifact}/content")
    received, length = hashlib.sha256(), 0
    while piece := download.read(BLOCK):
        received.update(piece)
        length += len(piece)
    assert (length, received.hexdigest()) == (SIZE, expected.hexdigest())

    part = server.ask("GET", f"/api/artifacts/{artifact}/content", Range=f"bytes={SIZE - BLOCK}-{SIZE - BLOCK + 7}")
    assert (part.status, part.read()) == (206, (SIZE - BLOCK).to_bytes(8, "big"))

    growth = server.peak_kib() - before
    print(f"\npeak {server.peak_kib() >> 10} MiB, grown by {growth >> 10} MiB over {SIZE >> 20} MiB up and down")
    assert growth < ALLOWED_GROWTH_KIB
