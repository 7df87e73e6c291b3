"""The Slurm that the other tests stand on is one: it takes the sizes people ask for, runs and accounts for them."""

from __future__ import annotations

import pytest

from tests.real.slurm_box import SlurmBox
from tests.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


def test_two_nodes_of_sixteen_cpus_run_and_are_accounted_for(slurm: SlurmBox) -> None:
    slurm.empty()
    wish = "--nodes=2 --ntasks-per-node=1 --cpus-per-task=16 --mem=32GB --time=2:00:00"
    job = slurm.sh(f"sbatch --parsable {wish} --output=two.out --wrap 'srun sh -c \"echo \\$SLURMD_NODENAME\"'")
    wait_for(lambda: slurm.admin("squeue", "-h", "-t", "all", "-j", job, "-o", "%T") == "COMPLETED", 60, "the end")
    assert sorted((slurm.home / "two.out").read_text().split()) == ["fake1", "fake2"]
    # Of both nodes together, and some seconds late.
    told = ["sacct", "-X", "-n", "-P", "-j", job, "-o", "State,NNodes,AllocCPUS,ReqMem"]
    wait_for(lambda: slurm.admin(*told) == "COMPLETED|2|32|64G", 30, "its account")
