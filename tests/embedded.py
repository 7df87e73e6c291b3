"""A whole embedded hub, as `collegium up` starts it, and the shell of somebody who works beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bot.terminal import receive
from hub.cli import tree
from tests.bot.conftest import Stream

COLLEGIUM = (sys.executable, "-m", "hub.cli")


class Hub:
    """An embedded hub in a folder of its own, and the shell of somebody who works beside it."""

    def __init__(self, root: Path, **settings: str) -> None:
        self.data, self.here = root / "data", root / "here"
        (self.here / "data").mkdir(parents=True)
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith("COLLEGIUM_")} | {
            "COLLEGIUM_DATA": str(self.data),
            "COLLEGIUM_OWNER": "ana",
            "HOME": str(root),
            "XDG_CONFIG_HOME": str(root / "config"),
            "XDG_STATE_HOME": str(root / "state"),
            "PYTHONPATH": str(Path(__file__).parents[1]),
            **settings,
        }
        self.log = root / "up.log"
        self.up = self.start()

    def start(self) -> subprocess.Popen[str]:
        """Run `up` and wait until the hub is ready."""
        with self.log.open("a") as output:
            up = self.begin("up", "--data", str(self.data), "--port", "0", stdout=output, stderr=output)
        deadline = time.monotonic() + 90
        while not self._is_up(up.pid):
            assert up.poll() is None and time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)
        return up

    def _is_up(self, pid: int) -> bool:
        try:
            return bool(json.loads((self.data / "hub.json").read_text())["pid"] == pid)
        except (FileNotFoundError, ValueError):
            return False

    def begin(self, *words: str, **streams: Any) -> subprocess.Popen[str]:
        return subprocess.Popen([*COLLEGIUM, *words], env=self.environ, cwd=self.here, text=True, **streams)

    def __call__(self, *words: str, code: int = 0) -> str:
        """What a command says; in this process, because starting Python takes longer than most commands."""
        out, err = Stream(), Stream()
        found = receive(tree, words, environ=self.environ, stdout=out, stderr=err, here=self.here)
        assert found == code, f"{words}: {found}\n{out.text}\n{err.text}"
        return out.text if code == 0 else out.text + err.text

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))

    def write(self, name: str, text: str) -> None:
        (self.here / name).write_text(text)

    @property
    def url(self) -> str:
        return str(json.loads((self.data / "hub.json").read_text())["url"])

    def processes(self) -> dict[int, str]:
        """The command lines of everything alive that belongs to this hub, by process id: jobs and runners too."""
        found = {}
        for folder in Path("/proc").iterdir():
            if not folder.name.isdigit() or int(folder.name) == os.getpid():
                continue
            try:
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                surroundings = (folder / "environ").read_bytes().decode(errors="replace")
                is_gone = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
            except OSError:
                continue
            if not is_gone and (str(self.data) in command or f"COLLEGIUM_DATA={self.data}" in surroundings):
                found[int(folder.name)] = command
        return found

    def close(self) -> None:
        """Stop the hub as Ctrl-C does."""
        self.up.send_signal(signal.SIGINT)
        assert self.up.wait(60) == 0
