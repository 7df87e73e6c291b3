"""What the operator's verbs of leaving say, and what they refuse, from the command line."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from bot.commands import run
from bot.door import Door
from bot.problems import Problem
from bot.terminal import receive
from hub import app
from hub.cli import tree
from hub.core.settings import Settings
from hub.history import sealed
from tests.bot.conftest import Ran, Stream


class Operator:
    """The operator of a hub in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root, self.data = root, root / "data"
        app.prepare(Settings(data=self.data, owner="ana")).close()
        (root / "words").write_text("correct horse battery\n")

    def __call__(self, *words: str) -> Ran:
        out, err = Stream(), Stream()
        code = receive(tree, words, environ={"TERM": "dumb"}, stdout=out, stderr=err, here=self.root)
        return Ran(code, out.text, err.text)


@pytest.fixture
def operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Operator:
    monkeypatch.setattr(sealed, "SCRYPT_COST", 1 << 10)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return Operator(tmp_path)


def test_a_backup_shows_its_key_once_and_is_read_back(operator: Operator, tmp_path: Path) -> None:
    safe, data = str(tmp_path / "safe"), ("--data", str(operator.data))
    made = operator("backup", safe, *data)
    assert made.code == 0 and "read back whole" in made.out and "clgb-" in made.out and "Shown once" in made.out
    (file,) = map(str, (tmp_path / "safe").iterdir())
    key = next(word for word in made.out.split() if word.startswith("clgb-"))
    (tmp_path / "key").write_text(key)
    assert operator("backup", "--verify", file, "--key-file", str(tmp_path / "key")).code == 0
    nobody = operator("backup", "--verify", file)
    assert nobody.code == 7 and "--key-file" in nobody.err


def test_a_restore_says_what_was_proved_and_what_was_refused(operator: Operator, tmp_path: Path) -> None:
    words = ("--passphrase-file", str(tmp_path / "words"))
    assert operator("backup", str(tmp_path / "safe"), *words, "--data", str(operator.data)).code == 0
    (file,) = map(str, (tmp_path / "safe").iterdir())
    full = operator("restore", file, *words, "--data", str(operator.data))
    assert full.code == 6 and "not empty" in full.err
    (tmp_path / "wrong").write_text("another horse\n")
    wrong = operator("restore", file, "--passphrase-file", str(tmp_path / "wrong"), "--data", str(tmp_path / "new"))
    assert wrong.code == 7 and "does not open" in wrong.err and not (tmp_path / "new").exists()
    done = operator("restore", file, *words, "--data", str(tmp_path / "new"))
    assert done.code == 0 and "verified: the ledger's root" in done.out, done.err
    assert "must not run any more" in done.out


def test_a_key_file_is_made_at_first_use_and_used_again(operator: Operator, tmp_path: Path) -> None:
    words = ("backup", str(tmp_path / "safe"), "--key-file", str(tmp_path / "k" / "key"), "--data", str(operator.data))
    assert operator(*words).code == 0
    key = (tmp_path / "k" / "key").read_text()
    assert (tmp_path / "k" / "key").stat().st_mode & 0o777 == 0o600
    again = operator(*words)
    assert again.code == 0 and key.strip() not in again.out
    assert (tmp_path / "k" / "key").read_text() == key


def test_in_a_chat_an_export_is_told_where_it_can_be_made() -> None:
    door = Door(lambda: pytest.fail("the hub is not asked"), call="/")
    with pytest.raises(Problem, match="needs a folder on your machine") as told:
        run("export ana/hcl out", door)
    assert "collegium export" in told.value.hint


def test_where_no_hub_is_nothing_is_made(operator: Operator, tmp_path: Path) -> None:
    for words in (("backup", str(tmp_path / "safe")), ("export", "--everyone", str(tmp_path / "out"))):
        ran = operator(*words, "--data", str(tmp_path / "nowhere"))
        assert ran.code == 5 and "there is no hub" in ran.err
    assert not (tmp_path / "nowhere").exists() and not (tmp_path / "safe").exists()


def test_everybodys_sessions_leave_without_a_running_hub(operator: Operator, tmp_path: Path) -> None:
    ran = operator("export", "--everyone", str(tmp_path / "out"), "--data", str(operator.data))
    assert ran.code == 0 and (tmp_path / "out" / "ana" / "personal" / "session.json").exists(), ran.err
