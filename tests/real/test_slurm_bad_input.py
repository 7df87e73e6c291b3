"""Whatever a script, a name, a disk or a login node does to us: every value stays one word, and nothing comes home that
was not asked for. On a real Slurm behind a real sshd."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.artifacts.blobs import BlobStore
from hub.core.context import Actor
from hub.core.errors import InvalidInput
from hub.core.house import House
from hub.jobs import cluster_agent
from tests.jobs import add_file, personal
from tests.real.slurm_box import SlurmBox
from tests.real.slurm_world import SlurmWorld

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

Perform = Callable[..., Any]
NAMES = ["it's", 'a "b"', "$(touch pwned)", "`touch pwned`", "; touch pwned", "-rf", "--checkpoint-action=exec=sh pwn"]
NAMES += ["*", "!!", "~", "$HOME", "a\\b", "ü é", "#x", "a&b|c>d", "%j", "{a,b}", "=", "[x]", "deep/-er/$(x)"]


@pytest.fixture
def world(house: House, ana: Actor, perform: Perform, slurm: SlurmBox) -> Iterator[SlurmWorld]:
    slurm.empty()
    yield SlurmWorld(house, ana, perform, slurm)
    slurm.sh("rm -rf lies .profile", check=False)


def ended(world: SlurmWorld, *jobs: str, seconds: float = 100) -> None:
    async def story() -> None:
        await world.until(world.over(*jobs), seconds)

    world.play(story)


def contents(world: SlurmWorld, job: str) -> dict[str, bytes]:
    store = world.house.port(BlobStore)  # type: ignore[type-abstract]
    home = personal(world.house, world.actor)
    return {
        each.path: b"".join(store.open(each.digest.removeprefix("sha256:"), home))
        for each in world.job(job).outputs
        if each.digest is not None
    }


def test_names_of_inputs_outputs_and_jobs_are_words_and_nothing_else(
    world: SlurmWorld, house: House, ana: Actor, perform: Perform
) -> None:
    inputs = [f"in/{name}" for name in NAMES]
    for path in inputs:
        add_file(house, ana, perform, path, path.encode())
    script = (
        "#!/usr/bin/env python3\nimport os, pathlib\n"
        f"for name in {NAMES!r}:\n"
        "    given = pathlib.Path('in/' + name).read_text()\n"
        "    made = pathlib.Path('out/' + name); made.parent.mkdir(parents=True, exist_ok=True)\n"
        "    made.write_text('made of ' + given)\n"
    )
    job = world.submit(script, artifacts=inputs, name="'; touch pwned; $(touch pwned) --wrap=x\n-", outputs=["out/"])
    ended(world, job)
    assert world.job(job).state == "SUCCEEDED", world.log(job)
    assert contents(world, job) == {f"out/{name}": f"made of in/{name}".encode() for name in NAMES}
    assert world.box.sh("find . -name 'pwn*'") == ""


@pytest.mark.parametrize(
    ("resources", "said"),
    [
        ({"partition": "$(touch pwned)"}, "invalid partition"),
        ({"partition": "--wrap=touch pwned"}, "invalid partition"),
        ({"constraint": "'; touch pwned; '"}, "feature"),
        ({"memory": "900T"}, "memory"),
    ],
)
def test_impossible_and_hostile_resources_are_refused_in_slurm_s_own_words(
    world: SlurmWorld, resources: dict[str, Any], said: str
) -> None:
    job = world.submit("#!/bin/sh\ntrue\n", resources=resources)
    ended(world, job)
    done = world.job(job)
    assert done.state == "FAILED" and said in done.reason.lower(), done.reason
    assert world.box.sh("find . -name 'pwned*'") == ""


def test_nuls_are_refused_and_windows_lines_run_as_they_stand_and_are_told(world: SlurmWorld) -> None:
    for wrong in ({"script": "#!/bin/sh\necho a\0b\n"}, {"args": ["\0"]}, {"name": "a\0"}, {"env": {"A": "\0"}}):
        with pytest.raises(InvalidInput, match="NUL"):
            world.submit(**({"script": "#!/bin/sh\n"} | wrong))
    job = world.submit("#!/bin/sh\r\necho hi\r\n", args=["x\r\ny"])
    ended(world, job)
    done = world.job(job)
    assert done.state == "SUCCEEDED" and world.log(job) == b"hi\r\n", (done.reason, world.log(job))
    assert any(note.startswith("The script's lines end as on Windows") for note in done.notes)


class Disk:
    """A file system in memory, where the account's jobs lie."""

    def __init__(self, box: SlurmBox, size: str) -> None:
        self.box, self.at = box, box.home / ".collegium"
        box.sh("mkdir -p .collegium")
        options = f"size={size},nr_inodes=0,uid={box.uid},mode=700"
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.at)], check=True)

    def fill(self) -> None:
        self.box.sh("dd if=/dev/zero of=.collegium/ballast bs=4k 2>/dev/null", check=False)

    def drain(self) -> None:
        self.box.sh("rm -f .collegium/ballast")

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.at)], check=True)


@pytest.fixture
def disk(slurm: SlurmBox) -> Iterator[Disk]:
    slurm.sh("rm -rf .collegium")
    made = Disk(slurm, "400k")
    yield made
    made.close()


