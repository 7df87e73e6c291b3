"""What deploy/ offers is true: every command exists, every setting is one, every part fits its neighbours."""

from __future__ import annotations

import configparser
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hub.cli import tree
from hub.core.settings import PREFIX, documented, load

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
SETTINGS = {name for name, *_ in documented()}
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return found


def ours() -> dict[str, dict[str, Any]]:
    """The services that run this program."""
    return {name: one for name, one in compose()["services"].items() if one["image"] == "collegium"}


def is_setting(name: str) -> bool:
    return name in SETTINGS or (name.endswith("_FILE") and name.removesuffix("_FILE") in SETTINGS)


def settings_file(path: Path) -> dict[str, str]:
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def dockerfile() -> Iterator[tuple[str, str]]:
    """Each instruction and its words, with continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", (DEPLOY / "Dockerfile").read_text())
    for line in text.splitlines():
        if line.strip() and not line.startswith("#"):
            instruction, _, words = line.partition(" ")
            yield instruction, words


def test_every_service_runs_a_command_that_exists_with_settings_that_exist() -> None:
    assert {"migrate", "web-1", "web-2", "live-1", "live-2", "work", "agent", "bot"} == set(ours())
    for name, service in ours().items():
        assert service["command"][0] in tree.commands, name
        assert all(is_setting(each) for each in service["environment"]), name
        assert service["environment"]["COLLEGIUM_ENVIRONMENT"] == "production"


def test_every_secret_is_made_by_the_script_and_read_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "secrets.sh").write_bytes((DEPLOY / "secrets.sh").read_bytes())
    for _ in range(2):
        subprocess.run(["sh", tmp_path / "secrets.sh"], check=True, capture_output=True)
    made = {each.name: each.read_text().strip() for each in (tmp_path / "secrets").iterdir()}
    assert {f"secrets/{name}" for name in made} == {one["file"] for one in compose()["secrets"].values()}
    assert len(set(made.values())) == len(made) and all(len(secret) >= 32 for secret in made.values())
    assert made["postgres_password"] in made["database_url"]
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0
    for service in compose()["services"].values():
        for value in service.get("environment", {}).values():
            if str(value).startswith("/run/secrets/"):
                assert str(value).rpartition("/")[2] in service["secrets"]


def test_the_services_settings_are_safe_in_production(tmp_path: Path) -> None:
    for name, service in ours().items():
        environ = settings_file(DEPLOY / "compose.env.example") | service["environment"]
        for setting in [each for each in environ if each.endswith("_FILE")]:
            file = tmp_path / environ[setting].rpartition("/")[2]
            file.write_text("postgresql://u:p@postgres/c" if "DATABASE" in setting else "s" * 64)
            environ[setting] = str(file)
        assert load(environ).environment == "production", name


def test_nginx_and_the_services_agree_on_names_and_ports() -> None:
    text = (DEPLOY / "nginx.conf").read_text()
    assert text.count("{") == text.count("}")
    upstreams = dict(re.findall(r"upstream (\w+) \{ (.*?) \}", text))
    for upstream, members in upstreams.items():
        assert f"proxy_pass http://{upstream};" in text
        for host, port in re.findall(r"server ([\w-]+):(\d+);", members):
            assert ours()[host]["environment"]["COLLEGIUM_PORT"] == port
    sockets = next(one for one in compose()["services"]["nginx"]["volumes"] if one.startswith("sockets:"))
    assert f"server unix:{sockets.split(':')[1]}/bot.sock;" in upstreams["bot"]
    for number in (1, 2):
        live = ours()[f"live-{number}"]["environment"]["COLLEGIUM_WEB_URL"]
        assert live == f"http://web-{number}:{ours()['web-1']['environment']['COLLEGIUM_PORT']}"
    assert "proxy_set_header X-Forwarded-For $remote_addr;" in text, "what a client says of itself is not passed on"


def test_only_nginx_is_reached_from_outside_and_live_holds_no_data() -> None:
    assert [name for name, one in compose()["services"].items() if "ports" in one] == ["nginx"]
    for name in ("live-1", "live-2"):
        assert ours()[name]["volumes"] == [] and "database_url" not in ours()[name]["secrets"]


def test_the_image_is_built_from_what_the_build_makes() -> None:
    steps = list(dockerfile())
    known = {"FROM", "RUN", "COPY", "USER", "ENV", "ENTRYPOINT", "CMD"}
    assert {instruction for instruction, _ in steps} <= known
    said = dict(steps)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert said["FROM"].startswith("python:" + project["tool"]["mypy"]["python_version"])
    assert said["COPY"].split()[0] == f"dist/{project['project']['name']}-*.whl"
    extras = next(re.findall(r"\[([\w,]+)\]", words) for instruction, words in steps if "pip install" in words)
    assert set(extras[0].split(",")) <= set(project["project"]["optional-dependencies"])
    order = [instruction for instruction, _ in steps]
    assert order.index("USER") < order.index("ENTRYPOINT") and said["USER"] == "collegium"
    packages = next(words for _, words in steps if "apt-get install" in words)
    major = compose()["services"]["postgres"]["image"].partition(":")[2]
    assert f"postgresql-client-{major}" in packages, "pg_dump must be as new as the server"
    assert all(is_setting(word.partition("=")[0]) for word in said["ENV"].split() if word.startswith(PREFIX))


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_runs_a_command_that_exists_and_not_as_root(unit: Path) -> None:
    found = configparser.ConfigParser(interpolation=None, strict=True)
    found.optionxform = str  # type: ignore[assignment,method-assign]
    found.read_string(unit.read_text())
    program, verb, *_ = found["Service"]["ExecStart"].split()
    assert program.endswith("/bin/collegium") and verb in tree.commands
    options = {option for param in tree.commands[verb].params for option in param.opts}
    assert {word for word in found["Service"]["ExecStart"].split() if word.startswith("--")} <= options
    if found.get("Install", "WantedBy", fallback="") == "default.target":
        assert "User" not in found["Service"]  # a person's own: their systemd starts it as themselves
        return
    assert found["Service"]["User"] == "collegium"
    assert found["Service"]["EnvironmentFile"] == "/etc/collegium/hub.env"


def test_the_timer_starts_a_unit_that_is_there() -> None:
    for timer in (DEPLOY / "systemd").glob("*.timer"):
        assert timer.with_suffix(".service") in UNITS


def test_the_example_settings_of_systemd_are_safe_in_production(tmp_path: Path) -> None:
    environ = settings_file(DEPLOY / "systemd" / "hub.env.example")
    (tmp_path / "secret").write_text("s" * 64)
    assert load(environ | {"COLLEGIUM_SECRET_FILE": str(tmp_path / "secret")}).environment == "production"


def test_the_procfile_runs_commands_that_exist() -> None:
    for line in (ROOT / "Procfile").read_text().splitlines():
        program, verb, *_ = line.partition(": ")[2].split()
        assert program == "collegium" and verb in tree.commands
