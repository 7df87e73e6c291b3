"""compose.yaml by hand: its very commands and settings, without containers, on loopback, through nginx and https.

Names of containers become ports of this machine, and the volumes folders; nothing else is changed. PostgreSQL, Valkey
and nginx are real.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import httpx
import pytest
from websockets.asyncio.client import connect

from hub.live import frames
from hub.live.frames import Kind
from tests.live.loopback import Client
from tests.real.stack import STARTED, Stack, wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


def test_everything_comes_through_https(stack: Stack) -> None:
    plain = httpx.get(f"http://127.0.0.1:{stack.ports['http']}/", trust_env=False, headers={"Host": "hub.example.edu"})
    assert (plain.status_code, plain.headers["Location"]) == (301, "https://hub.example.edu/")
    page = stack.ask("/")
    assert page.status_code == 200 and "Strict-Transport-Security" in page.headers
    assert stack.ask("/", headers={"Host": "evil.example"}).status_code == 400
    assert stack.ask("/api/me", headers=stack.signed_in()).json()["handle"] == "ana"


def test_a_job_is_carried_out_and_an_entry_kept(stack: Stack) -> None:
    submitted = stack.act("job_submit", script="#!/bin/sh\necho in production > out.txt\n")
    written = stack.act("lab_notebook", entry={"title": "Moved", "content": "It runs on two web processes."})
    assert written["number"] == 1

    def is_over() -> bool:
        job = stack.ask(f"/api/jobs/{submitted['id']}", headers=stack.signed_in()).json()
        return job["state"] in ("SUCCEEDED", "FAILED", "NODE_FAILED", "UNKNOWN_OUTCOME")

    wait_for(is_over, stack)
    job = stack.ask(f"/api/jobs/{submitted['id']}", headers=stack.signed_in()).json()
    assert job["state"] == "SUCCEEDED" and job["sandboxed"], job
    assert [output["path"] for output in job["outputs"]] == ["out.txt"]


def test_an_upload_larger_than_a_proxys_buffer_goes_through_whole(stack: Stack) -> None:
    content = os.urandom(5 << 20)
    begun = stack.ask(
        "/api/uploads?session=ana/personal", "POST",
        headers=stack.signed_in()
        | {"Tus-Resumable": "1.0.0", "Upload-Length": str(len(content)), "Upload-Metadata": "filename YQ=="},
    )  # fmt: skip
    assert begun.status_code == 201, begun.text
    sent = stack.ask(
        httpx.URL(begun.headers["Location"]).path, "PATCH", content=content,
        headers=stack.signed_in()
        | {"Tus-Resumable": "1.0.0", "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"},
    )  # fmt: skip
    assert sent.status_code == 204 and sent.headers["Upload-Offset"] == str(len(content)), sent.text


def test_a_rooms_socket_goes_to_live_which_asks_web_by_its_address(stack: Stack) -> None:
    session = stack.ask("/api/sessions", headers=stack.signed_in()).json()[0]["id"]
    made = stack.ask("/api/tickets", "POST", json={"session": session}, headers=stack.signed_in())
    assert made.status_code == 200, made.text

    async def enter() -> None:
        url = f"wss://localhost:{stack.ports['https']}/ws?ticket={made.json()['ticket']}"
        async with connect(url, ssl=stack.trust(), origin=stack.origin, compression=None, proxy=None) as link:  # type: ignore[arg-type]
            client = Client(link)
            await client.say(frames.Hello(1))
            await client.told(Kind.PSNAP)

    asyncio.run(enter())


def test_a_backup_of_the_stack_is_written_and_read_back(stack: Stack) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hub.cli", "backup", str(stack.root / "safe"), "--key-file", str(stack.root / "key")],
        env=stack.environ("work"), cwd=stack.root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "read back whole" in done.stdout, done.stdout + done.stderr


def test_one_web_process_may_end_and_every_process_of_compose_still_runs(stack: Stack) -> None:
    assert {name for name, one in stack.running.items() if one.poll() is None} >= {*STARTED, "redis", "nginx"}, (
        stack.logs()
    )
    stack.stop("web-2")
    assert all(stack.ask("/readyz").status_code == 200 for _ in range(6))
