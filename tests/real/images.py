"""Images made here, and a registry that gives them out by digest: what a cluster pulls from, without any network."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import sys
import sysconfig
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HOST = "images.test"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
# A pod's sandbox waits to be told that it may go.
PAUSE = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done"
LEFT_OUT = {"__pycache__", "config", "dist-packages", "ensurepip", "idlelib", "site-packages", "test", "tkinter"}


class Registry:
    """Serves what it was given; `refuses` and `away` are what goes wrong with registries."""

    def __init__(self) -> None:
        self.blobs: dict[str, tuple[str, bytes]] = {}
        self.tags: dict[str, str] = {}
        self.away = False
        self.refuses: set[str] = set()
        registry = self

        class Answer(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: a test's output is not the place."""

            def do_HEAD(self) -> None:
                self.do_GET()

            def do_GET(self) -> None:
                parts = self.path.partition("?")[0].strip("/").split("/")
                status, kind, body = registry.answer(parts)
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                if status == 200:
                    self.send_header("Docker-Content-Digest", digest(body))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def answer(self, parts: list[str]) -> tuple[int, str, bytes]:
        """(status, kind, body) for `v2/NAME/manifests|blobs/REFERENCE`."""
        if self.away:
            return 503, "text/plain", b"away"
        if parts == ["v2"]:
            return 200, "application/json", b"{}"
        if len(parts) != 4:
            return 404, "text/plain", b""
        _, name, _, reference = parts
        if name in self.refuses:
            return 403, "application/json", b'{"errors": [{"code": "DENIED", "message": "not for you"}]}'
        found = self.blobs.get(self.tags.get(f"{name}:{reference}", reference))
        if found is None:
            return 404, "application/json", b'{"errors": [{"code": "MANIFEST_UNKNOWN", "message": "no such image"}]}'
        return 200, *found

    def add(self, name: str, layer: bytes, config: dict[str, object]) -> str:
        """The image under its digest: `images.test/work@sha256:...`; it is also `images.test/work:1`."""
        arch = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
        described = {"architecture": arch, "os": "linux", "config": config}
        described["rootfs"] = {"type": "layers", "diff_ids": [digest(layer)]}
        parts = [(CONFIG, json.dumps(described).encode()), (LAYER, layer)]
        told = [{"mediaType": kind, "digest": digest(body), "size": len(body)} for kind, body in parts]
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": told[0], "layers": told[1:]}
        parts.append((MANIFEST, json.dumps(manifest).encode()))
        self.blobs |= {digest(body): (kind, body) for kind, body in parts}
        self.tags[f"{name}:1"] = digest(parts[-1][1])
        return f"{HOST}/{name}@{self.tags[f'{name}:1']}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def layer(*, python: bool) -> bytes:
    """A small system: busybox under all its names, and the Python that runs these tests, without its packages."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for folder in ("usr", "usr/bin", "usr/lib", "usr/lib64", "etc", "tmp", "root", "proc", "sys", "dev"):
            _add(archive, folder, kind=tarfile.DIRTYPE, mode=0o1777 if folder == "tmp" else 0o755)
        for name in ("bin", "lib", "lib64", "sbin"):
            _add(archive, name, kind=tarfile.SYMTYPE, link="usr/bin" if name == "sbin" else f"usr/{name}")
        box = Path("/bin/busybox")
        _add(archive, "usr/bin/busybox", box.read_bytes(), mode=0o755)
        listed = subprocess.run([box, "--list"], check=True, capture_output=True, text=True).stdout.split()
        for name in {*listed} - {"busybox"}:
            _add(archive, f"usr/bin/{name}", kind=tarfile.SYMTYPE, link="busybox")
        _add(archive, "usr/bin/bash", kind=tarfile.SYMTYPE, link="busybox")
        _add(archive, "etc/passwd", b"root:x:0:0::/root:/bin/sh\nwork:x:1000:1000::/tmp:/bin/sh\n")
        _add(archive, "etc/group", b"root:x:0:\nwork:x:1000:\n")
        if python:
            for path in sorted(set(_python())):
                _add(archive, _in_image(path), path.read_bytes(), mode=0o755 if path.stat().st_mode & 1 else 0o644)
            if (program := _in_image(_interpreter())) != "usr/bin/python3":
                _add(archive, "usr/bin/python3", kind=tarfile.SYMTYPE, link=f"/{program}")
    return packed.getvalue()


def _interpreter() -> Path:
    return Path(getattr(sys, "_base_executable", sys.executable)).resolve()


def _python() -> Iterator[Path]:
    library = Path(sysconfig.get_path("stdlib"))
    programs = [_interpreter(), *library.glob("lib-dynload/*.so")]
    yield from programs
    for path in library.rglob("*"):
        inside = path.relative_to(library).parts
        if path.is_file() and not any(part.startswith(tuple(LEFT_OUT)) for part in inside):
            yield path
    linked = subprocess.run(["ldd", *programs], check=True, capture_output=True, text=True).stdout
    for line in linked.splitlines():
        words = line.replace("=>", " ").split()
        yield from (Path(word) for word in words if word.startswith("/") and not word.endswith(":"))


def _in_image(path: Path) -> str:
    """Where it lies in the image, in which /bin and /lib are links into /usr."""
    text = str(path).lstrip("/")
    return f"usr/{text}" if text.startswith(("bin/", "lib/", "lib64/")) else text


def _add(
    archive: tarfile.TarFile, name: str, body: bytes = b"", *, kind: bytes = tarfile.REGTYPE, mode: int = 0o644,
    link: str = "",
) -> None:  # fmt: skip
    head = tarfile.TarInfo(name)
    head.size, head.type, head.mode, head.linkname = len(body), kind, mode, link
    archive.addfile(head, io.BytesIO(body))
