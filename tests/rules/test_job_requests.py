"""Slurm's ways to write memory and time, scripts and their interpreters, and what this machine refuses by name."""

from __future__ import annotations

import contextlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.jobs import amounts, placement, scripts
from hub.jobs.requests import Environment, Resources

GIB = 1 << 30


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("32GB", 32 * GIB), ("32G", 32 * GIB), ("32g", 32 * GIB), ("32 GiB", 32 * GIB), ("1.5T", 1536 * GIB),
        ("512M", 512 << 20), ("4000", 4000 << 20), (4000, 4000 << 20), ("64K", 64 << 10), ("1000B", 1000),
    ],
)  # fmt: skip
def test_memory_is_read_as_slurm_reads_it(text: str | int, expected: int) -> None:
    assert amounts.memory_bytes(text) == expected


@pytest.mark.parametrize("text", ["", "0", "-1G", "G", "12X", "1e9", "9999999P", "1.2.3G", "32GB please", "٣GB"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no amount of memory"):
        amounts.memory_bytes(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800), (30, 1800), ("2:30", 150), ("2:00:00", 7200), ("1-0", 86400), ("1-12", 129600),
        ("1-2:30", 95400), ("1-2:30:15", 95415), ("0:45", 45), ("100:00:00", 360000),
    ],
)  # fmt: skip
def test_time_is_read_as_slurm_reads_it(text: str | int, seconds: int) -> None:
    assert amounts.time_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "0:00", "-5", "1:2:3:4", "UNLIMITED", "1-", "2 hours", "999999999", "1-2-3"])
def test_what_is_no_time_limit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no time limit"):
        amounts.time_seconds(text)


@given(st.text(max_size=40))
def test_no_text_breaks_the_parsers(text: str) -> None:
    for parse in (amounts.memory_bytes, amounts.time_seconds):
        with contextlib.suppress(ValueError):
            assert 0 < parse(text) <= amounts.LARGEST


@given(st.integers(1, 365), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_days_hours_minutes_seconds_add_up(d: int, h: int, m: int, s: int) -> None:
    assert amounts.time_seconds(f"{d}-{h}:{m}:{s}") == d * 86400 + h * 3600 + m * 60 + s


def test_amounts_are_shown_in_words() -> None:
    shown = [amounts.shown_bytes(n) for n in (0, 1023, 1536, 32 * GIB, 1 << 50)]
    assert shown == ["0 bytes", "1023 bytes", "1.5 KiB", "32 GiB", "1 PiB"]
    times = [amounts.shown_seconds(n) for n in (0, 59.6, 200, 3600, 7500, 100800)]
    assert times == ["0 s", "1 min", "3 min 20 s", "1 h", "2 h 5 min", "1 d 4 h"]


def test_a_script_is_inline_when_it_starts_with_a_hash_bang_or_holds_a_newline() -> None:
    assert scripts.read("#!/bin/bash") == scripts.Script("inline", "#!/bin/bash\n")
    assert scripts.read("echo 1\necho 2") == scripts.Script("inline", "echo 1\necho 2\n")
    assert scripts.read("analyze.py") == scripts.Script("path", "analyze.py")
    with pytest.raises(ValueError, match="the script is empty"):
        scripts.read("  ")


@pytest.mark.parametrize(
    ("first_line", "path", "argv"),
    [
        ("#!/bin/bash", "", ("bash",)), ("#!/bin/sh -e", "", ("sh", "-e")), ("", "a/fit.py", ("python3",)),
        ("#!/usr/bin/env python3", "x.sh", ("python3",)), ("#!/usr/bin/env -S python3 -u", "", ("python3", "-u")),
        ("#!/opt/tool/run -x y", "", ("/opt/tool/run", "-x y")), ("echo hi", "", ("bash",)),
        ("", "plot.R", ("Rscript",)), ("import x", "deep/er/x.py", ("python3",)),
    ],
)  # fmt: skip
def test_the_interpreter_comes_from_the_first_line_or_the_extension(
    first_line: str, path: str, argv: tuple[str, ...]
) -> None:
    assert scripts.interpreter(first_line, path) == argv


def test_a_file_nobody_knows_how_to_run_is_refused_with_a_way_out() -> None:
    with pytest.raises(ValueError, match="begin it with `#!`"):
        scripts.interpreter("a,b,c", "data.csv")
    with pytest.raises(ValueError, match="names no program"):
        scripts.interpreter("#!", "")


MACHINE = placement.Machine(cpus=8, memory_bytes=4 * GIB, wall_seconds=86400)


def test_the_seeds_resources_are_refused_by_name_where_one_machine_cannot_honour_them() -> None:
    asked = msgspec.convert({"nodes": 2, "cpus_per_node": 16, "memory": "32GB", "time": "2:00:00"}, Resources)
    assert [refusal.path for refusal in placement.refusals(asked, Environment(), MACHINE)] == [
        "resources.nodes", "resources.cpus_per_node", "resources.memory",
    ]  # fmt: skip


def test_every_field_of_resources_and_environment_is_honoured_or_refused_by_name() -> None:
    asked = Resources(
        nodes=2, tasks_per_node=2, cpus_per_node=9, memory="5G", time="2-0", gpus=1, gpu_type="a100", partition="p",
        account="a", qos="q", constraint="c", array="0-9", licenses="l",
    )  # fmt: skip
    refused = {refusal.path for refusal in placement.refusals(asked, Environment(), MACHINE)}
    assert refused == {f"resources.{field}" for field in Resources.__struct_fields__}
    around = Environment(modules=("gcc",), conda="/c", venv="/v", container="x@sha256:1", setup=("a",), network=True)
    refused = {refusal.path for refusal in placement.refusals(Resources(), around, MACHINE)}
    assert refused == {"environment.modules", "environment.container"}


def test_nothing_asked_is_nothing_refused() -> None:
    assert placement.refusals(Resources(), Environment(), MACHINE) == []


def test_unreadable_amounts_are_named_by_field() -> None:
    faults = Resources(memory="lots", time="soon").faults()
    assert [field for field, _ in faults] == ["resources.memory", "resources.time"]
