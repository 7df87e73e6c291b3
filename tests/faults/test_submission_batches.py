"""Several submissions by one command, under this machine's own shells: each has its lock and its answer for itself."""

from __future__ import annotations

import base64
import io
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.jobs.backends import far_batch, far_side, staging
from hub.jobs.shell import Done

MARK = "f" * 32
# Counts its calls by the run's folder, and does to each what a file of its name says.
SBATCH = """#!/bin/sh
for run; do :; done
d=${run%/run.sh}
echo "$d" >> "$CALLS"
n=$(wc -l < "$CALLS")
[ -e "$d/work/does" ] && . "$d/work/does"
echo $((100 + n))
"""
Go = Callable[..., list[Done]]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root whose name a shell would take apart, and a scheduler."""
    root = tmp_path / "it's a $(root)"
    root.mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").write_text(SBATCH)
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    (tmp_path / "calls").touch()
    return root


@pytest.fixture
def go(root: Path, shell: list[str]) -> Go:
    """Submit so many jobs as one batch; `does` says what sbatch does to some of them."""

    def going(count: int, options: list[str] | None = None, **does: str) -> list[Done]:
        runs = [f"job_{at}" for at in range(count)]
        laid = [
            staging.Laid(
                [
                    staging.text("run.sh", "#!/bin/sh\n", executable=True),
                    *([staging.text("work/does", does[job])] if job in does else []),
                ],
                ["work"],
            )
            for job in runs
        ]
        packed = io.BytesIO()
        whole = [far_batch.marked_whole(each) for each in laid]
        staging.bundle(packed, [(far_batch.folder_in(job, 1), each, 1) for job, each in zip(runs, whole, strict=True)])
        bundle = base64.encodebytes(packed.getvalue()).decode().strip()
        members = [far_batch.Member(job, 1, options or []) for job in runs]
        script = far_batch.submit(str(root), members, nonce="0" * 16, mark=MARK, bundle=bundle)
        around = {
            **os.environ,
            "PATH": f"{root.parent / 'bin'}:{os.environ['PATH']}",
            "CALLS": str(root.parent / "calls"),
        }
        done = subprocess.run(
            [*shell, "-c", script], env=around, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=60,
            start_new_session=True,
        )  # fmt: skip
        return far_batch.answers(Done(done.returncode, done.stdout, done.stderr), MARK, count)

    return going


def calls(root: Path) -> list[str]:
    """Which jobs sbatch was called for."""
    return [Path(line).parent.name for line in (root.parent / "calls").read_text().splitlines()]


def test_each_of_a_batch_is_answered_for_itself_and_one_that_is_refused_keeps_no_other(root: Path, go: Go) -> None:
    refused = "echo 'sbatch: error: Batch job submission failed: Invalid account' >&2; exit 1"
    first, second, third = go(3, job_1=refused)
    assert (first.code, first.out.strip(), third.code, third.out.strip()) == (0, b"101", 0, b"103")
    assert second.code == far_side.NOT_SUBMITTED and b"Invalid account" in second.err
    assert b"Invalid" not in first.err + third.err
    assert [(root / "jobs" / f"job_{n}" / "1" / "job.id").exists() for n in range(3)] == [True, False, True]
    assert not list(root.glob("jobs/*/*.0000*")), "the way there is cleared away"


def test_a_batch_that_comes_again_submits_nobody_twice(root: Path, go: Go) -> None:
    before = [each.out.strip() for each in go(3)]
    assert [each.out.strip() for each in go(5)] == [*before, b"104", b"105"]
    assert calls(root) == [f"job_{n}" for n in range(5)]


DIES = {
    "the shell that carries them": "kill -9 $PPID; exit 1",
    "everything that carries any": "kill -9 0",
}


@pytest.mark.parametrize("what", DIES)
def test_what_dies_in_the_middle_leaves_the_others_as_they_are_and_its_own_lock_stands(
    root: Path, go: Go, what: str
) -> None:
    before = go(4, job_2=DIES[what])
    assert [each.out.strip() for each in before[:2]] == [b"101", b"102"]
    assert len(before) == 2, "of whom nothing was heard nothing is told"
    again = go(4)
    assert [each.out.strip() for each in again[:2]] == [b"101", b"102"]
    assert again[2].code == far_side.LOCKED and again[2].out.strip() == b""
    assert again[3].code == 0
    assert calls(root) == ["job_0", "job_1", "job_2", "job_3"]


def test_an_answer_that_says_what_a_mark_looks_like_is_only_an_answer(go: Go) -> None:
    """Nobody knows the mark; a line that looks like one is somebody's words."""
    other = "e" * 32
    said = go(2, job_0=f"printf '\\n%s 1 0\\n' {other}")
    assert [each.code for each in said] == [0, 0]
    assert said[0].out.strip().endswith(b"101") and said[1].out.strip() == b"102"


def test_one_whose_folder_cannot_be_laid_is_told_so_and_the_others_go(root: Path, go: Go) -> None:
    (root / "jobs").mkdir()
    (root / "jobs" / "job_1").write_text("somebody's file")
    first, second, third = go(3)
    assert second.code == far_side.NOT_STAGED
    assert (first.code, third.code) == (0, 0) and calls(root) == ["job_0", "job_2"]


def test_options_reach_sbatch_word_by_word_whatever_is_in_them(root: Path, go: Go) -> None:
    words = ["--comment=it's; touch pwned; $(touch pwned) `touch pwned`\n~\n", "--licenses=*"]
    does = 'printf "%s|" "$@" > "$CALLS.words"'
    go(2, words, job_1=does)
    told = (root.parent / "calls.words").read_text().split("|")
    assert [word for word in told if word in words] == words
    assert not list(root.rglob("pwned")) and not Path("pwned").exists()


def test_an_archive_that_is_broken_off_lays_nobody(root: Path, go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = base64.encodebytes
    monkeypatch.setattr("base64.encodebytes", lambda data: whole(data[: len(data) // 2]))
    assert [each.code for each in go(3)] == [far_side.NOT_STAGED] * 3
    assert calls(root) == []
    monkeypatch.undo()
    assert [each.code for each in go(3)] == [0, 0, 0]
