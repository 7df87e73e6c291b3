"""What a job asked to have around it is really there, on a real Slurm: modules, a venv, a prefix as conda makes them,
and no more memory than it asked for.

Apptainer is in none of Debian 12's packages, so the line that enters a container is not tried here. Nor is conda: its
hook is stood in for by one that activates a prefix through `bin/activate`, which is what our two lines ask of it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.core.context import Actor
from hub.core.house import House
from tests.real.slurm_box import SlurmBox
from tests.real.slurm_world import SlurmWorld

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

MODULES = Path("/etc/profile.d/modules.sh")
TOOL = "#!/bin/sh\necho 'the tool of %s'\n"
HOOK = """conda() { [ "$1" = activate ] && . "$HOME/conda/envs/$2/bin/activate"; }"""


@pytest.fixture
def world(house: House, ana: Actor, perform: Callable[..., Any], slurm: SlurmBox) -> Iterator[SlurmWorld]:
    slurm.empty()
    yield SlurmWorld(house, ana, perform, slurm)
    slurm.sh("rm -rf .profile modules tool conda venv")


def ended(world: SlurmWorld, *jobs: str, seconds: float = 100) -> None:
    async def story() -> None:
        await world.until(world.over(*jobs), seconds)

    world.play(story)


def put(world: SlurmWorld, path: str, text: str) -> None:
    """A file of the person's, executable as programs are."""
    world.box.sh(f"mkdir -p $(dirname {path}) && cat > {path} <<'~~' && chmod 755 {path}\n{text}\n~~")


def test_modules_are_loaded_recorded_and_missing_ones_end_the_job(world: SlurmWorld) -> None:
    if not MODULES.exists():
        pytest.skip("environment-modules is not installed")
    put(world, "modules/tool/1.2", "#%Module1.0\nprepend-path PATH $::env(HOME)/tool/bin\nsetenv TOOL_VERSION 1.2")
    put(world, "tool/bin/tool", TOOL % "a module")
    world.box.sh("printf 'module use $HOME/modules\\n' > .profile")
    good = world.submit("#!/bin/bash\ntool; echo $TOOL_VERSION\n", environment={"modules": ["tool/1.2"]})
    bad = world.submit("#!/bin/bash\necho never\n", environment={"modules": ["tool/9.9"]})
    plain = world.submit("#!/bin/bash\necho ${TOOL_VERSION:-none}\n")
    ended(world, good, bad, plain)
    assert world.log(good) == b"the tool of a module\n1.2\n", world.job(good).reason
    assert world.job(bad).state == "FAILED" and b"never" not in world.log(bad)
    assert b"tool/9.9" in world.log(bad)
    assert world.log(plain) == b"none\n"
    listed = world.box.sh(f"cat .collegium/hub-of-tests/jobs/{good}/1/modules")
    assert "tool/1.2" in listed


def test_a_venv_and_a_prefix_as_conda_makes_them_come_first_on_the_path(world: SlurmWorld) -> None:
    world.box.sh("python3 -m venv --without-pip venv")
    put(world, "conda/envs/lab/bin/tool", TOOL % "a prefix")
    put(world, "conda/envs/lab/bin/activate", 'PATH="$HOME/conda/envs/lab/bin:$PATH"; export CONDA_DEFAULT_ENV=lab')
    put(world, "conda/bin/conda", f"#!/bin/sh\n[ \"$*\" = 'shell.bash hook' ] && cat <<'~'\n{HOOK}\n~")
    world.box.sh("printf 'PATH=$HOME/conda/bin:$PATH\\n' > .profile")
    script = "#!/usr/bin/env python3\nimport json, sys\nprint(json.dumps([sys.prefix, sys.base_prefix]))\n"
    in_venv = world.submit(script, environment={"venv": f"{world.box.home}/venv"})
    in_conda = world.submit("#!/bin/bash\ntool; echo $CONDA_DEFAULT_ENV\n", environment={"conda": "lab"})
    nowhere = world.submit("#!/bin/bash\necho never\n", environment={"conda": "no such; echo never"})
    ended(world, in_venv, in_conda, nowhere)
    prefix, base = json.loads(world.log(in_venv))
    assert prefix == f"{world.box.home}/venv" != base
    assert world.log(in_conda) == b"the tool of a prefix\nlab\n"
    assert world.job(nowhere).state == "FAILED" and b"never\n" not in world.log(nowhere).replace(b"echo never\n", b"")


def test_a_job_that_takes_more_memory_than_it_asked_for_ends_as_that(world: SlurmWorld) -> None:
    # Watched by JobAcctGather (OverMemoryKill): this Slurm has no control groups to hold a job in.
    greedy = "#!/usr/bin/env python3\nimport time\nheld = b'x' * 300_000_000\ntime.sleep(60)\nprint('never')\n"
    job = world.submit(greedy, resources={"memory": "64M"})
    modest = world.submit("#!/bin/sh\necho fits\n", resources={"memory": "64M"})
    ended(world, job, modest)
    assert world.job(job).state == "OUT_OF_MEMORY", world.job(job).reason
    assert b"never" not in world.log(job)
    assert world.job(modest).state == "SUCCEEDED"
