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

COLLEGIUM = (sys.executable, "-m", "hub.cli")


class Hub:
    """An embedded hub in a folder of its own, and the shell of somebody who works beside it."""

    def __init__(self, root: Path) -> None:
        self.data, self.here = root / "data", root / "here"
        (self.here / "data").mkdir(parents=True)
        self.environ = {k: v for k, v in os.environ.items() if not k.startswith("COLLEGIUM_")} | {
            "COLLEGIUM_DATA": str(self.data),
            "COLLEGIUM_OWNER": "ana",
            "HOME": str(root),
            "XDG_CONFIG_HOME": str(root / "config"),
            "XDG_STATE_HOME": str(root / "state"),
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        self.output = (root / "up.log").open("w")
        self.up = self._start()

    def _start(self) -> subprocess.Popen[str]:
        up = self.begin("up", "--data", str(self.data), "--port", "0", stdout=self.output, stderr=self.output)
        deadline = time.monotonic() + 90
        while not (self.data / "hub.json").exists():
            assert up.poll() is None and time.monotonic() < deadline, Path(self.output.name).read_text()
            time.sleep(0.1)
        return up

    def begin(self, *words: str, **streams: Any) -> subprocess.Popen[str]:
        return subprocess.Popen([*COLLEGIUM, *words], env=self.environ, cwd=self.here, text=True, **streams)

    def __call__(self, *words: str, code: int = 0, stdin: str = "") -> str:
        ran = subprocess.run(
            [*COLLEGIUM, *words], env=self.environ, cwd=self.here, text=True, capture_output=True, timeout=120,
            input=stdin, check=False,
        )  # fmt: skip
        assert ran.returncode == code, f"{words}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout if code == 0 else ran.stdout + ran.stderr

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))

    def write(self, name: str, text: str) -> None:
        (self.here / name).write_text(text)

    @property
    def url(self) -> str:
        return str(json.loads((self.data / "hub.json").read_text())["url"])

    def close(self) -> None:
        self.up.send_signal(signal.SIGINT)
        assert self.up.wait(60) == 0
        self.output.close()
