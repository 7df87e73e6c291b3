#!/usr/bin/env python3
"""A scheduler that misbehaves as it is told: sbatch, squeue, sacct, scancel, scontrol and sinfo in one file.

It stands behind a real sshd under those names, and starts real processes. What goes wrong with which submission stands
in `plans.json`, by the name of the job; what goes wrong with questions in `knobs.json`. Standard library only: it runs
as somebody who sees nothing of the tests.

A command waits at a gate (`gate.before.hold`, `gate.after.scancel`) while that file is there, and says that it is there
by `at.before.hold`: so a test can kill whoever asked in the middle of it. Where the gate says "first", only the first
who comes to it waits.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HOME = Path.home() / "fake"
TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}


@contextlib.contextmanager
def locked() -> Iterator[None]:
    with (HOME / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def knobs() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HOME / "knobs.json").read_text())
    return found


def jobs() -> list[dict[str, Any]]:
    return [json.loads(each.read_text()) for each in sorted((HOME / "jobs").glob("*.json"))]


def keep(job: dict[str, Any]) -> None:
    path = HOME / "jobs" / f"{job['key']}.json"
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(job))
    temporary.replace(path)


def change(key: str, **values: Any) -> dict[str, Any]:
    with locked():
        job: dict[str, Any] = json.loads((HOME / "jobs" / f"{key}.json").read_text())
        if job["state"] not in ENDED:
            job |= values
            keep(job)
        return job


def luck(command: str) -> float:
    """The next number of this command's own sequence: the same for the same seed, whoever asks."""
    with locked():
        counter = HOME / f"count.{command}"
        count = int(counter.read_text()) if counter.exists() else 0
        counter.write_text(str(count + 1))
    return random.Random(f"{knobs()['seed']}.{command}.{count}").random()


def gate(where: str) -> None:
    """Wait there while a test wants it; a test that is gone does not keep anybody."""
    closed, until = HOME / f"gate.{where}", time.time() + 120
    if closed.exists():
        if "first" in closed.read_text() and (HOME / f"at.{where}").exists():
            return
        (HOME / f"at.{where}").write_text(str(os.getpid()))
        while closed.exists() and time.time() < until:
            time.sleep(0.02)


def option(argv: list[str], name: str, default: str = "") -> str:
    return next((each.partition("=")[2] for each in reversed(argv) if each.startswith(f"--{name}=")), default)


# --- sbatch ---------------------------------------------------------------------------------------------------------


def sbatch(argv: list[str]) -> int:
    if "--version" in argv:
        print("slurm 99.fake")
        return 0
    if "--test-only" in argv:
        now = moment(time.time())
        print(f"sbatch: Job 1 to start at {now} using 1 processors on nodes fake1 in partition debug", file=sys.stderr)
        return 0
    name = option(argv, "job-name")
    plan, fault = next_fault(name.partition(".")[0])
    if fault == "refused":
        print("sbatch: error: Batch job submission failed: Invalid qos specification", file=sys.stderr)
        return 1
    if fault in ("timed_out_before", "hang_before", "killed_before"):
        return break_off(fault)
    if fault == "late":
        in_background(lambda: (time.sleep(plan["late"]), accept(argv, plan)))
        return break_off("killed")
    if fault == "slow":
        time.sleep(plan["slow"])
    number = accept(argv, plan)
    if fault == "twice":
        number = accept(argv, plan)
    if fault in ("killed", "timed_out", "hang"):
        return break_off(fault)
    print("what is this" if fault == "garbage" else number)
    return 0


def next_fault(name: str) -> tuple[dict[str, Any], str]:
    """What goes wrong with this submission of this job; the one after may fare better."""
    with locked():
        plans = json.loads((HOME / "plans.json").read_text())
        plan = plans.get(name, {"sbatch": [], "run": "ok", "seconds": 0, "delay": 0})
        fault = plan["sbatch"].pop(0) if plan["sbatch"] else "ok"
        (HOME / "plans.json.tmp").write_text(json.dumps(plans))
        (HOME / "plans.json.tmp").replace(HOME / "plans.json")
    return plan, fault


