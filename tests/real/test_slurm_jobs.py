"""Jobs on a real Slurm, from submission to what they made: the seed's payload, and every way one can end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from hub.core.actions import from_object
from hub.core.context import Actor
from hub.core.house import House
from hub.jobs import preview as previews
from hub.jobs.backends import far_side, slurm_rules
from hub.jobs.plan_tables import job_plans
from tests.jobs import add_file
from tests.real.slurm_box import SlurmBox
from tests.real.slurm_world import SlurmWorld

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]

Perform = Callable[..., Any]


@pytest.fixture
def world(house: House, ana: Actor, perform: Perform, slurm: SlurmBox) -> Iterator[SlurmWorld]:
    slurm.empty()
    yield SlurmWorld(house, ana, perform, slurm)


def test_the_seed_payload_runs_and_what_it_made_comes_back(
    world: SlurmWorld, house: House, ana: Actor, perform: Perform
) -> None:
    add_file(house, ana, perform, "input_data.csv", b"1\n2\n3\n")
    add_file(house, ana, perform, "analysis_script.py", b"# nothing of it is run\n")
    add_file(
        house,
        ana,
        perform,
        "analyze_data.py",
        b"import os\n"
        b"print('nodes', os.environ['SLURM_JOB_NUM_NODES'], 'cpus', os.environ['SLURM_JOB_CPUS_PER_NODE'],\n"
        b"      'memory', os.environ['SLURM_MEM_PER_NODE'])\n"
        b"open('total.txt', 'w').write(str(sum(map(int, open('input_data.csv')))))\n",
    )
    job = world.submit(
        "#!/bin/bash\n#SBATCH --job-name=physics_analysis\npython3 analyze_data.py",
        resources={"nodes": 2, "cpus_per_node": 16, "memory": "32GB", "time": "2:00:00"},
        artifacts=["input_data.csv", "analysis_script.py", "analyze_data.py"],
    )

    async def story() -> None:
        await world.until(world.over(job))

    world.play(story)
    done = world.job(job)
    assert (done.state, done.reason, done.exit_code, done.backend) == ("SUCCEEDED", "Finished.", 0, "raven")
    assert world.log(job) == b"nodes 2 cpus 16(x2) memory 32768\n"
    assert [each.path for each in done.outputs] == ["total.txt"]
    assert done.notes == ()
    assert world.lines(job) in (4, 5)  # placed, accepted, started, ended and brought home; a short one ends unseen
    told = world.box.sh(f"squeue -h -t all -j {world.row(job).native} -o '%D|%C|%m|%l|%j|%k'").split("|")
    assert told[:4] == ["2", "32", "32G", "2:00:00"]
    assert told[4].startswith("physics_analysis.k") and told[5] == told[4]


def test_a_jobs_exit_code_comes_back_with_its_log_and_what_it_made(world: SlurmWorld) -> None:
    job = world.submit("#!/bin/bash\necho part > part.txt\necho oh no >&2\nexit 3\n")

    async def story() -> None:
        await world.until(world.over(job))

    world.play(story)
    done = world.job(job)
    assert (done.state, done.reason, done.exit_code) == ("FAILED", "The program ended with exit code 3.", 3)
    assert world.log(job) == b"oh no\n"
    assert [each.path for each in done.outputs] == ["part.txt"]


def test_a_running_job_is_followed_and_cancelled(world: SlurmWorld) -> None:
    job = world.submit("#!/bin/bash\necho ready\nsleep 600\n")

    async def story() -> None:
        await world.until(lambda: world.log(job) == b"ready\n")
        assert world.job(job).state == "RUNNING"
        world.cancel(job)
        await world.until(world.over(job))

    world.play(story)
    done = world.job(job)
    assert (done.state, done.reason) == ("CANCELLED", "Cancelled.")
    assert world.box.admin("squeue", "-h", "-o", "%i") == ""


def test_a_waiting_job_says_why_and_is_cancelled_without_having_run(world: SlurmWorld) -> None:
    hog = world.box.sh("sbatch --parsable -N4 --exclusive -t5 -o /dev/null --wrap 'sleep 300'")
    job = world.submit("#!/bin/bash\ntouch ran\n", resources={"nodes": 2})

    async def story() -> None:
        await world.until(lambda: "becom" in world.job(job).reason or "behind" in world.job(job).reason)
        assert world.job(job).state == "PENDING"
        world.cancel(job)
        await world.until(world.over(job))

    world.play(story)
    assert world.job(job).state == "CANCELLED"
    assert world.job(job).outputs == []
    world.box.sh(f"scancel {hog}")


def test_what_slurm_will_never_take_is_refused_in_its_own_words(world: SlurmWorld) -> None:
    big = world.submit("#!/bin/bash\ntrue\n", resources={"memory": "9T"})
    nowhere = world.submit("#!/bin/bash\ntrue\n", resources={"partition": "nope"})

    async def story() -> None:
        await world.until(world.over(big, nowhere))

    world.play(story)
    assert world.job(big).state == world.job(nowhere).state == "FAILED"
    assert world.job(big).reason.startswith("raven would not take it: Memory specification can not be satisfied")
    assert "invalid partition specified: nope" in world.job(nowhere).reason


def test_a_job_that_is_killed_says_by_what(world: SlurmWorld) -> None:
    job = world.submit("#!/bin/bash\nkill -SEGV $$\n")

    async def story() -> None:
        await world.until(world.over(job))

    world.play(story)
    assert (world.job(job).state, world.job(job).reason) == ("FAILED", "The program was killed by SIGSEGV.")


def test_a_requeued_job_runs_again_and_tells_its_attempts(world: SlurmWorld) -> None:
    job = world.submit("#!/bin/bash\necho begun >> begun.txt\necho at it\n[ $(wc -l < begun.txt) = 2 ] || sleep 600\n")

    async def story() -> None:
        await world.until(lambda: world.log(job) == b"at it\n")
        native = world.row(job).native
        world.box.admin("scontrol", "requeue", native)
        await world.until(lambda: world.box.starts_again(native))
        await world.until(world.over(job))

    world.play(story)
    assert (world.job(job).state, world.job(job).reason) == ("SUCCEEDED", "Finished.")
    assert b"== attempt 2 on " in world.log(job)


SHIM = """#!/bin/sh
# Calls the real one as a broken conversation would: {what}
case "$*" in *--parsable*) [ -e "$HOME/broken" ] ;; *) false ;; esac || exec /usr/bin/sbatch "$@"
rm -f "$HOME/broken"
{body}
"""


def broken_once(world: SlurmWorld, what: str, body: str) -> None:
    """The next sbatch breaks off in this way."""
    folder = world.box.home / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "sbatch").write_text(SHIM.format(what=what, body=body))
    (folder / "sbatch").chmod(0o755)
    world.box.sh("touch broken")
    world.agent.backend.connection.path = (str(folder),)


ACCEPTED_AND_LOST = {
    "the answer is lost with whoever waited for it": '/usr/bin/sbatch "$@" >/dev/null; kill -9 $PPID',
    "it was accepted, and said to have timed out": (
        '/usr/bin/sbatch "$@" >/dev/null\n'
        'echo "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation" >&2; exit 1'
    ),
    "it was accepted, and hangs for ever": '/usr/bin/sbatch "$@" >/dev/null; sleep 1000',
    "it was accepted twice": '/usr/bin/sbatch "$@" >/dev/null; exec /usr/bin/sbatch "$@"',
}


@pytest.mark.parametrize("what", ACCEPTED_AND_LOST)
def test_an_accepted_job_runs_once_whatever_becomes_of_the_answer(
    world: SlurmWorld, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.jobs.backends.slurm.SUBMIT_SECONDS", 3.0)
    broken_once(world, what, ACCEPTED_AND_LOST[what])
    job = world.submit("#!/bin/bash\necho once >> once.txt\nsleep 12\necho $SLURM_JOB_ID\n")

    async def story() -> None:
        await world.until(world.over(job), 100)

    world.play(story)
    done = world.job(job)
    assert not (world.box.home / "broken").exists()
    assert (done.state, world.row(job).run) == ("SUCCEEDED", 1), done.reason
    assert world.log(job).decode() in (f"{world.row(job).native}\n",)
    assert [each.size_bytes for each in done.outputs] == [5]
    assert world.box.admin("squeue", "-h", "-o", "%i") == ""


def test_a_job_that_was_never_accepted_is_submitted_again_and_the_first_run_can_never_run(world: SlurmWorld) -> None:
    broken_once(world, "nothing was accepted, and nobody knows", "kill -9 $PPID")
    job = world.submit("#!/bin/bash\necho once >> once.txt\n")

    async def story() -> None:
        await world.until(world.over(job), 150)

    world.play(story)
    done = world.job(job)
    assert (done.state, world.row(job).run) == ("SUCCEEDED", 2), done.reason
    root = f"{world.box.home}/.collegium/hub-of-tests/jobs/{job}"
    assert world.box.sh(f"cat {root}/1/run.lock") == "nobody"
    late = world.box.sh(f"cd {root}/1 && sbatch --parsable --wait --output=late {root}/1/run.sh || :")
    assert late.isdigit()
    assert "a second copy" in world.box.sh(f"cat {root}/1/late")
    assert world.box.sh(f"ls {root}/1/work") == ""


def test_an_agent_that_takes_over_finds_everything_where_it_lies(world: SlurmWorld) -> None:
    first = world.submit("#!/bin/bash\necho one\nsleep 8\necho two\n")

    async def story() -> None:
        await world.until(lambda: world.log(first) == b"one\n")
        await world.agent.close()
        world.agent = world.new_agent()
        await world.until(world.over(first))

    world.play(story)
    assert world.job(first).state == "SUCCEEDED"
    assert world.log(first) == b"one\ntwo\n"


def test_the_scheduler_is_asked_at_most_six_times_a_minute_and_events_come_within_two_seconds(
    world: SlurmWorld,
) -> None:
    jobs = [world.submit(f"#!/bin/bash\nsleep {n}\n", name=f"n{n}") for n in range(8)]

    async def story() -> None:
        await world.until(world.over(*jobs))

    world.play(story)
    assert {world.job(each).state for each in jobs} == {"SUCCEEDED"}
    assert world.agent.backend.per_minute("squeue", "sacct") <= 6
    assert world.agent.backend.connection.opened == 1


def test_time_that_runs_out_is_told_as_that(world: SlurmWorld) -> None:
    job = world.submit("#!/bin/bash\necho on\nsleep 600\n", resources={"time": 1})

    async def story() -> None:
        await world.until(world.over(job), 150)

    world.play(story)
    assert world.job(job).state == "TIMED_OUT"
    assert world.job(job).reason == "Ended by Slurm, because its time limit was reached."


def test_a_job_that_depends_on_another_says_so_and_one_that_never_can_says_that(world: SlurmWorld) -> None:
    first = world.submit("#!/bin/bash\nsleep 20; exit 1\n")

    async def story() -> None:
        await world.until(lambda: world.row(first).native)
        native = world.row(first).native
        after = world.submit(f"#!/bin/bash\n#SBATCH -d afterany:{native}\necho after\n")
        never = world.submit(f"#!/bin/bash\n#SBATCH --dependency=afterok:{native}\necho never\n")
        await world.until(lambda: world.job(after).reason == "Waiting for another job to end.", 30)
        await world.until(world.over(first, after), 90)
        assert world.log(after) == b"after\n"
        await world.until(lambda: world.job(never).reason.startswith("It will never start"), 90)
        world.cancel(never)
        await world.until(world.over(never))
        assert world.job(never).state == "CANCELLED"

    world.play(story)


def test_an_array_is_one_job_with_a_log_for_each_task(world: SlurmWorld, house: House) -> None:
    job = world.submit(
        "#!/bin/bash\necho task $SLURM_ARRAY_TASK_ID\ntouch made.$SLURM_ARRAY_TASK_ID\n"
        "sleep $SLURM_ARRAY_TASK_ID\n[ $SLURM_ARRAY_TASK_ID != 2 ]\n",
        resources={"array": "1-3"},
    )

    async def story() -> None:
        await world.until(world.over(job), 90)

    world.play(story)
    done = world.job(job)
    assert (done.state, done.exit_code) == ("FAILED", 1)
    assert {each.path for each in done.outputs} == {f"logs/{n}.log" for n in (1, 2, 3)} | {
        f"made.{n}" for n in (1, 2, 3)
    }
    with house.db.read() as conn:
        plan = conn.execute(sa.select(job_plans).where(job_plans.c.job == job)).one()
    told = world.row(job).exit
    assert (plan.tasks, told["tasks"]) == (3, 3)
    # The clock there tells whole seconds: each of them may seem a second shorter than its sleep.
    assert told["task_seconds"] >= (1 + 2 + 3) - 3
    assert plan.held_seconds == pytest.approx(told["task_seconds"] / 3)


def test_a_dry_run_is_what_lies_on_the_cluster_and_what_slurm_was_asked(
    world: SlurmWorld, house: House, ana: Actor, perform: Perform
) -> None:
    add_file(house, ana, perform, "fit.sh", b"#!/bin/bash\n#SBATCH --time=9 --mem=100M\n#SBATCH -c 2\nsleep 60\n")
    add_file(house, ana, perform, "in.csv", b"1\n")
    wanted: dict[str, Any] = {"args": ["a b", "$(id)"], "artifacts": ["in.csv"], "env": {"NAME": "it's"}}
    wanted |= {"resources": {"time": "5"}, "environment": {"setup": ["ulimit -c 0"]}}
    with house.scope(ana) as scope:
        act = from_object({"action": "job_submit", "script": "fit.sh", "job_type": "slurm", **wanted}, "$")
        [shown] = previews.preview(scope, act).jobs
    job = world.submit("fit.sh", **wanted)

    async def story() -> None:
        await world.until(lambda: world.row(job).native is not None)

    world.play(story)
    root = f"{world.box.home}/{far_side.below_home('hub-of-tests')}"
    folder = far_side.folder_of(root, job, 1)

    def named(text: str) -> str:
        """What lies there, with the words that stand in a dry run for what only a job has."""
        return text.replace(root, f"{previews.HOME}/{far_side.below_home(world.account)}").replace(job, previews.JOB)

    there = world.box.sh(f"cd {folder} && find run.sh given work -type f").split()
    assert sorted(there) == sorted([*(each.path for each in shown.files), "work/in.csv"])
    for each in shown.files:
        assert named(world.box.sh(f"cat {folder}/{each.path}")) == each.text.rstrip("\n"), each.path
    assert shown.folder == named(folder)
    told = world.box.sh(f"squeue -h -t all -j {world.row(job).native} -o '%l|%m|%c|%k|%Z'").split("|")
    assert told[:2] == ["5:00", "100M"] and told[4] == folder
    assert {"--time=0:05:00", "--mem=100M", "--cpus-per-task=2"} <= set(shown.command)
    token = slurm_rules.token_of("hub-of-tests", job, 1)
    assert f"--comment={told[3]}".replace(token, previews.TOKEN) in shown.command
    world.cancel(job)
