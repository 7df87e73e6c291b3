"""Which hub, which token, which session: the first that says something counts, and no token goes astray."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from bot.config import (
    Address,
    config_file,
    find_hub,
    is_running,
    recall_session,
    remember_session,
    uploads_file,
)
from bot.problems import UNAVAILABLE, USAGE, Problem


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / ".data"
    folder.mkdir()
    (folder / "hub.json").write_text(f'{{"url": "http://127.0.0.1:8400", "pid": {os.getpid()}}}')
    (folder / "operator.token").write_text("clg_operator\n")
    return folder


def test_an_embedded_hub_is_found_in_this_folder_and_from_below(tmp_path: Path, data: Path) -> None:
    below = tmp_path / "project" / "sub"
    below.mkdir(parents=True)
    for here in (tmp_path, below):
        assert find_hub({}, here) == Address("http://127.0.0.1:8400", "clg_operator", os.getpid(), data)


def test_a_named_data_folder_counts_before_the_one_here(tmp_path: Path, data: Path) -> None:
    other = tmp_path / "other"
    data.rename(other)
    assert find_hub({"COLLEGIUM_DATA": str(other)}, tmp_path).data == other
    assert find_hub({"COLLEGIUM_DATA": "other"}, tmp_path).token == "clg_operator"


def test_somebody_elses_hub_in_a_shared_folder_is_not_found(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    with pytest.raises(Problem, match="No hub"):
        find_hub({}, tmp_path)


def test_option_and_environment_count_first(tmp_path: Path, data: Path) -> None:
    environ = {"COLLEGIUM_HUB": "https://hub.test/", "COLLEGIUM_TOKEN": " clg_mine\n"}
    assert find_hub(environ, tmp_path) == Address("https://hub.test", "clg_mine")
    assert find_hub(environ, tmp_path, hub="https://other.test").url == "https://other.test"


def test_the_operators_token_goes_to_its_own_hub_only(tmp_path: Path, data: Path) -> None:
    assert find_hub({}, tmp_path, hub="http://127.0.0.1:8400").token == "clg_operator"
    assert find_hub({}, tmp_path, hub="https://hub.test").token == ""


def test_a_token_may_lie_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("clg_file\n")
    file = str(tmp_path / "token")
    environ = {"COLLEGIUM_HUB": "https://hub.test", "COLLEGIUM_TOKEN_FILE": file}
    assert find_hub(environ, tmp_path).token == "clg_file"
    assert find_hub({**environ, "COLLEGIUM_TOKEN": "clg_here"}, tmp_path).token == "clg_here"
    assert find_hub({**environ, "COLLEGIUM_TOKEN": "clg_here"}, tmp_path, token_file=file).token == "clg_file"


def test_a_token_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("nosuch", "binary"):
        with pytest.raises(Problem, match="cannot be read") as told:
            find_hub({"COLLEGIUM_HUB": "https://hub.test"}, tmp_path, token_file=str(tmp_path / name))
        assert told.value.exit_code == USAGE


@pytest.mark.parametrize("address", ["hub.test", "ftp://hub.test", "http://", "https:///x"])
def test_what_is_no_address_is_told(tmp_path: Path, address: str) -> None:
    with pytest.raises(Problem, match="not the address") as told:
        find_hub({}, tmp_path, hub=address)
    assert told.value.exit_code == USAGE


def test_a_token_in_the_open_is_warned_of(tmp_path: Path) -> None:
    token = {"COLLEGIUM_TOKEN": "clg_x"}
    assert "unencrypted" in find_hub(token, tmp_path, hub="http://hub.test").warning
    for address in ("https://hub.test", "http://127.0.0.1:8400", "http://localhost:1"):
        assert find_hub(token, tmp_path, hub=address).warning == ""


def test_no_hub_says_what_to_do(tmp_path: Path, data: Path) -> None:
    (data / "hub.json").unlink()
    with pytest.raises(Problem, match=r"No hub is running in \.data") as told:
        find_hub({}, tmp_path)
    assert "collegium up`" in told.value.hint and told.value.exit_code == UNAVAILABLE
    with pytest.raises(Problem, match="No hub is running in /elsewhere") as told:
        find_hub({"COLLEGIUM_DATA": "/elsewhere"}, tmp_path)
    assert "collegium up --data /elsewhere" in told.value.hint
    (data / "operator.token").unlink()
    with pytest.raises(Problem, match="No hub is known here"):
        find_hub({}, tmp_path)


def test_a_hub_that_was_killed_is_known_to_be_gone(tmp_path: Path) -> None:
    assert is_running(Address("http://x", pid=os.getpid()))
    assert is_running(Address("http://x"))
    gone = os.fork()
    if gone == 0:
        os._exit(0)
    os.waitpid(gone, 0)
    assert not is_running(Address("http://x", pid=gone))


def test_the_session_in_use_is_kept_for_each_hub_in_a_file_of_its_own(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    place = remember_session(environ, "http://a", "ana/hcl")
    remember_session(environ, "http://b", "ana/water")
    assert place == tmp_path / ".config" / "collegium" / "config.json" == config_file(environ)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert recall_session(environ, "http://a") == "ana/hcl"
    assert recall_session(environ, "http://c") is None
    remember_session(environ, "http://a", None)
    assert recall_session(environ, "http://a") is None
    assert recall_session(environ, "http://b") == "ana/water"
    assert recall_session({**environ, "COLLEGIUM_SESSION": "x/y"}, "http://b") == "x/y"


def test_a_relative_xdg_folder_is_ignored_as_the_specification_says(tmp_path: Path) -> None:
    assert config_file({"HOME": str(tmp_path), "XDG_CONFIG_HOME": "rel"}).is_relative_to(tmp_path / ".config")
    assert uploads_file({"HOME": "/h", "XDG_STATE_HOME": "/s"}) == Path("/s/collegium/uploads.json")


def test_a_config_file_that_was_spoiled_is_told(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    place = remember_session(environ, "http://a", "ana/hcl")
    place.write_text("{")
    with pytest.raises(Problem, match=r"config\.json is not what it should be"):
        recall_session(environ, "http://a")
