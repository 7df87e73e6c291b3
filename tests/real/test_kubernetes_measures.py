"""What a job on a real Kubernetes used, told after its pod is gone: its programs' memory and time, and what it cost."""

from __future__ import annotations

import pytest

from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.jobs import efficiency
from hub.jobs.backends import pod_side
from hub.jobs.backends.kubernetes_rules import short
from tests.real.kube_lab import Lab, until
from tests.real.kube_world import CLUSTER, World, world

__all__ = ["world"]  # a fixture

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

MIB = 1 << 20
# It holds 150 MiB, and has the kernel keep 200 MiB of a file that it wrote.
HOLDS = """python3 - <<'.'
held = b'x' * (150 << 20)
with open('large', 'wb') as file:
    for _ in range(200):
        file.write(bytes(1 << 20))
import time
time.sleep(2.5)
.
rm large
"""
# Work that its parent does not wait for is work all the same.
FORKS = """python3 - <<'.'
import os, time
if os.fork() == 0:
    os.setsid()
    until = time.process_time() + 2
    while time.process_time() < until:
        pass
    open('done', 'w').close()
    os._exit(0)
os._exit(0)
.
while [ ! -e done ]; do sleep 1; done
"""


def test_what_the_kernel_keeps_of_files_is_not_counted_as_the_programs_memory(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pod_side, "LOOKED_AT_SECONDS", 2.0)
    backend = lab.backend()
    work = lab.work(memory="600M")
    lab.send(backend, work, HOLDS)
    seen = until(backend, work, "ended").exit
    assert seen is not None and (seen.reason, seen.code) == ("exited", 0)
    words = dict(line.split(" ", 1) for line in (lab.run_folder(work) / "end").read_text().splitlines())
    assert int(words["peak"]) > 300 * MIB, "the kernel's own mark has both in it"
    assert 150 * MIB <= seen.peak_memory_bytes < 200 * MIB


def test_the_time_of_a_program_that_nobody_waited_for_is_counted(lab: Lab) -> None:
    backend = lab.backend()
    work = lab.work()
    lab.send(backend, work, FORKS)
    seen = until(backend, work, "ended").exit
    assert seen is not None and (seen.reason, seen.code) == ("exited", 0)
    assert 2.0 <= seen.cpu_seconds <= 60.0


def test_a_program_that_ran_out_of_memory_is_told_to_have_held_all_it_had(lab: Lab) -> None:
    backend = lab.backend()
    work = lab.work()
    lab.send(backend, work, 'python3 -c "b=[]\nwhile True: b.append(bytearray(4<<20))"')
    seen = until(backend, work, "ended").exit
    assert seen is not None and seen.reason == "memory"
    assert seen.peak_memory_bytes >= 60 * 10**6


def test_a_job_tells_what_it_asked_and_used_and_what_it_cost_once_its_pod_is_gone(
    world: World, operator: Actor, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(efficiency, "SHORTEST_SECONDS", 1)
    world.perform(operator, "cluster_change", name=CLUSTER, price_per_core_hour=3.6)

    async def story() -> None:
        script = (
            "#!/usr/bin/env python3\nimport os, time\nwhile time.process_time() < 3 or not os.path.exists('go'): pass\n"
        )
        job = world.submit(script, resources={"memory": "4G", "time": "3:00:00", "cpus_per_node": 1})
        await world.until(lambda: world.job(job).state == "RUNNING")
        clock.advance(3600)
        (world.lab.volume / short(world.agent.backend.hub) / "jobs" / job / "1" / "work" / "go").touch()
        await world.until(world.over(job))
        seen = world.job(job)
        assert seen.state == "SUCCEEDED"
        pods = lambda: [each["metadata"]["labels"]["collegium/job"] for each in world.lab.pods()]  # noqa: E731
        await world.until(lambda: job not in pods())
        found = seen.efficiency
        assert found is not None and found.cpu is not None and found.memory is not None
        assert found.cpu > 0.2 and found.memory < 0.05
        hints = {each.about: each for each in found.hints}
        assert hints["memory"].sentence.startswith("Asked 4 GiB of memory, used "), hints
        assert hints["memory"].option == "--memory 1G" and "time" in hints
        assert seen.cost is not None and seen.cost.amount is not None
        assert (seen.cost.core_hours, seen.cost.amount) == (pytest.approx(1.0), pytest.approx(3.6))

    world.play(story)
