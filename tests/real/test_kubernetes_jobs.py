"""Jobs on a real Kubernetes, as the account of `deploy/kubernetes`: what becomes of them, in words, with their logs."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from hub.jobs import rules
from hub.jobs.backends.kubernetes import KubernetesBackend
from hub.jobs.backends.kubernetes_rules import Work
from hub.jobs.outputs import Found
from hub.jobs.port import Observation
from hub.jobs.requests import Environment
from tests.real.kube_box import HOST
from tests.real.kube_lab import Lab, until, whole_log
from tests.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def backend(lab: Lab) -> Iterator[KubernetesBackend]:
    made = lab.backend()
    yield made
    made.close()


def said(seen: Observation) -> tuple[str, str]:
    assert seen.exit is not None
    found = rules.outcome(seen.exit)
    return found.event, found.sentence


def sent(lab: Lab, backend: KubernetesBackend, script: str, **known: object) -> Work:
    resources = known.pop("resources", {})
    environment = known.pop("environment", None)
    work = lab.work(environment, **resources)  # type: ignore[arg-type]
    there = lab.send(backend, work, script, **known)
    assert there.native and not there.refusal and not there.doubt, there
    return work


def test_a_job_runs_with_its_inputs_and_variables_and_its_results_and_log_come_back(
    lab: Lab, backend: KubernetesBackend
) -> None:
    script = (
        "set -e\nprintf 'no newline at the start, \\377 no text, \\r50%%\\r100%%\\n'\n"
        'python3 -c \'import os; print(os.environ["GREETING"], open("data/in.txt").read())\'\n'
        "mkdir -p out; echo result > 'out/a b.txt'; seq 100000 > out/large.txt; ln -s /etc/passwd out/link\n"
        "head -c 6000000 /dev/zero > out/zeros.bin\n"
        "echo $HOME >&2; printf 'no newline at the end'\n"
    )
    greeting = 'it\'s; $(id) `id` "x"\nsecond line'
    work = sent(
        lab, backend, script, inputs={"data/in.txt": b"given"}, variables={"GREETING": greeting, "HOME": "/tmp"}
    )
    seen = until(backend, work, "ended")
    assert said(seen) == ("succeeded", "Finished.")
    assert seen.exit is not None and seen.exit.seconds >= 0 and seen.exit.peak_memory_bytes > 0
    expected = b"no newline at the start, \xff no text, \r50%\r100%\n" + greeting.encode() + b" given\n/tmp\n"
    assert whole_log(backend, work) == expected + b"no newline at the end"
    assert seen.exit.log_bytes == len(expected) + len(b"no newline at the end")
    files, total, odd = backend.listing(work.job, work.run, 1000)
    assert (total, odd) == (4, 1)
    assert {each.path: each.size for each in files} == {
        "data/in.txt": 5, "out/a b.txt": 7, "out/large.txt": 588895, "out/zeros.bin": 6000000,
    }  # fmt: skip
    brought = {each.path: b"".join(pieces) for each, pieces in backend.fetch(work.job, work.run, files)}
    assert brought["out/a b.txt"] == b"result\n" and brought["data/in.txt"] == b"given"
    assert brought["out/large.txt"] == "".join(f"{number}\n" for number in range(1, 100001)).encode()
    assert brought["out/zeros.bin"] == bytes(6000000)


def test_each_end_is_told_in_words(lab: Lab, backend: KubernetesBackend) -> None:
    eat = 'python3 -c "b=[]\nwhile True: b.append(bytearray(4<<20))"'
    works = {
        "code": sent(lab, backend, "echo oops >&2; exit 7"),
        "memory": sent(lab, backend, eat),
        "time": sent(lab, backend, "echo started; sleep 300", wall_seconds=2),
        "signal": sent(lab, backend, "kill -SEGV $$"),
    }
    ends = {name: said(until(backend, work, "ended")) for name, work in works.items()}
    assert ends == {
        "code": ("failed", "The program ended with exit code 7."),
        "memory": ("ran_out_of_memory", "Ended by the hub, because it used more memory than it asked for."),
        "time": ("timed_out", "Ended by the hub, because its time ran out."),
        "signal": ("failed", "The program was killed by SIGSEGV."),
    }
    assert whole_log(backend, works["code"]) == b"oops\n"
    assert whole_log(backend, works["time"]) == b"started\n"


def test_a_log_is_read_while_the_job_runs(lab: Lab, backend: KubernetesBackend) -> None:
    work = sent(lab, backend, "echo first; while [ ! -e go ]; do sleep 0.1; done; echo second")
    until(backend, work, "started")
    wait_for(lambda: backend.read_log(work.job, work.run, 0) or None, 30, "the first line")
    (lab.run_folder(work) / "work" / "go").touch()
    until(backend, work, "ended")
    assert whole_log(backend, work) == b"first\nsecond\n"
    assert backend.read_log(work.job, work.run, 6) == b"second\n"


def test_an_image_that_does_not_exist_fails_the_job_with_the_registrys_word(
    lab: Lab, backend: KubernetesBackend
) -> None:
    image = f"{HOST}/absent@sha256:{'0' * 64}"
    work = sent(lab, backend, "true", environment=Environment(container=image))
    event, sentence = said(until(backend, work, "ended"))
    assert event == "failed"
    assert sentence.startswith("The program could not be started: its image cannot be had:")
    assert "not found" in sentence


def test_a_registry_that_is_away_is_waited_for(lab: Lab, backend: KubernetesBackend) -> None:
    image = lab.kube.registry.add("late", b"\0" * 10240, {"Cmd": ["/bin/sh"]})
    backend.porter.try_out()  # its own image is not what is waited for
    lab.kube.registry.away = True
    try:
        work = sent(lab, backend, "true", environment=Environment(container=image))
        seen = wait_for(
            lambda: next((s for s in [backend.observe(work.job, 1)] if "cannot be had yet" in s.detail), None),
            60,
            "words about the image",
        )
        assert seen.sight == "waiting" and "keeps trying" in seen.detail
    finally:
        lab.kube.registry.away = False
    # It comes in the end, and holds nothing that could run.
    event, sentence = said(until(backend, work, "ended", seconds=120))
    assert (event, sentence) == (
        "failed",
        "The program could not be started: its image has no /bin/sh, by which the hub starts a program.",
    )


def test_what_no_node_can_hold_waits_with_the_schedulers_reason_and_can_be_cancelled(
    lab: Lab, backend: KubernetesBackend
) -> None:
    work = sent(lab, backend, "true", resources={"cpus_per_node": 64})
    seen = wait_for(
        lambda: next((s for s in [backend.observe(work.job, 1)] if "No node" in s.detail), None), 60, "the reason"
    )
    assert seen.sight == "waiting" and "Insufficient cpu" in seen.detail
    backend.cancel(work.job, work.run)
    backend.cancel(work.job, work.run)
    assert until(backend, work, "never_ran").native


def test_a_running_job_is_cancelled_and_keeps_what_it_said(lab: Lab, backend: KubernetesBackend) -> None:
    script = "trap 'echo asked to end; exit 0' TERM\necho running\nwhile :; do sleep 0.1; done\n"
    work = sent(lab, backend, script)
    until(backend, work, "started")
    wait_for(lambda: backend.read_log(work.job, work.run, 0) or None, 30, "its first words")
    backend.cancel(work.job, work.run)
    assert said(until(backend, work, "ended")) == ("was_cancelled", "Cancelled.")
    assert whole_log(backend, work) == b"running\nasked to end\n"
    stubborn = sent(lab, backend, "trap '' TERM\necho running\nwhile :; do sleep 0.1; done\n", grace_seconds=1)
    until(backend, stubborn, "started")
    backend.cancel(stubborn.job, stubborn.run)
    assert said(until(backend, stubborn, "ended")) == ("was_cancelled", "Cancelled.")


def test_a_job_that_fills_its_disk_is_put_out_and_told_why(lab: Lab) -> None:
    small = lab.backend(temporary_bytes=2 << 20)
    work = sent(lab, small, "head -c 50000000 /dev/zero > /tmp/much; sleep 120")
    event, sentence = said(until(small, work, "ended", seconds=150))
    assert event == "failed" and "it wrote more than a job may there" in sentence


def test_a_quota_that_is_used_up_is_told(lab: Lab, backend: KubernetesBackend) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "q"},
        "spec": {"hard": {"limits.memory": "1Gi"}},
    }
    path = f"/api/v1/namespaces/{lab.namespace}/resourcequotas"
    lab.kube.ask(path, quota)
    wait_for(lambda: lab.kube.ask(f"{path}/q").get("status", {}).get("hard"), 30, "the quota counting")
    try:
        work = sent(lab, backend, "true", resources={"memory": "8G"})
        seen = wait_for(
            lambda: next((s for s in [backend.observe(work.job, 1)] if "quota" in s.detail), None), 60, "the reason"
        )
        assert seen.sight == "waiting" and "exceeded quota" in seen.detail
    finally:
        lab.kube.ask(f"{path}/q", None, "DELETE")
    backend.cancel(work.job, work.run)
    until(backend, work, "never_ran")


def test_what_was_fetched_is_cleared_and_old_ends_are_swept(lab: Lab, backend: KubernetesBackend) -> None:
    work, kept = sent(lab, backend, "echo x > y"), sent(lab, backend, "true")
    for each in (work, kept):
        until(backend, each, "ended")
    backend.clear(work.job, work.run)
    assert not (lab.run_folder(work) / "work").exists() and (lab.run_folder(work) / "end").exists()
    wait_for(lambda: None if work.job in names(lab) else True, 30, "its Job being gone")
    # Its end is still known, and it is not started a second time.
    assert said(until(backend, work, "ended")) == ("succeeded", "Finished.")
    assert lab.send(backend, work, "true").native and work.job not in names(lab)
    assert kept.job in {each.job for each in backend.orphans([])}
    assert kept.job not in {each.job for each in backend.orphans([(kept.job, 1)])}
    backend.sweep([(kept.job, 1)], 0, time.time() + 60)
    assert kept.job in names(lab)
    assert kept.job not in {each.job for each in backend.sweep([], 3600, time.time() + 60)}
    swept = lambda: kept.job in {each.job for each in backend.sweep([], 0, time.time() + 60)}  # noqa: E731
    wait_for(lambda: swept() or None, 30, "its Job being old")
    wait_for(lambda: None if kept.job in names(lab) else True, 30, "its Job being gone")


def names(lab: Lab) -> set[str]:
    return {each["metadata"]["labels"]["collegium/job"] for each in lab.jobs()}


def test_what_a_program_locked_comes_home_and_is_cleared_away_all_the_same(
    lab: Lab, backend: KubernetesBackend
) -> None:
    work = sent(lab, backend, "mkdir -p a/b; echo 1 > a/b/c; chmod 0 a/b/c a/b a; echo 2 > d; chmod 0 d")
    assert said(until(backend, work, "ended"))[0] == "succeeded"
    files, total, odd = backend.listing(work.job, work.run, 100)
    assert (total, odd) == (2, 0)
    got = {each.path: b"".join(data) for each, data in backend.fetch(work.job, work.run, files)}
    assert got == {"a/b/c": b"1\n", "d": b"2\n"}
    backend.clear(work.job, work.run)
    assert not (lab.run_folder(work) / "work").exists()


def test_files_are_listed_and_fetched_whatever_they_are_called(lab: Lab, backend: KubernetesBackend) -> None:
    script = (
        "mkdir -- -d; echo 1 > './-d/-rf'; echo 2 > 'q\"u'\"'\"'o.txt'; echo 3 > '$(id)'; printf 4 > 'new\nline'\n"
        "printf 5 > \"$(printf 'bad\\377name')\"; mkfifo pipe; echo 6 > é.txt\n"
    )
    work = sent(lab, backend, script)
    assert said(until(backend, work, "ended"))[0] == "succeeded"
    files, total, odd = backend.listing(work.job, work.run, 100)
    assert (total, odd) == (6, 2)
    got = {each.path: b"".join(data) for each, data in backend.fetch(work.job, work.run, files)}
    assert got == {"-d/-rf": b"1\n", "q\"u'o.txt": b"2\n", "$(id)": b"3\n", "new\nline": b"4", "é.txt": b"6\n"}
    assert backend.listing(work.job, work.run, 3)[:2] == ([], 6)
    gone = [Found("not/there", 3, 0)]
    assert [each.path for each, _ in backend.fetch(work.job, work.run, files[:1])] == [files[0].path]
    with pytest.raises(Exception, match="not/there"):
        list(backend.fetch(work.job, work.run, gone))