@pytest.fixture
def roomy(slurm: SlurmBox) -> Iterator[Disk]:
    """Where a hundred thousand files are made in a moment, whatever the machine's own disk is."""
    slurm.sh("rm -rf .collegium")
    made = Disk(slurm, "500m")
    yield made
    made.close()


def test_a_full_disk_is_told_in_its_own_words_and_what_could_be_laid_later_runs(
    world: SlurmWorld, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_agent, "AGAIN_SECONDS", (0.2,))
    world.agent = world.new_agent()
    disk.fill()
    job = world.submit("#!/bin/sh\necho hi\n")
    ended(world, job)
    done = world.job(job)
    assert done.state == "FAILED" and "could not be laid on raven" in done.reason, done.reason
    assert "No space left on device" in done.reason
    monkeypatch.setattr(cluster_agent, "STAGINGS", 1000)
    world.agent = world.new_agent()
    later = world.submit("#!/bin/sh\necho hi\n")

    async def story() -> None:
        key = ("submit", (later, 1))
        await world.until(lambda: world.agent._beside.failed(key) >= 2)
        disk.drain()
        await world.until(world.over(later))

    world.play(story)
    assert world.job(later).state == "SUCCEEDED" and world.log(later) == b"hi\n"


def test_a_job_that_fills_the_disk_ends_as_slurm_says_and_its_own_words_are_not_needed(
    world: SlurmWorld, disk: Disk
) -> None:
    job = world.submit("#!/bin/sh\necho begun\ncat /dev/zero > ../../../../../ballast\nexit 3\n")
    ended(world, job)
    done = world.job(job)
    # Its wrapper could not write how it ended, so it is Slurm that says so.
    assert done.state == "FAILED" and done.reason == "Failed: NonZeroExitCode.", done.reason
    assert world.log(job).startswith(b"begun\n")


EVIL = r"""#!/usr/bin/env python3
import io, os, sys, tarfile
if "-cf" not in sys.argv:
    os.execv("/usr/bin/tar", ["tar", *sys.argv[1:]])
sys.stdin.buffer.read()
with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
    def add(name, data=b"evil\n", **head):
        member = tarfile.TarInfo(name)
        member.size = 0 if head else len(data)
        for key, value in head.items():
            setattr(member, key, value)
        archive.addfile(member, io.BytesIO(data))
    for name in ("../climbed", "../../../climbed", "/tmp/climbed", "./x/../../climbed", "unasked"):
        add(name)
    add("./linked", type=tarfile.SYMTYPE, linkname="/etc/passwd")
    add("./hard", type=tarfile.LNKTYPE, linkname="/etc/passwd")
    add("./pipe", type=tarfile.FIFOTYPE)
    add("./device", type=tarfile.CHRTYPE)
    add("./folder", type=tarfile.SYMTYPE, linkname="/tmp")
    add("./folder/in", b"inside\n")
    add("./larger", b"x" * 1000)
    add("./good", b"good\n")
"""


def test_a_login_node_whose_tar_lies_brings_nothing_in_that_was_not_asked_for(
    world: SlurmWorld, house: House, tmp_path: Path
) -> None:
    world.box.sh("mkdir -p lies; printf 'PATH=$HOME/lies:$PATH\\n' > .profile")
    (world.box.home / "lies" / "tar").write_text(EVIL)
    (world.box.home / "lies" / "tar").chmod(0o755)
    names = "linked hard pipe device larger"
    job = world.submit(
        f"#!/bin/sh\nfor f in {names}; do echo 1 > $f; done\nmkdir folder; echo inside > folder/in; echo good > good\n"
    )
    ended(world, job)
    done = world.job(job)
    assert done.state == "SUCCEEDED"
    assert contents(world, job) == {"good": b"good\n", "folder/in": b"inside\n"}
    # What was asked for and did not come as it had been listed is told, and stays where it lies.
    assert sorted(each.path for each in done.outputs if each.kind == "reference") == sorted(names.split())
    found = [path for path in house.settings.data.rglob("*") if path.name in ("climbed", "unasked", "linked")]
    assert found == [] and not Path("/tmp/climbed").exists()
    assert not any(path.is_symlink() for path in (house.settings.data / "jobs").rglob("*"))


def test_of_a_hundred_thousand_tiny_files_some_come_some_are_named_and_all_are_counted(
    world: SlurmWorld, roomy: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.core.limits.COLLECT_FILES", 200)
    job = world.submit(
        "#!/usr/bin/env python3\nimport os\n"
        "for n in range(100):\n"
        "    os.mkdir(f'd{n:02}')\n"
        "    for m in range(1000):\n"
        "        os.close(os.open(f'd{n:02}/f{m:03}', os.O_CREAT | os.O_WRONLY))\n"
    )
    ended(world, job, seconds=200)
    done = world.job(job)
    kinds = [each.kind for each in done.outputs]
    assert (kinds.count("stored"), kinds.count("reference")) == (200, 200)
    assert done.unfetched == 99_800
    assert any("99600 of them are not even named here" in note for note in done.notes), done.notes
