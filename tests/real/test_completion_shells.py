"""Completion in real shells at a real terminal: the tab key is pressed, and what it gives is read off the screen."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.bot.fake_hub import session

pytestmark = pytest.mark.real
VIEWS = {
    "/api/sessions": [session("ana/personal", personal=True), session("ana/anharmonic")],
    "/api/jobs": {"jobs": [{"id": "job_1", "number": 4711, "ref": "a#4711", "name": "fit", "state": "RUNNING"}]},
    "/api/sessions/ana/personal/artifacts": {"artifacts": [{"id": "art_1", "path": "figures/spectrum.svg"}]},
}
START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(collegium completion bash)"'),
    "zsh": (["zsh", "-f", "-i"], 'autoload -U compinit; compinit -u -D; eval "$(collegium completion zsh)"'),
}


class Answers(BaseHTTPRequestHandler):
    """A hub that knows three views."""

    def do_GET(self) -> None:
        found = VIEWS.get(self.path.partition("?")[0])
        self.send_response(404 if found is None else 200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(json.dumps(found).encode())

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


class Terminal:
    """A shell at a pseudo-terminal."""

    def __init__(self, command: list[str], environ: dict[str, str], here: Path) -> None:
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ, cwd=here, start_new_session=True
        )
        os.close(theirs)
        self.screen = ""

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def wait_for(self, words: str, seconds: float = 40) -> None:
        """Read until the words are on the screen."""
        deadline = time.monotonic() + seconds
        while words not in self.screen:
            left = deadline - time.monotonic()
            assert left > 0, f"no {words!r} on the screen:\n{self.screen}"
            if select.select([self._ours], [], [], min(left, 1))[0]:
                self.screen += os.read(self._ours, 65536).decode(errors="replace")

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        os.close(self._ours)


@pytest.fixture
def environ(tmp_path: Path, hub: str) -> dict[str, str]:
    """A machine with our command on its path, logged in to the hub."""
    program = tmp_path / "bin" / "collegium"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m hub.cli "$@"\n')
    program.chmod(0o755)
    return {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "PS1": "> ",
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "COLLEGIUM_HUB": hub,
        "COLLEGIUM_TOKEN": "clg_test",
    }


@pytest.mark.parametrize("shell", [name for name in START if shutil.which(name)])
def test_the_tab_key_completes_commands_and_names_from_the_hub(
    shell: str, environ: dict[str, str], tmp_path: Path
) -> None:
    command, start = START[shell]
    terminal = Terminal(command, {**environ, "TERM": "dumb" if shell == "bash" else "xterm"}, tmp_path)
    try:
        terminal.type(f"{start}; echo rea''dy\n")
        terminal.wait_for("ready\r\n")
        for typed, gives in (
            ("collegium job stat\t", "status"),
            ("47\t", "4711"),
            ("\x15collegium use ana/anh\t", "ana/anharmonic"),
            ("\x15collegium artifact get figures/sp\t", "figures/spectrum.svg"),
        ):
            terminal.screen = ""
            terminal.type(typed)
            terminal.wait_for(gives)
    finally:
        terminal.close()


@pytest.mark.parametrize("shell", [name for name in ("fish",) if shutil.which(name)])
def test_fish_completes_the_same(shell: str, environ: dict[str, str], tmp_path: Path) -> None:
    lines = ("collegium job stat", "collegium job status 47", "collegium use ana/anh", "collegium artifact get fig")
    asks = "; ".join(f"complete -C '{line}'" for line in lines)
    ran = subprocess.run(
        [shell, "--no-config", "-c", f"collegium completion fish | source; {asks}"],
        env=environ, cwd=tmp_path, capture_output=True, text=True, timeout=50, check=True,
    )  # fmt: skip
    found = [line.partition("\t")[0] for line in ran.stdout.splitlines()]
    assert found == ["status", "4711", "ana/anharmonic", "figures/spectrum.svg"], ran.stderr
