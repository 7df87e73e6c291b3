"""A certificate ends while jobs run: they go on by themselves, and with the next one everything is seen, once."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.context import Actor
from hub.core.house import House
from hub.jobs import rules, views
from hub.jobs.clusters import reports
from hub.jobs.clusters.certifying import NOTE
from hub.jobs.clusters.rules import fingerprint
from hub.jobs.clusters.serving import Accounts
from hub.jobs.tables import jobs
from hub.ledger.tables import ledger
from tests.faults.storm import FakeCluster
from tests.jobs import run_steps
from tests.real.slurm_box import SlurmBox
from tests.real.sshd_box import SshdBox, sessions_of
from tests.real.user_ca import UserCa

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

Perform = Callable[..., Any]
SCRIPT = """#!/bin/sh
echo begun >> "$HOME/begun"
while ! test -e "$HOME/go"; do sleep 0.2; done
echo made > made.txt
echo all of it
"""


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    with FakeCluster("1") as made:
        made.write("knobs.json", {**made.knobs, "squeue_fails": 0, "squeue_slow": 0, "sacct_fails": 0, "sacct_lags": 0})
        made.write("plans.json", {})
        made.keys.write_text("")
        yield made


@pytest.fixture
def real(slurm: SlurmBox) -> Iterator[SlurmBox]:
    """The session's own, trusting an authority for as long as a test takes."""
    slurm.empty()
    slurm.sh("rm -f begun go")
    yield slurm
    slurm.more = []
    slurm.restart()
    slurm.sh("rm -f begun go")


class Story:
    """Ana's account by certificates, with the agents of the hub at work while it waits."""

    def __init__(self, house: House, perform: Perform, operator: Actor, ana: Actor, box: SshdBox, path: list[str]):
        self.house, self.perform, self.ana, self.box = house, perform, ana, box
        self.ca = UserCa(box).trusted()
        self.now = dt.datetime.now(dt.UTC)
        house.clock.set(self.now)  # type: ignore[attr-defined]
        key = {"fingerprint": fingerprint(box.host_key), "path": path}
        perform(operator, "cluster_add", name="raven", host="127.0.0.1", port=box.port, **key)
        made = perform(ana, "cluster_join", cluster="raven", login=box.user, certificate=True)
        self.public = made["public_key"]

    def certify(self, hours: int) -> Any:
        """Good for sshd, whose clock is this machine's, from now on until so many hours later."""
        text = self.ca.sign(self.public, valid=f"-5m:+{hours}h")
        return self.perform(self.ana, "cluster_certify", cluster="raven", certificate=text)

    def later(self, hours: float) -> None:
        """By the hub's clock it is so many hours after the test began."""
        self.house.clock.set(self.now + dt.timedelta(hours=hours))  # type: ignore[attr-defined]

    def submit(self) -> str:
        wish = {"script": SCRIPT, "job_type": "slurm", "outputs": ["made.txt"]}
        return str(self.perform(self.ana, "job_submit", **wish)["id"])

    def view(self, job: str) -> Any:
        with self.house.scope(self.ana) as scope:
            return views.job(scope, job)

    def said(self, job: str) -> list[str]:
        return [each for each in self.view(job).notes if each.startswith(NOTE)]

    def findings(self) -> dict[str, Any]:
        with self.house.scope(self.ana) as scope:
            return {each.name: each for each in reports.report(scope, "raven").findings}

    def begun(self) -> int:
        """How often the script was begun there, all in all."""
        return len(self.box.sh("cat begun 2>/dev/null || true").split())

    async def until(self, reached: Callable[[], object], seconds: float = 90.0) -> None:
        async with asyncio.timeout(seconds):
            while not await asyncio.to_thread(reached):
                await asyncio.to_thread(run_steps, self.house)
                await asyncio.sleep(0.05)