def break_off(how: str) -> int:
    if how.startswith("killed"):
        os.kill(os.getppid(), signal.SIGKILL)
    elif how.startswith("hang"):
        time.sleep(1000)
    print(TIMED_OUT, file=sys.stderr)
    return 1


def accept(argv: list[str], plan: dict[str, Any]) -> int:
    with locked():
        counter = HOME / "next"
        number = int(counter.read_text()) if counter.exists() else 1
        alive = {job["id"] for job in jobs() if job["state"] not in ENDED}
        while number in alive:
            number += 1
        counter.write_text(str(number + 1))
        now = time.time()
        job = {"id": number, "key": f"{now:.6f}.{os.getpid()}", "state": "PENDING", "reason": "Priority"}
        job |= {"name": option(argv, "job-name"), "comment": option(argv, "comment"), "submitted": now}
        job |= {"expected": now + plan["expected"] if "expected" in plan else None, "hub_requeues": 0}
        job |= {"start": None, "end": None, "code": 0, "signal": 0, "group": None, "restarts": 0}
        keep(job)
    in_background(lambda: stepd(job, argv, plan))
    return number


def in_background(work: Any) -> None:
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nothing, number)
    try:
        work()
    finally:
        os._exit(0)


def stepd(job: dict[str, Any], argv: list[str], plan: dict[str, Any]) -> None:
    """One job from its start to its end, as a node would."""
    key, kind = job["key"], plan["run"]
    time.sleep(plan["delay"])
    while True:
        with locked():
            now: dict[str, Any] = json.loads((HOME / "jobs" / f"{key}.json").read_text())
            if now["state"] in ENDED:
                return
            waits = now["reason"] == "JobHeldUser" or now["expected"]
        if waits:
            time.sleep(0.05)
            continue
        with locked():
            now = json.loads((HOME / "jobs" / f"{key}.json").read_text())
            if now["state"] in ENDED or now["reason"] == "JobHeldUser":
                continue
            # In here, so that a cancel finds either no process at all or this one.
            process = start(now, argv)
            keep(now | {"state": "RUNNING", "reason": "None", "start": time.time(), "group": process.pid})
        if kind in ("node_fail", "timeout") or (kind == "requeue" and now["restarts"] == 0):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(plan["seconds"])
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if kind == "requeue":
                change(key, state="PENDING", reason="BeginTime", restarts=1, group=None)
                time.sleep(plan["delay"])
                continue
            change(key, state="NODE_FAIL" if kind == "node_fail" else "TIMEOUT", end=time.time())
            return
        code = process.wait()
        with locked():
            then = json.loads((HOME / "jobs" / f"{key}.json").read_text())
        if then["hub_requeues"] > now["hub_requeues"] and then["state"] == "PENDING":
            continue
        state = "COMPLETED" if code == 0 else "FAILED"
        change(key, state=state, end=time.time(), code=max(code, 0), signal=max(-code, 0))
        return


