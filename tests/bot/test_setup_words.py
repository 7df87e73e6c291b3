"""`collegium setup` without a terminal: steps by name, secrets from files only, the same actions underneath."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.terminal import receive
from hub import app, setting_up
from hub.cli import tree
from hub.core.settings import load
from hub.jobs.clusters import reaching
from hub.jobs.clusters.rules import fingerprint
from hub.setup.rules import STEPS
from tests.bot.conftest import Stream

pytestmark = pytest.mark.slow

Setup = Callable[..., Any]


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    """`setup("--step", ...)`: what the command answers as JSON, or what it says when it fails."""
    monkeypatch.setenv("COLLEGIUM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLLEGIUM_OWNER", "ana")

    def run(*words: str, code: int = 0) -> Any:
        out, err = Stream(), Stream()
        found = receive(tree, ["setup", *words, "--json"], stdout=out, stderr=err, here=tmp_path)
        assert found == code, f"{words}: {found}\n{out.text}\n{err.text}"
        return json.loads(out.text or err.text)

    return run


def settings_of(tmp_path: Path) -> Any:
    house = app.build(load({"COLLEGIUM_DATA": str(tmp_path / "data")}))
    try:
        return house.settings
    finally:
        house.close()


def test_the_whole_set_up_in_a_row_of_commands_on_a_hub_that_never_ran(setup: Setup, tmp_path: Path) -> None:
    assert [step["state"] for step in setup()["steps"]] == ["open"] * len(STEPS)
    (tmp_path / "password").write_text("three green kettles sing 9\n")
    owner = ["--set", "name=Ana Noether", "--set", "handle=noether", "--set", "email=ana@lab.org"]
    done = setup("--step", "owner", *owner, "--secret", f"password={tmp_path / 'password'}")
    assert (done["state"], done["fields"]["handle"]) == ("done", "noether")
    assert setup("--step", "backup", "--set", f"folder={tmp_path / 'backups'}")["state"] == "done"
    for step in ("slack", "mail", "public_url", "clusters"):
        assert setup("--step", step, "--skip")["state"] == "skipped"
    assert setup()["finished"] is True
    assert settings_of(tmp_path).backup_to == str(tmp_path / "backups")


def test_a_secret_is_not_taken_from_the_command_line(setup: Setup, tmp_path: Path) -> None:
    refused = setup("--step", "mail", "--set", "host=127.0.0.1", "--set", "password=hunter2", code=7)
    assert refused["code"] == "secret_on_command_line"
    assert "--secret password=FILE" in refused["hint"] and "hunter2" not in json.dumps(refused)


HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGh5cG90aGV0aWNhbGhvc3RrZXlvZmFjbHVzdGVy"


@pytest.fixture
def _shown(monkeypatch: pytest.MonkeyPatch) -> None:
    # The network is the subject of tests with a real sshd.
    monkeypatch.setattr(reaching, "shown_key", lambda host, port: HOST_KEY)


@pytest.mark.usefixtures("_shown")
def test_a_cluster_is_added_once_its_host_key_was_compared(setup: Setup) -> None:
    raven = ["--step", "clusters", "--set", "name=raven", "--set", "host=login.raven.example.org"]
    shown = setup(*raven, code=6)
    assert shown["code"] == "compare_fingerprint" and fingerprint(HOST_KEY) in shown["detail"]
    assert setup()["steps"][-1]["fields"]["known"] == ""
    done = setup(*raven, "--set", f"fingerprint={fingerprint(HOST_KEY)}")
    assert (done["state"], done["fields"]["known"]) == ("done", "raven")


@pytest.mark.usefixtures("_shown")
def test_on_a_terminal_the_host_key_is_shown_and_asked_about(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"called": "raven", "Login": "login.raven.example.org"}
    monkeypatch.setattr(
        "click.prompt", lambda text, **_: next((said for words, said in answers.items() if words in text), "")
    )
    settings = load({"COLLEGIUM_DATA": str(tmp_path / "data"), "COLLEGIUM_OWNER": "ana"})
    said: list[str] = []
    monkeypatch.setattr("click.confirm", lambda *_, **__: False)
    setting_up.asked(settings, "clusters", said.append)
    assert any(fingerprint(HOST_KEY) in line for line in said)
    assert setup()["steps"][-1]["fields"]["known"] == ""
    monkeypatch.setattr("click.confirm", lambda *_, **__: True)
    setting_up.asked(settings, "clusters", said.append)
    ways = [line.strip()[:2] for line in said if "collegium cluster join raven LOGIN" in line]
    assert ways == ["1.", "2.", "3."], "in the order in which they are to be preferred"
    assert any("answers with the host key that was compared" in line for line in said)
    assert setup()["steps"][-1]["fields"]["known"] == "raven"


def test_a_secret_comes_from_standard_input(setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("p@ss word\n"))
    words = ["--set", "host=127.0.0.1", "--set", "port=9", "--set", "security=none", "--set", "user=hub"]
    failed = setup("--step", "mail", *words, "--secret", "password=-", code=1)
    assert failed["state"] == "failed" and "127.0.0.1:9" in failed["checks"][0]["words"]
    assert settings_of(tmp_path).smtp_url == "smtp://hub:p%40ss%20word@127.0.0.1:9"
    assert setup("--step", "mail", "--set", "user=hub", code=1)["fields"]["port"] == "9"
    assert settings_of(tmp_path).smtp_url == "smtp://hub:p%40ss%20word@127.0.0.1:9"


def test_an_address_that_locked_everybody_out_is_taken_back(setup: Setup, tmp_path: Path) -> None:
    assert setup("--step", "public_url", "--set", "url=https://hub.invalid", code=1)["state"] == "failed"
    assert settings_of(tmp_path).public_url == "https://hub.invalid"
    setup("--step", "public_url", "--set", "url=", code=1)
    assert settings_of(tmp_path).public_url == ""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--step", "nothing", "--skip"], "there is no step"),
        (["--step", "mail", "--set", "colour=red"], "mail has no 'colour'"),
        (["--step", "mail", "--set", "security=maybe"], "starttls, tls, none"),
        (["--step", "mail"], "no terminal to ask at"),
        (["--skip"], "name the step"),
        (["--step", "mail", "--skip", "--test"], "three commands"),
        (["--step", "mail", "--secret", "password=/no/such/file"], "cannot be read"),
        (["--step", "backup", "--set", "folder=here"], "does not begin with /"),
        (["--step", "public_url", "--set", "url=http://hub.lab.org"], "in the clear"),
    ],
)
def test_what_cannot_be_meant_is_told_and_nothing_is_stored(setup: Setup, words: list[str], said: str) -> None:
    assert said in setup(*words, code=7)["detail"]
    assert {step["state"] for step in setup()["steps"]} == {"open"}


def test_on_a_terminal_it_asks_and_hides_what_is_secret(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, bool]] = []
    answers = {"Do it now": "skip", "Folder for backups": str(tmp_path / "backups")}

    def prompt(text: str, **options: Any) -> str:
        asked.append((text.strip(), bool(options.get("hide_input"))))
        return next((answer for words, answer in answers.items() if words in text), options.get("default") or "")

    monkeypatch.setattr("click.prompt", prompt)
    said: list[str] = []
    settings = load({"COLLEGIUM_DATA": str(tmp_path / "data"), "COLLEGIUM_OWNER": "ana"})
    setting_up.asked(settings, "backup", said.append)
    assert any("keeps what is written there" in line for line in said)
    setting_up.asked(settings, "mail", said.append)  # an empty host is told, not a traceback
    assert ("Password (empty: leave it)", True) in asked
    assert all(is_hidden == ("oken" in text or "ecret" in text or "Password" in text) for text, is_hidden in asked)
    reply = setting_up.asked(settings, None, said.append)  # clusters among them
    assert reply.sentence == "The hub is set up."


def test_a_fresh_hub_offers_a_link_until_somebody_has_begun(setup: Setup, tmp_path: Path) -> None:
    settings = load({"COLLEGIUM_DATA": str(tmp_path / "data"), "COLLEGIUM_OWNER": "ana"})
    setup()
    link = setting_up.first_link(settings)
    assert link is not None and link.startswith("http://127.0.0.1:8400/setup/clgs_")
    setup("--step", "mail", "--skip")
    assert setting_up.first_link(settings) is None


def test_doctor_says_what_fails_and_what_to_do(setup: Setup, tmp_path: Path) -> None:
    def doctor(code: int) -> str:
        out, err = Stream(), Stream()
        assert receive(tree, ["doctor", "--plain"], stdout=out, stderr=err, here=tmp_path) == code, out.text + err.text
        return out.text

    setup("--step", "backup", "--set", f"folder={tmp_path / 'backups'}")
    assert "Backup place: place: holds." in doctor(8)
    told = doctor(8)
    assert "Missing or failing: Backup place: newest backup." in told
    assert "There is none yet. Make one: collegium backup." in told