async def ends_and_is_renewed(story: Story) -> None:
    stop, first = asyncio.Event(), story.submit()
    serving = asyncio.create_task(Accounts(story.house, "here").run(stop))
    listener = story.box.running["sshd"].pid
    try:
        await story.until(lambda: story.view(first).state == "RUNNING" and story.begun() == 1)
        assert story.said(first) == [] and story.findings()["certificate"].holds

        await asyncio.to_thread(story.later, 5.5)
        await story.until(lambda: story.said(first))
        assert story.said(first)[0].endswith("; give a new one before.")
        assert story.findings()["certificate"].holds is None and sessions_of(listener)

        await asyncio.to_thread(story.later, 7)
        await story.until(lambda: "goes on there by itself" in "".join(story.said(first)))
        assert len(story.said(first)) == 1, "the newest word stands in the place of the one before"
        await story.until(lambda: not sessions_of(listener))
        assert story.findings()["certificate"].holds is False
        assert "see" in story.findings()["jobs"].hint and "connection" not in story.findings()
        second = await asyncio.to_thread(story.submit)
        await story.until(lambda: story.view(second).state == "SUBMITTING")
        assert "give a new certificate" in story.view(second).reason

        # It ends there, and Slurm has forgotten it by the time anybody may ask again.
        story.box.sh("touch go")
        await story.until(lambda: story.box.sh("find .collegium -name end"))
        await asyncio.to_thread(story.later, 6 * 24)
        for _ in range(20):
            await asyncio.to_thread(run_steps, story.house)
            await asyncio.sleep(0.1)
        assert (story.view(first).state, story.view(second).state) == ("RUNNING", "SUBMITTING")
        assert sessions_of(listener) == [], "nobody signs in meanwhile"

        await asyncio.to_thread(story.certify, 6 * 24 + 12)
        both = (first, second)
        await story.until(lambda: all(story.view(each).state in rules.TERMINAL for each in both))
    finally:
        stop.set()
        await serving
    for job in both:
        seen = story.view(job)
        assert (seen.state, story.said(job)) == ("SUCCEEDED", [])
        assert [each.path for each in seen.outputs] == ["made.txt"]
        with story.house.scope(story.ana) as scope:
            assert views.log_piece(scope, job).data == b"all of it\n"
    assert story.begun() == 2, "each ran once"
    with story.house.db.read() as conn:
        assert set(conn.execute(sa.select(jobs.c.run)).scalars()) == {1}
        told = sa.select(sa.func.count()).where(ledger.c.object == first, ledger.c.action == "job_observed")
        assert conn.execute(told).scalar_one() < 12, "it is told when it changes, and not at every look"


def test_a_certificate_ends_and_is_renewed_while_jobs_run(
    house: House, perform: Perform, operator: Actor, ana: Actor, fake: FakeCluster
) -> None:
    story = Story(house, perform, operator, ana, fake, [str(fake.bin)])
    story.certify(6)
    asyncio.run(ends_and_is_renewed(story))


def test_a_certificate_ends_and_is_renewed_while_jobs_run_on_slurm(
    house: House, perform: Perform, operator: Actor, ana: Actor, real: SlurmBox
) -> None:
    story = Story(house, perform, operator, ana, real, [])
    story.certify(6)
    asyncio.run(ends_and_is_renewed(story))


def test_one_that_is_renewed_in_time_is_never_missed(
    house: House, perform: Perform, operator: Actor, ana: Actor, fake: FakeCluster
) -> None:
    story = Story(house, perform, operator, ana, fake, [str(fake.bin)])
    story.certify(6)

    async def go() -> None:
        stop, job = asyncio.Event(), story.submit()
        serving = asyncio.create_task(Accounts(house, "here").run(stop))
        try:
            await story.until(lambda: story.view(job).state == "RUNNING")
            await asyncio.to_thread(story.later, 5.5)
            await story.until(lambda: story.said(job))
            await asyncio.to_thread(story.certify, 18)
            assert story.said(job) == []
            await asyncio.to_thread(story.later, 7)  # after the end of the first, whose steps say nothing any more
            run_steps(house)
            assert story.said(job) == []
            fake.sh("touch go")
            await story.until(lambda: story.view(job).state in rules.TERMINAL)
        finally:
            stop.set()
            await serving
        assert (story.view(job).state, story.begun()) == ("SUCCEEDED", 1)

    asyncio.run(go())
