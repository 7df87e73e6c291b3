"""What is published works by itself: a hub from the wheel without git, make or Node, and the plain package's shell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / "uv"
pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]


def run(*words: str | Path, **more: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    run(UV, "build", "--wheel", "--out-dir", folder, ROOT)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_what_is_not_python(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "static/vendor/LICENCES.txt", "static/vendor/tus.js", "static/style.css", "hub/setup/manifest.yaml",
        "hub/core/migrations/versions/0001_first_tables.py", "hub/core/migrations/script.py.mako",
        "hub/web/pages/templates/layout.html", "hub/demo/data/hcl_lines.csv",
    } <= held  # fmt: skip
    assert not [name for name in held if name.startswith(("tests/", "node_modules/")) or name.endswith(".pyc")]


def installed(wheel: Path, folder: Path, extra: str = "") -> Path:
    """A clean environment with the wheel in it; returns its `collegium`."""
    run(UV, "venv", "--python", sys.executable, folder)
    run(UV, "pip", "install", "--python", folder / "bin" / "python", f"collegium{extra} @ {wheel.as_uri()}")
    return folder / "bin" / "collegium"


@pytest.fixture(scope="module")
def hub_program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(wheel, tmp_path_factory.mktemp("hub") / "venv", "[hub]")


@pytest.fixture(scope="module")
def shell_program(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return installed(wheel, tmp_path_factory.mktemp("shell") / "venv")


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """Surroundings with nothing on PATH but a shell and what every system has beside it."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "echo", "cat"):
        (tools / name).symlink_to(f"/bin/{name}")
    return {"PATH": str(tools), "HOME": str(tmp_path), "LANG": "C.UTF-8", "TERM": "dumb"}


@pytest.fixture
def hub(hub_program: Path, bare: dict[str, str], tmp_path: Path) -> Iterator[Path]:
    """The data folder of a hub that the wheel runs in an empty folder."""
    here = tmp_path / "empty"
    here.mkdir()
    log = (tmp_path / "up.log").open("w")
    up = subprocess.Popen(
        [hub_program, "up", "--data", "data", "--port", "0"], cwd=here, env=bare, stdout=log, stderr=log
    )
    log.close()
    told = here / "data" / "hub.json"
    deadline = time.monotonic() + 120
    while not told.exists():
        assert up.poll() is None and time.monotonic() < deadline, "\n".join(
            each.read_text()[-2000:] for each in (tmp_path / "up.log", *here.glob("data/logs/processes/*.log"))
        )
        time.sleep(0.1)
    yield here / "data"
    up.send_signal(signal.SIGINT)
    assert up.wait(60) == 0


def test_the_plain_packages_shell_has_a_job_carried_out_by_a_hub_from_the_wheel(
    hub: Path, shell_program: Path, hub_program: Path, bare: dict[str, str], tmp_path: Path
) -> None:
    url = json.loads((hub / "hub.json").read_text())["url"]
    there = {**bare, "COLLEGIUM_HUB": url, "COLLEGIUM_TOKEN_FILE": str(hub / "operator.token")}
    script = tmp_path / "hello.sh"
    script.write_text("#!/bin/sh\necho from the wheel | cat > out.txt\necho said\n")
    done = json.loads(run(shell_program, "job", "submit", "hello.sh", "--wait", "--json", env=there, cwd=tmp_path))
    assert done["state"] == "SUCCEEDED", done
    run(shell_program, "note", "post", "Hello", "--text", "It runs.", env=there, cwd=tmp_path)
    assert "said" in run(shell_program, "job", "logs", str(done["number"]), env=there, cwd=tmp_path)
    out = run(shell_program, "export", "--all", "leaving", env=there, cwd=tmp_path)
    assert "1 job" in out and "1 entry" in out
    assert (tmp_path / "leaving" / "SHA256SUMS").exists()
    assert httpx.get(f"{url}/static/vendor/tus.js", trust_env=False).status_code == 200
    # The whole hub backed up while it runs, and read back.
    run(hub_program, "backup", "safe", "--key-file", "key", "--data", hub, env=bare, cwd=tmp_path)
    (file,) = (tmp_path / "safe").glob("*.clgbackup")
    run(hub_program, "restore", file, "--key-file", "key", "--data", tmp_path / "again", env=bare, cwd=tmp_path)
    told = run(hub_program, "verify", "--offline", "--data", tmp_path / "again", env=bare, cwd=tmp_path)
    assert "holds" in told


@pytest.mark.parametrize("words", [("up",), ("backup",), ("verify", "--offline"), ("web",), ("migrate",)])
def test_the_plain_package_says_which_extra_runs_a_hub(
    shell_program: Path, bare: dict[str, str], tmp_path: Path, words: tuple[str, ...]
) -> None:
    done = subprocess.run([shell_program, *words], env=bare, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 8 and "pip install 'collegium[hub]'" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.glob(".data"))


def test_a_hub_without_the_demonstrations_libraries_says_so_before_it_starts(
    hub_program: Path, bare: dict[str, str], tmp_path: Path
) -> None:
    words = [hub_program, "up", "--demo", "--data", "data"]
    done = subprocess.run(words, env=bare, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 8 and "pip install 'collegium[demo]'" in done.stderr, done.stderr
    assert not (tmp_path / "data").exists()


def test_the_plain_package_is_light(shell_program: Path) -> None:
    """Who only talks to a hub installs no server, no database driver, no native code but msgspec's."""
    held = json.loads(run(UV, "pip", "list", "--python", shell_program.parent / "python", "--format", "json"))
    names = {one["name"] for one in held}
    assert {"click", "httpx", "msgspec", "rich"} <= names
    assert not names & {"sqlalchemy", "starlette", "cryptography", "redis", "numpy", "slack-bolt", "pillow"}
    assert len(names) < 20


def test_a_wheel_without_the_browser_libraries_is_not_built(tmp_path: Path) -> None:
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for name in ("hub", "bot", "static", "deploy"):
        (tmp_path / name).mkdir()
    (tmp_path / "deploy" / "wheel.py").write_bytes((ROOT / "deploy" / "wheel.py").read_bytes())
    done = subprocess.run(
        [UV, "build", "--wheel", "--out-dir", tmp_path / "dist", tmp_path], capture_output=True, text=True, check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )  # fmt: skip
    assert done.returncode != 0 and "make setup" in done.stderr