def start(job: dict[str, Any], argv: list[str]) -> subprocess.Popen[bytes]:
    output = option(argv, "output").replace("%j", str(job["id"])).replace("%%", "%")
    env = {**os.environ, "SLURM_JOB_ID": str(job["id"])}
    if job["restarts"]:
        env["SLURM_RESTART_COUNT"] = str(job["restarts"])
    with Path(output).open("ab") as log:
        return subprocess.Popen(
            [argv[-1]],
            cwd=option(argv, "chdir"),
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


# --- questions ------------------------------------------------------------------------------------------------------


def moment(at: float | None) -> str:
    return "N/A" if at is None else dt.datetime.fromtimestamp(at, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def squeue(argv: list[str]) -> int:
    chance = luck("squeue")
    if chance < knobs()["squeue_fails"]:
        print("slurm_load_jobs error: Unable to contact slurm controller (connect failure)", file=sys.stderr)
        return 1
    if chance > 1 - knobs()["squeue_slow"]:
        time.sleep(2)
    if chance > 0.5:
        print("*** this cluster is closed on Monday | for maintenance ***")
    form, now = argv[argv.index("-o") + 1], time.time()
    for job in jobs():
        if job["state"] in ENDED and now - (job["end"] or now) > knobs()["forgets_after"]:
            continue
        line = form.replace("%i", str(job["id"])).replace("%F", str(job["id"])).replace("%T", job["state"])
        line = line.replace("%r", job["reason"]).replace("%S", moment(job["start"] or job["expected"]))
        line = line.replace("%V", moment(job["submitted"])).replace("%N", "fake1" if job["start"] else "")
        print(line.replace("%k", job["comment"]).replace("%j", job["name"]))
    return 0


def sacct(argv: list[str]) -> int:
    if luck("sacct") < knobs()["sacct_fails"]:
        print(
            "sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection", file=sys.stderr
        )
        return 1
    ids, since = option(argv, "jobs"), option(argv, "starttime")
    lag, now = knobs()["sacct_lags"], time.time()
    after = dt.datetime.fromisoformat(since).replace(tzinfo=dt.UTC).timestamp()
    for job in jobs():
        if (ids and str(job["id"]) not in ids.split(",")) or job["submitted"] < after or now - job["submitted"] < lag:
            continue
        state, end = job["state"], job["end"]
        if end is not None and now - end < lag:
            state, end = "RUNNING", None
        known = "allocation" if now - job["submitted"] < 2 * lag else job["name"]
        code = f"{job['code']}:{job['signal']}" if end else "0:0"
        times = f"{moment(job['submitted'])}|{moment(job['start'])}|{moment(end)}"
        print(f"{job['id']}|{state}|{code}|{times}|1|fake1|{job['comment']}|{known}")
    return 0


def scancel(argv: list[str]) -> int:
    gate("before.scancel")
    name = option(argv, "name")
    ids = {each for each in argv if each.isdigit()}
    for job in jobs():
        if job["state"] not in ENDED and (str(job["id"]) in ids or (name and job["name"] == name)):
            now = change(job["key"], state="CANCELLED", end=time.time(), signal=15)
            if now["group"]:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(now["group"], signal.SIGKILL)
    gate("after.scancel")
    return 0


def scontrol(argv: list[str]) -> int:
    if argv[:2] == ["show", "job"]:
        return show(argv[2])
    if argv[0] in ("hold", "release", "requeue"):
        gate(f"before.{argv[0]}")
        code = steer(*argv[:2])
        gate(f"after.{argv[0]}")
        return code
    print(f"MinJobAge               = {knobs()['forgets_after']} sec")
    print("AccountingStorageType   = accounting_storage/slurmdbd\nClusterName             = fake")
    return 0


def show(number: str) -> int:
    found = [job for job in jobs() if str(job["id"]) == number]
    if not found:
        print("slurm_load_jobs error: Invalid job id specified", file=sys.stderr)
        return 1
    job = found[-1]
    print(f"JobId={number} JobName={job['name']}\n   JobState={job['state']} Reason={job['reason']} Dependency=(null)")
    print(f"   Requeue=1 Restarts={job['restarts']} BatchFlag=1 Reboot=0 ExitCode=0:0")
    return 0


def steer(what: str, number: str) -> int:
    """Hold, release or requeue, as Slurm does: a running job that is requeued loses its processes first."""
    with locked():
        found = [job for job in jobs() if str(job["id"]) == number and job["state"] not in ENDED]
        if not found:
            print(f"Invalid job id specified for job {number}", file=sys.stderr)
            return 1
        job = found[-1]
        (HOME / "steered").open("a").write(f"{what} {number}\n")
        if what == "requeue":
            if job["state"] != "RUNNING":
                print(f"Job is pending execution for job {number}", file=sys.stderr)
                return 1
            again = {"state": "PENDING", "reason": "BeginTime", "group": None, "start": None}
            keep(job | again | {"restarts": job["restarts"] + 1, "hub_requeues": job["hub_requeues"] + 1})
            with contextlib.suppress(ProcessLookupError):
                os.killpg(job["group"], signal.SIGKILL)
        elif job["state"] == "PENDING":
            keep(job | {"reason": "JobHeldUser" if what == "hold" else "Priority"})
    return 0


def sinfo(argv: list[str]) -> int:
    print("debug*|up|infinite|4|idle|16|65536|0/64/0/64|(null)")
    return 0


if __name__ == "__main__":
    sys.exit(globals()[Path(sys.argv[0]).name](sys.argv[1:]))
