"""What is asked of Slurm: the seed's wish as it stands, a script's own lines honoured, contradictions told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.jobs.amounts import time_seconds
from hub.jobs.backends.slurm_wish import (
    KNOWN,
    OURS,
    SHORT,
    BadDirective,
    Directive,
    directives,
    slurm_memory,
    slurm_time,
    wish,
)
from hub.jobs.requests import Resources


def asked(script: str = "", **resources: object) -> list[str]:
    return wish(Resources(**resources), directives(script)).argv  # type: ignore[arg-type]


def test_the_seed_payload_becomes_what_a_person_would_have_written() -> None:
    script = "#!/bin/bash\n#SBATCH --job-name=physics_analysis\npython analyze_data.py"
    made = wish(Resources(nodes=2, cpus_per_node=16, memory="32GB", time="2:00:00"), directives(script))
    assert made.argv == ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=16", "--mem=32768M", "--time=2:00:00"]
    assert made.notes == ()


def test_nothing_is_asked_for_that_nobody_asked_for() -> None:
    assert asked() == []
    assert asked("#!/bin/sh\necho hi\n") == []


@pytest.mark.parametrize(
    ("resources", "argv"),
    [
        ({"cpus_per_node": 4}, ["--nodes=1", "--ntasks-per-node=1", "--cpus-per-task=4"]),
        ({"tasks_per_node": 8}, ["--nodes=1", "--ntasks-per-node=8"]),
        ({"tasks_per_node": 4, "cpus_per_node": 16}, ["--nodes=1", "--ntasks-per-node=4", "--cpus-per-task=4"]),
        ({"nodes": 3}, ["--nodes=3"]),
        ({"memory": "1.5G"}, ["--mem=1536M"]),
        ({"memory": 500}, ["--mem=500M"]),
        ({"memory": "1000B"}, ["--mem=1M"]),
        ({"time": 90}, ["--time=1:30:00"]),
        ({"time": "2-12"}, ["--time=2-12:00:00"]),
        ({"time": "0:30"}, ["--time=0:01:00"]),
        ({"gpus": 2}, ["--gres=gpu:2"]),
        ({"gpus": 1, "gpu_type": "a100"}, ["--gres=gpu:a100:1"]),
        ({"partition": "-x"}, ["--partition=-x"]),
        ({"partition": "p", "account": "a", "qos": "q"}, ["--partition=p", "--account=a", "--qos=q"]),
        ({"constraint": "[a|b]&c", "array": "1-9%3", "licenses": "m:1"}, ["--constraint=[a|b]&c", "--array=1-9%3"]),
    ],
)
def test_every_resource_has_its_option(resources: dict[str, object], argv: list[str]) -> None:
    assert asked(**resources)[: len(argv)] == argv


def test_cpus_that_tasks_cannot_share_are_refused() -> None:
    with pytest.raises(ValueError, match="3 tasks cannot share"):
        asked(tasks_per_node=3, cpus_per_node=16)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("#SBATCH --nodes=2", [Directive("nodes", "2")]),
        ("#SBATCH --nodes 2", [Directive("nodes", "2")]),
        ("#SBATCH -N 2", [Directive("nodes", "2")]),
        ("#SBATCH -N2 -n4", [Directive("nodes", "2"), Directive("ntasks", "4")]),
        ("#SBATCH\t-t 1:00\t--mem=4G", [Directive("time", "1:00"), Directive("mem", "4G")]),
        ("#SBATCH --node=2", [Directive("node", "2")]),  # several begin so: for Slurm to answer
        ("#SBATCH --exclusive", [Directive("exclusive")]),
        ("#SBATCH --exclusive=user", [Directive("exclusive", "user")]),
        ("#SBATCH --exclusive --nodes=2", [Directive("exclusive"), Directive("nodes", "2")]),
        ("#SBATCH -H -p long", [Directive("hold"), Directive("partition", "long")]),
        ("#SBATCH --comment='it is mine' -N 1", [Directive("comment", "it is mine"), Directive("nodes", "1")]),
        ('#SBATCH --comment="a \\" b"', [Directive("comment", 'a " b')]),
        ("#SBATCH --mem=4G # as much as it needs", [Directive("mem", "4G")]),
        ("#SBATCH --partit=x", [Directive("partition", "x")]),
        ("#SBATCH --site-option=7", [Directive("site-option", "7")]),
        ("#SBATCHED --nodes=2", []),
        ("##SBATCH --nodes=2", []),
        (" #SBATCH --nodes=2", []),
        ("# SBATCH --nodes=2", []),
    ],
)
def test_a_line_is_read_as_sbatch_reads_it(line: str, found: list[Directive]) -> None:
    assert directives(f"#!/bin/bash\n{line}\necho\n") == found


def test_lines_after_the_first_command_are_no_longer_options() -> None:
    script = "#!/bin/bash\n# words\n\n#SBATCH -N 2\n   \ncd /tmp\n#SBATCH -N 9\n"
    assert directives(script) == [Directive("nodes", "2")]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("#SBATCH nodes=2", "'nodes=2' is no option"),
        ("#SBATCH --mem", "--mem has no value"),
        ("#SBATCH -N", "-N has no value"),
        ("#SBATCH --comment='open", "a quotation has no end"),
        ("#SBATCH -Z", "there is no option -Z"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(line: str, why: str) -> None:
    with pytest.raises(BadDirective, match="line 2 of the script") as told:
        directives(f"#!/bin/sh\n{line}\n")
    assert why in str(told.value)


def test_what_resources_says_wins_and_the_submitter_is_told() -> None:
    script = "#!/bin/sh\n#SBATCH --nodes=4 --time=1:00:00 --mem-per-cpu=2G --mail-type=END\n"
    made = wish(Resources(nodes=2, memory="8G"), directives(script))
    assert made.argv == ["--nodes=2", "--mem=8192M", "--time=1:00:00", "--mail-type=END"]
    assert made.notes == (
        "`#SBATCH --nodes=4` of the script gave way to resources.nodes, which asks for `--nodes=2`.",
        "`#SBATCH --mem-per-cpu=2G` of the script gave way to resources.memory, which asks for `--mem=8192M`.",
    )


def test_saying_the_same_twice_is_no_contradiction() -> None:
    script = "#!/bin/sh\n#SBATCH -N2 --mem=32G -t 120\n"
    made = wish(Resources(nodes=2, memory="32GB", time="2:00:00"), directives(script))
    assert made.notes == ()
    assert made.argv == ["--nodes=2", "--mem=32768M", "--time=2:00:00"]


def test_a_scripts_own_shape_is_kept_when_resources_says_nothing_of_it() -> None:
    assert asked("#!/bin/sh\n#SBATCH -n 64\n", time="10") == ["--time=0:10:00", "--ntasks=64"]
    assert asked("#!/bin/sh\n#SBATCH -n 8\n", cpus_per_node=4) == ["--cpus-per-task=4", "--ntasks=8"]


def test_the_last_line_of_two_that_contradict_each_other_counts() -> None:
    assert asked("#!/bin/sh\n#SBATCH --mem=1G\n#SBATCH --mem-per-cpu=2G\n") == ["--mem-per-cpu=2G"]
    assert asked("#!/bin/sh\n#SBATCH -N 1\n#SBATCH -N 2\n") == ["--nodes=2"]


def test_gpus_and_other_generic_resources_are_asked_for_together() -> None:
    assert asked("#!/bin/sh\n#SBATCH --gres=lustre:1\n", gpus=1) == ["--gres=gpu:1,lustre:1"]
    assert asked("#!/bin/sh\n#SBATCH --gres=gpu:4\n", gpus=1) == ["--gres=gpu:1"]
    assert asked("#!/bin/sh\n#SBATCH --gpus=4\n", gpus=1) == ["--gres=gpu:1"]


def test_what_the_hub_decides_is_left_out_and_told_where_it_matters() -> None:
    script = "#!/bin/sh\n#SBATCH -J mine -o out.txt --export=NONE -D /scratch --parsable\n"
    made = wish(Resources(), directives(script))
    assert made.argv == []
    assert [note.split("`")[1] for note in made.notes] == [
        "#SBATCH --output=out.txt",
        "#SBATCH --export=NONE",
        "#SBATCH --chdir=/scratch",
    ]


def test_a_clusters_defaults_stand_back_behind_everything() -> None:
    defaults = {"partition": "short", "mem": "1G", "account": "lab", "wrap": "rm"}
    made = wish(Resources(partition="long"), directives("#!/bin/sh\n#SBATCH --mem-per-cpu=3G\n"), defaults)
    assert made.argv == ["--partition=long", "--mem-per-cpu=3G", "--account=lab"]


@given(st.integers(min_value=1, max_value=366 * 86400))
def test_times_are_read_back_as_they_were_written_rounded_up_to_minutes(seconds: int) -> None:
    again = time_seconds(slurm_time(seconds))
    assert 0 <= again - seconds < 60
    assert again % 60 == 0


@given(st.integers(min_value=1, max_value=2**50))
def test_memory_is_never_less_than_was_asked(amount: int) -> None:
    assert 0 <= int(slurm_memory(amount)[:-1]) * 2**20 - amount < 2**20


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = directives(f"#!/bin/sh\n#SBATCH {text}\n")
    except BadDirective:
        return
    for each in wish(Resources(), found).argv:
        assert each.startswith("--")


def test_the_tables_agree() -> None:
    assert set(SHORT.values()) <= KNOWN
    assert set(OURS) <= KNOWN
