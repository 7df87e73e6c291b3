"""What ended jobs left on a cluster goes, in every shell there may be; what is not ours or behind links stays."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hub.jobs.backends import far_side, far_sweep
from hub.jobs.backends.far_sweep import Removed

JOB, OTHER = "job_0123456789abcdef", "job_fedcba9876543210"


class Far:
    """A root as it lies on a cluster."""

    def __init__(self, base: Path, shell: list[str]) -> None:
        self.root, self.shell = base / "a root's $(folder)", shell
        for name in ("jobs", "incoming", "events"):
            (self.root / name).mkdir(parents=True)

    def lay(self, job: str, run: int = 1, *, mark: str | None = None) -> Path:
        folder = self.root / "jobs" / job / str(run)
        (folder / "work" / "deep").mkdir(parents=True)
        (folder / "work" / "deep" / "result").write_bytes(os.urandom(50_000))
        text = far_side.run_script(str(self.root), job, run, far_side.Program(command=["true"], variables={}))
        (folder / "run.sh").write_text(text if mark is None else mark)
        return folder

    def sweep(self, *runs: tuple[str, int]) -> list[Removed]:
        script = far_sweep.sweep(str(self.root), runs)
        done = subprocess.run([*self.shell, "-c", script], capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
        return far_sweep.removed(done.stdout)

    def fates(self, *runs: tuple[str, int]) -> list[str]:
        return [each.fate for each in self.sweep(*runs)]


@pytest.fixture
def far(tmp_path: Path, shell: list[str]) -> Far:
    return Far(tmp_path, shell)


def test_a_run_s_folder_goes_with_what_was_laid_beside_it_and_nothing_else(far: Far) -> None:
    far.lay(JOB)
    stays = far.lay(OTHER)
    (far.root / "incoming" / f"{JOB}.1.tgz.part").touch()
    (far.root / "events" / f"{JOB}.1.EXIT").touch()
    (far.root / "events" / f"{OTHER}.1.EXIT").touch()
    (far.root / "jobs" / JOB / "1.0123456789abcdef" / "work").mkdir(parents=True)
    (far.root / "jobs" / f".laid.{JOB}.1.0123456789abcdef" / JOB / "1").mkdir(parents=True)
    (done,) = far.sweep((JOB, 1))
    assert (done.job, done.run, done.fate) == (JOB, 1, "swept") and 50_000 < done.size_bytes < 500_000
    assert [each.name for each in (far.root / "jobs").iterdir()] == [OTHER]
    assert (stays / "work" / "deep" / "result").exists()
    assert list((far.root / "incoming").iterdir()) == []
    assert [each.name for each in (far.root / "events").iterdir()] == [f"{OTHER}.1.EXIT"]
    assert far.fates((JOB, 1)) == ["gone"]


def test_a_folder_without_the_mark_of_that_very_run_stays(far: Far) -> None:
    unmarked = far.lay(JOB, mark="#!/bin/sh\necho mine\n")
    another_s = far.lay(OTHER, 2, mark=(far.lay(OTHER, 1) / "run.sh").read_text())
    os.mkfifo(far.lay("job_pipe") / "pipe")
    piped = far.root / "jobs" / "job_pipe" / "1" / "run.sh"
    piped.unlink()
    os.mkfifo(piped)  # who reads it waits for ever
    assert far.fates((JOB, 1), (OTHER, 2), ("job_pipe", 1)) == ["strange"] * 3
    assert (unmarked / "work").exists() and (another_s / "work").exists() and piped.exists()


def test_links_are_removed_and_never_followed(far: Far, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("years of work")
    work = far.lay(JOB) / "work"
    (work / "elsewhere").symlink_to(precious)
    (work / "root").symlink_to("/")
    assert far.fates((JOB, 1)) == ["swept"]
    # A run's folder, a job's, and all jobs': each a link to somewhere that looks like ours.
    moved = far.lay(OTHER).rename(tmp_path / "moved")
    (far.root / "jobs" / OTHER / "1").symlink_to(moved)
    assert far.fates((OTHER, 1)) == ["strange"]
    (far.root / "jobs" / "job_linked").symlink_to(moved.parent)
    assert far.fates(("job_linked", 1)) == ["strange"]
    jobs = (far.root / "jobs").rename(tmp_path / "jobs")
    far.lay(JOB).parent.parent.rename(tmp_path / "real")
    (far.root / "jobs").symlink_to(tmp_path / "real")
    assert far.fates((JOB, 1)) == ["strange"]
    assert (tmp_path / "real" / JOB / "1" / "work").exists() and (moved / "work").exists() and jobs.exists()
    assert (precious / "data").read_text() == "years of work"


def test_a_sweep_that_was_cut_off_is_ended_by_the_next(far: Far) -> None:
    folder = far.lay(JOB)
    half = folder.rename(folder.with_name(".gone.1"))
    (half / "run.sh").unlink()
    assert far.fates((JOB, 1)) == ["swept"]
    assert not (far.root / "jobs" / JOB).exists()


def test_a_run_that_was_forbidden_goes_and_one_that_a_job_has_entered_without_a_script_stays(far: Far) -> None:
    forbidden = far.root / "jobs" / OTHER / "1"
    forbidden.mkdir(parents=True)
    (forbidden / "run.lock").write_text("nobody\n")
    assert far.fates((OTHER, 1)) == ["swept"]
    forbidden.mkdir(parents=True)
    (forbidden / "run.lock").write_text("12345\n")
    assert far.fates((OTHER, 1)) == ["strange"]


def test_names_that_are_none_of_ours_reach_no_shell_and_an_empty_root_is_no_trouble(far: Far) -> None:
    for job in ("../..", "a b", "$(touch pwned)", "x\n..", "-rf", "jöb", ""):
        assert far.sweep((job, 1)) == []
    (far.root / "jobs").rmdir()
    assert far.fates((JOB, 1)) == ["gone"]


def test_a_job_of_which_something_is_left_is_due_again() -> None:
    found = [Removed("a", 1, "swept", 5), Removed("a", 2, "left"), Removed("b", 1, "strange"), Removed("c", 1, "gone")]
    told = far_sweep.summed([("a", 2), ("b", 1), ("c", 1), ("never_come_to", 1)], found)
    assert (told.jobs, told.folders, told.size_bytes, told.strange, told.left) == (("b", "c"), 1, 5, 1, 1)
    assert far_sweep.removed("@ a 1 swe") == []
