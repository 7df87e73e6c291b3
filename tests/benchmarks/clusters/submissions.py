"""What submitting costs: through the hub, ledger and all, beside bare `sbatch`, in turns, over one connection each.

Slurm is real. Its partition is down meanwhile, so that jobs are taken and none runs: what is measured is submitting.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

from tests.benchmarks.clusters.bare import Bare, archive_of
from tests.benchmarks.clusters.questions import LoginNode
from tests.benchmarks.clusters.world import Member, median, owner, p, say, slurm, until
from tests.real.slurm_box import SlurmBox

SCRIPT = "#!/bin/sh\nsort -n data.csv | tail -n 1 > largest.txt\n"
SCRIPT += "# Otherwise as long as scripts are.\n" * 20
DATA = "".join(f"{n * 7919 % 1000}\n" for n in range(500))


@contextlib.contextmanager
def closed(box: SlurmBox) -> Iterator[None]:
    """Jobs are taken and none starts."""
    box.empty()
    box.admin("scontrol", "update", "partitionname=debug", "state=down")
    try:
        yield
    finally:
        box.admin("scancel", f"--user={box.user}")
        box.empty()
        box.admin("scontrol", "update", "partitionname=debug", "state=up")


def prepared(member: Member, box: SlurmBox, **wish: Any) -> str:
    """The connection is warm, and the archive of what was laid for a first job is the bare one's too."""
    member.hub.write("data.csv", DATA)
    member.hub("artifact", "add", "data.csv")
    job = member.submit(SCRIPT, artifacts=["data.csv"], **wish)
    until(lambda: natives(member) >= 1, "the first job is taken")
    [folder] = box.home.glob(f".collegium/*/jobs/{job}/1")
    return archive_of(box, str(folder))


def natives(member: Member) -> int:
    """How many jobs the scheduler has given a number."""
    with member.rows() as db:
        return int(db.execute("select count(*) from jobs where native is not null").fetchone()[0])


def through_the_hub(member: Member, count: int, **wish: Any) -> float:
    """So many submissions by people who do not wait for each other; seconds until the last has its number."""
    before = natives(member)
    began = time.perf_counter()
    member.submit_many(count, SCRIPT, artifacts=["data.csv"], **wish)
    until(lambda: natives(member) >= before + count, "all have their number", every=0.02)
    return time.perf_counter() - began


def in_turns(
    channels: int, rounds: int, each: int, options: tuple[str, ...] = (), *, by_exec: bool = False, **wish: Any
) -> dict[str, float]:
    """Rounds through the hub and bare, one after the other; seconds of each in all."""
    box, spent = slurm(), {"hub": 0.0, "bare": 0.0, "exec": 0.0, "hub_cpu": 0.0, "hub_far": 0.0, "bare_far": 0.0}
    node = LoginNode(box)
    shells = max(1, channels - 2)  # one of the hub's channels listens, one is kept free

    async def story(member: Member, archive: str) -> None:
        async with Bare.opened(box, archive, options, channels) as bare:
            for number in range(rounds):
                cpu, far = member.cpu_seconds(), [node.cpu_seconds()]
                hub = await asyncio.to_thread(through_the_hub, member, each, **wish)
                spent["hub_cpu"] += member.cpu_seconds() - cpu
                far.append(node.cpu_seconds())
                alone = await bare.submit(each)
                far.append(node.cpu_seconds())
                spent["hub_far"] += far[1] - far[0]
                spent["bare_far"] += far[2] - far[1]
                spent["exec"] += await bare.by_exec(each) if by_exec else 0.0
                spent["hub"] += hub
                spent["bare"] += alone
                say(f"{channels} channels, round {number + 1}: hub {each / hub:.1f}/s, bare {each / alone:.1f}/s")

    with closed(box), owner(box, COLLEGIUM_CLUSTER_SHELLS=str(shells)) as member:
        asyncio.run(story(member, prepared(member, box, **wish)))
    node.stop()
    return spent


def submissions(scale: float) -> dict[str, Any]:
    """200 submissions by one channel, by eight, and arrays of 200 tasks."""
    each = max(5, round(50 * scale))
    found: dict[str, Any] = {}
    one = in_turns(1, 4, each, by_exec=True)
    found["submissions_to_bare_sbatch"] = one["bare"] / one["hub"]
    found["submissions_to_bare_sbatch_by_exec"] = one["exec"] / one["hub"]
    eight = in_turns(8, 4, each)
    found["submissions_to_bare_sbatch_eight_channels"] = eight["bare"] / eight["hub"]
    # So many that it is their throughput: of five, all would still be on their way.
    arrays = in_turns(1, 4, max(2, round(20 * scale)), ("--array=0-199",), resources={"array": "0-199"})
    found["arrays_to_bare_sbatch"] = arrays["bare"] / arrays["hub"]
    ms = 1000 / (4 * each)
    found["submission_cpu_ms_hub"], found["submission_cpu_ms_login_node"] = one["hub_cpu"] * ms, one["hub_far"] * ms
    found["submission_cpu_ms_login_node_bare"] = one["bare_far"] * ms
    found["submissions_per_second"] = 4 * each / one["hub"]
    found["submissions_per_second_eight_channels"] = 4 * each / eight["hub"]
    return found


def latency(scale: float) -> dict[str, Any]:
    """From the hub's answer to a submission until the scheduler's number is known, above the call of sbatch itself."""
    box, count = slurm(), max(5, round(40 * scale))
    ours, alone = [], []

    async def story(member: Member, archive: str) -> None:
        async with Bare.opened(box, archive) as bare:
            for _ in range(count):
                ours.append(await asyncio.to_thread(accepted_to_number, member))
                alone.append(await bare.sbatch_alone())

    with closed(box), owner(box) as member:
        asyncio.run(story(member, prepared(member, box)))
    say(f"accepted to number: median {median(ours) * 1000:.0f} ms, sbatch alone {median(alone) * 1000:.0f} ms")
    return {
        "number_after_accepted_above_sbatch_p50_ms": (median(ours) - median(alone)) * 1000,
        "number_after_accepted_p50_ms": median(ours) * 1000,
        "number_after_accepted_p95_ms": p(ours, 0.95) * 1000,
        "bare_sbatch_p50_ms": median(alone) * 1000,
    }


def accepted_to_number(member: Member) -> float:
    job = member.submit(SCRIPT, artifacts=["data.csv"])
    began = time.perf_counter()
    with member.rows() as db:
        query = "select native from jobs where id = ?"
        until(lambda: db.execute(query, (job,)).fetchone()[0] is not None, "it has its number", every=0.002)
    return time.perf_counter() - began
