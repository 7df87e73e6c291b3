"""The wrapper that a pod starts, under this machine's own shells: one start, every end, words that are no commands."""

from __future__ import annotations

import io
import os
import shlex
import signal
import subprocess
import tarfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from hub.jobs.backends import pod_side
from hub.jobs.backends.pod_side import DUPLICATE, End, Program

pytestmark = pytest.mark.slow


class Pod:
    """A folder that stands for a pod's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "work").mkdir()
        (folder / "given").mkdir()

    def start(
        self, command: list[str], *, variables: Mapping[str, str] | None = None, shell: list[str] | None = None,
        wall: int = 60, grace: int = 1, workdir: str = "", pod: str = "pod-1",
        tasks: tuple[int, ...] = (), place: int = 0,
    ) -> subprocess.Popen[bytes]:  # fmt: skip
        program = Program(
            command=command, variables=variables or {}, wall_seconds=wall, grace_seconds=grace, workdir=workdir,
            tasks=tasks,
        )  # fmt: skip
        script = pod_side.run_script("job_1", 1, program)
        for there, here in (("d=/collegium\n", self.folder), ("last=/dev/termination-log\n", self.folder / "last")):
            assert there in script
            script = script.replace(there, f"{there.partition('=')[0]}={shlex.quote(str(here))}\n")
        path = self.folder / "run.sh"
        path.write_text(script)
        told = {"JOB_COMPLETION_INDEX": str(place)} if tasks else {}
        return subprocess.Popen(
            [*(shell or ["sh"]), str(path)],
            env={"PATH": os.environ["PATH"], "COLLEGIUM_POD": pod, **told},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def run(self, command: list[str], **known: object) -> int:
        return self.start(command, **known).wait(20)  # type: ignore[arg-type]

    @property
    def end(self) -> End:
        found = pod_side.end((self.folder / "end").read_text())
        assert found is not None and found == pod_side.end((self.folder / "last").read_text())
        return found

    @property
    def log(self) -> bytes:
        return (self.folder / "log").read_bytes()


@pytest.fixture
def pod(tmp_path: Path) -> Pod:
    folder = tmp_path / "it's a pod"
    folder.mkdir()
    return Pod(folder)


def until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 15
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_program_runs_once_with_its_words_and_its_end_is_written(pod: Pod, shell: list[str]) -> None:
    hostile = "$(touch pwned) `touch pwned` \"'; touch pwned; #\nnext"
    command = ["sh", "-c", 'printf "%s|%s" "$1" "$V"; echo run >> count; exit 5', "x", hostile]
    assert pod.run(command, variables={"V": hostile}, shell=shell) == 5
    assert pod.log == f"{hostile}|{hostile}".encode()
    assert not (pod.folder / "work" / "pwned").exists()
    assert (pod.end.code, pod.end.got, pod.end.late, pod.end.pod) == (5, "", False, "pod-1")
    assert pod.end.log_bytes == len(pod.log) and pod.end.end >= pod.end.start > 0
    assert pod.run(command, shell=shell, pod="pod-2") == DUPLICATE
    assert (pod.folder / "last").read_text().strip() == pod_side.DUPLICATE_SAID
    assert (pod.folder / "work" / "count").read_text() == "run\n"
    assert (pod.folder / "run.lock" / "pod").read_text() == "pod-1\n"


def test_a_program_is_told_to_end_and_ended_if_it_will_not(pod: Pod, shell: list[str]) -> None:
    stubborn = ["sh", "-c", "trap 'echo told' TERM; echo up; while :; do sleep 0.05; done"]
    started = pod.start(stubborn, shell=shell)
    until(lambda: (pod.folder / "log").exists() and pod.log == b"up\n")
    started.send_signal(signal.SIGTERM)
    assert started.wait(20) == 137
    assert pod.log == b"up\ntold\n"
    assert (pod.end.code, pod.end.got, pod.end.late) == (137, "TERM", False)


def test_a_program_whose_time_is_up_is_ended_as_late(pod: Pod, shell: list[str]) -> None:
    pod.run(["sleep", "60"], wall=1, shell=shell)
    assert (pod.end.code, pod.end.got, pod.end.late) == (143, "TIME", True)


def test_each_task_of_an_array_runs_once_under_its_own_number_with_a_log_and_an_end_of_its_own(
    pod: Pod, shell: list[str]
) -> None:
    tasks = (3, 5, 70)
    command = ["sh", "-c", "echo $SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_TASK_COUNT; exit $SLURM_ARRAY_TASK_ID"]
    for place, number in enumerate(tasks):
        assert pod.run(command, shell=shell, tasks=tasks, place=place, pod=f"pod-{place}") == number
        assert (pod.folder / f"work/logs/{number}.log").read_text() == f"{number} of 3\n"
    assert pod.run(command, shell=shell, tasks=tasks, place=1, pod="pod-9") == DUPLICATE
    (pod.folder / "array").write_text("3")
    found = told(pod)
    assert (found.count, found.holder, found.end) == (3, "pod-0", None)
    assert found.holders == {0: "pod-0", 1: "pod-1", 2: "pod-2"}
    assert {place: each.code for place, each in found.ends.items()} == dict(enumerate(tasks))
    assert found.of_task(1).holder == "pod-1"


def told(pod: Pod) -> pod_side.Folder:
    said = here(pod, pod_side.tell([pod.folder.name]))
    return pod_side.folders(said)[pod.folder.name]


def here(pod: Pod, script: str) -> str:
    """What a porter's script prints, of a volume that is the folder around the pod's."""
    script = script.replace(pod_side.MOUNT, str(pod.folder.parent))
    return subprocess.run(["sh", "-c", script], check=True, capture_output=True, text=True, timeout=20).stdout


def test_an_array_that_is_forbidden_runs_no_task_and_one_that_has_begun_is_not_free(pod: Pod, shell: list[str]) -> None:
    (pod.folder / "array").write_text("2")
    pod.run(["true"], shell=shell, tasks=(0, 1), place=1, pod="pod-1")
    assert here(pod, pod_side.forbid(pod.folder.name)).strip() == "pod-1"
    assert pod.run(["touch", "ran"], shell=shell, tasks=(0, 1), place=0) == DUPLICATE
    assert not (pod.folder / "work" / "ran").exists()
    assert told(pod).of_task(0).holder == "nobody" and told(pod).holder == "pod-1"


def test_a_next_runs_log_begins_with_what_the_run_before_said(tmp_path: Path, shell: list[str]) -> None:
    first, volume = tmp_path / "volume" / "1", tmp_path / "volume"
    first.mkdir(parents=True)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        head = tarfile.TarInfo("run.sh")
        head.size = 1
        archive.addfile(head, io.BytesIO(b"x"))
    laid = packed.getvalue()
    script = pod_side.lay("2", "nonce", len(laid), "1").replace(pod_side.MOUNT, str(volume))
    subprocess.run([*shell, "-c", script], input=laid, check=True, timeout=20)
    assert not (volume / "2" / "log").exists(), "a run that said nothing, such as one that never began, is not told"
    (first / "log").write_bytes(b"half a li\xff")
    subprocess.run([*shell, "-c", script.replace("/2", "/2b")], input=laid, check=True, timeout=20)
    assert (volume / "2b" / "log").read_bytes() == b"half a li\xff== attempt 2 ==\n"


def test_an_array_of_which_nothing_has_begun_is_forbidden_whole(pod: Pod) -> None:
    (pod.folder / "array").write_text("2")
    assert here(pod, pod_side.forbid(pod.folder.name)).strip() == "nobody"
    assert told(pod).holder == "nobody"
    assert pod.run(["true"], tasks=(0, 1), place=1) == DUPLICATE


@pytest.mark.parametrize("said", ["99999999", "../x", "1 2", "-1", "*", ""])
def test_a_job_that_says_it_has_other_tasks_than_it_can_have_is_not_believed(pod: Pod, said: str) -> None:
    (pod.folder / "array").write_text(said)
    assert here(pod, pod_side.forbid(pod.folder.name)).strip() == "nobody"
    assert sorted(each.name for each in pod.folder.glob("run.lock*")) == ["run.lock"]


def test_a_program_starts_where_it_was_told_to_and_fails_where_that_is_not(pod: Pod) -> None:
    (pod.folder / "work" / "a b").mkdir()
    assert pod.run(["pwd"], workdir="a b") == 0
    assert pod.log == f"{pod.folder}/work/a b\n".encode()


def test_a_folder_that_is_not_there_is_an_end_of_its_own(pod: Pod) -> None:
    assert pod.run(["pwd"], workdir="none") == 96


@pytest.mark.parametrize("name", ["A B", "1A", "A-B", "A;B", "$(id)", "", "É"])
def test_a_variable_that_no_shell_can_set_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a variable"):
        pod_side.run_script("job", 1, Program(command=["x"], variables={name: "x"}, wall_seconds=1, grace_seconds=1))


def test_a_nul_is_refused_wherever_it_stands() -> None:
    for command, variables in ((["a\0b"], {}), (["a"], {"A": "\0"})):
        with pytest.raises(ValueError, match=r"NUL|cannot be"):
            program = Program(command=command, variables=variables, wall_seconds=1, grace_seconds=1)
            pod_side.run_script("job", 1, program)


def test_what_a_folder_says_is_understood(tmp_path: Path) -> None:
    words = "pod p\ncode 0\ngot \nlate \nstart 1\nend 2\noom \npeak 3\ntimes 0m1.5s 0m0.5s\nlog 4\n"
    said = f"@ h/jobs/j/1\nstaged\nuid u-1\nlock p\n{words}@ h/jobs/j/2\n@ h/jobs/j/3\nlock nobody\n"
    found = pod_side.folders(said)
    assert found["h/jobs/j/1"].end == End("p", 0, start=1, end=2, peak=3, cpu_seconds=2.0, log_bytes=4)
    assert (found["h/jobs/j/1"].uid, found["h/jobs/j/1"].holder, found["h/jobs/j/1"].staged) == ("u-1", "p", True)
    assert found["h/jobs/j/2"] == pod_side.Folder()
    assert found["h/jobs/j/3"].holder == "nobody"
