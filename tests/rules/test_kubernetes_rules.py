"""A payload is one Job of one pod that only its run can have; what Kubernetes cannot be asked is refused in words."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.core.ids import new_id
from hub.jobs.backends import kubernetes_rules as rules
from hub.jobs.backends.kubernetes_rules import Cluster, Work
from hub.jobs.requests import Environment, Resources

DIGEST = "sha256:" + "ab" * 32
IMAGE = f"images.test/work@{DIGEST}"
CLUSTER = Cluster(namespace="jobs", claim="workspace", porter_image=IMAGE, image=IMAGE)
HUB = "hub_1"


def work(environment: Environment | None = None, **resources: object) -> Work:
    wanted = Resources(**resources)  # type: ignore[arg-type]
    return Work(job="job_1", run=1, name="seed", resources=wanted, environment=environment or Environment())


def refused(environment: Environment | None = None, **resources: object) -> dict[str, str]:
    wanted = Resources(**resources)  # type: ignore[arg-type]
    found = rules.refusals(wanted, environment or Environment(), CLUSTER)
    return {each.path: each.reason for each in found}


# --- names


@given(st.text(min_size=1, max_size=80), st.text(min_size=1, max_size=80), st.integers(1, 999))
def test_every_run_has_a_name_that_kubernetes_takes(hub: str, job: str, run: int) -> None:
    name = rules.job_name(hub, job, run)
    assert re.fullmatch(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?", name) and len(name) <= 57
    assert name == rules.job_name(hub, job, run)


def test_another_run_another_job_and_another_hub_have_other_names_tokens_and_folders() -> None:
    job, other = new_id("job"), new_id("job")
    runs = [(HUB, job, 1), (HUB, job, 2), (HUB, other, 1), ("hub_2", job, 1)]
    for name_of in (rules.job_name, rules.token_of, rules.folder_of):
        assert len({name_of(*each) for each in runs}) == 4


def test_a_job_under_our_name_is_ours_only_with_the_runs_token() -> None:
    made = rules.manifest(work(), HUB, CLUSTER)
    assert rules.is_ours(made, HUB, "job_1", 1)
    assert not rules.is_ours(made, HUB, "job_1", 2)
    assert not rules.is_ours({"metadata": {"name": rules.job_name(HUB, "job_1", 1)}}, HUB, "job_1", 1)
    assert not rules.is_ours({"metadata": {"annotations": None}}, HUB, "job_1", 1)


# --- images


def test_the_payloads_image_comes_before_the_clusters() -> None:
    other = f"python:3.12@{DIGEST}"
    assert rules.image_of(Environment(), CLUSTER) == IMAGE
    assert rules.image_of(Environment(container=other), CLUSTER) == other
    assert rules.image_of(Environment(container=f"docker://{other}"), CLUSTER) == other


@pytest.mark.parametrize(
    ("image", "said"),
    [
        ("python:3.12", "python:3.12@sha256:"),
        ("python", "may be another image tomorrow"),
        ("registry.test:5000/a/b:latest", "name it with its digest"),
        ("python@sha256:abc", "no image with a digest"),
        (f"python@{DIGEST}\n", "no image with a digest"),
        (f"Python@{DIGEST}", "no image with a digest"),
        ("-v", "no image with a digest"),
        ("a b", "no image with a digest"),
        ("$(id)", "no image with a digest"),
        ("oras://x/y.sif", "no image with a digest"),
    ],
)
def test_an_image_without_its_digest_is_refused_with_what_to_write_instead(image: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"environment\.container") as refusal:
        rules.image_of(Environment(container=image), CLUSTER)
    assert said in str(refusal.value)
    assert said in refused(Environment(container=image))["environment.container"]


def test_without_any_image_it_is_said_where_to_name_one() -> None:
    bare = Cluster(namespace="jobs", claim="workspace", porter_image=IMAGE)
    with pytest.raises(ValueError, match=r"environment\.container"):
        rules.image_of(Environment(), bare)


# --- what cannot be asked


def test_what_can_be_asked_is_not_refused() -> None:
    assert refused(cpus_per_node=16, memory="32GB", time="2:00:00", gpus=1) == {}
    assert refused(Environment(venv="/opt/venv", setup=("export A=1",), network=True)) == {}


def test_more_nodes_than_one_are_refused_with_a_hint() -> None:
    said = refused(nodes=2)["resources.nodes"]
    assert "Slurm" in said and "cpus_per_node" in said
    with pytest.raises(ValueError, match=r"resources\.nodes is more than one"):
        rules.manifest(work(nodes=2), HUB, CLUSTER)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"tasks_per_node": 2}, "resources.tasks_per_node"),
        ({"cpus_per_node": 65}, "resources.cpus_per_node"),
        ({"memory": "1T"}, "resources.memory"),
        ({"memory": "1M"}, "resources.memory"),
        ({"time": "30-0"}, "resources.time"),
        ({"gpu_type": "a100"}, "resources.gpu_type"),
        *(({name: "x"}, f"resources.{name}") for name in ("partition", "account", "qos", "constraint", "licenses")),
        *(({"array": said}, "resources.array") for said in ("9-1", "x", "0-9%0", "0-9%x", "0-1000")),
    ],
)
def test_each_other_wish_that_cannot_be_had_is_named(asked: dict[str, object], field: str) -> None:
    assert list(refused(**asked)) == [field]


@pytest.mark.parametrize(
    ("environment", "field"),
    [
        (Environment(modules=("gcc",)), "environment.modules"),
        (Environment(venv="relative"), "environment.venv"),
        (Environment(conda="myenv"), "environment.conda"),
    ],
)
def test_software_that_a_container_cannot_have_is_named(environment: Environment, field: str) -> None:
    assert list(refused(environment)) == [field]


# --- the Job


def test_an_array_is_one_job_with_a_pod_for_each_task_of_which_so_many_run_at_once() -> None:
    made = rules.manifest(work(array="1,3,5-9:2%2"), HUB, CLUSTER)
    assert made["metadata"]["name"] == rules.job_name(HUB, "job_1", 1)
    spec = {name: value for name, value in made["spec"].items() if name != "template"}
    assert spec == {
        "completionMode": "Indexed", "completions": 5, "parallelism": 2, "backoffLimitPerIndex": 0,
        "podReplacementPolicy": "Failed",
    }  # fmt: skip
    assert rules.manifest(work(array="0-99"), HUB, CLUSTER)["spec"]["parallelism"] == 100
    assert work(array="1,3,5-9:2%2").tasks == (1, 3, 5, 7, 9) and work().tasks == ()


def test_the_job_asks_for_what_the_payload_asks_and_is_tried_once() -> None:
    made = rules.manifest(work(cpus_per_node=16, memory="32GB", time="2:00:00"), HUB, CLUSTER)
    assert made["metadata"]["name"] == rules.job_name(HUB, "job_1", 1)
    assert (made["spec"]["backoffLimit"], made["spec"]["completions"], made["spec"]["parallelism"]) == (0, 1, 1)
    assert "suspend" not in made["spec"] and "ttlSecondsAfterFinished" not in made["spec"]
    pod = made["spec"]["template"]["spec"]
    assert pod["restartPolicy"] == "Never"
    assert pod["activeDeadlineSeconds"] == 7200 + CLUSTER.start_seconds
    (container,) = pod["containers"]
    assert container["image"] == IMAGE
    for side in ("requests", "limits"):
        assert container["resources"][side]["cpu"] == "16"
        assert container["resources"][side]["memory"] == str(32 << 30)


def test_nothing_is_asked_for_that_would_be_unbounded() -> None:
    container = rules.manifest(work(), HUB, CLUSTER)["spec"]["template"]["spec"]["containers"][0]
    assert set(container["resources"]["limits"]) == {"cpu", "memory", "ephemeral-storage"}
    assert container["resources"]["limits"].keys() == container["resources"]["requests"].keys()


def test_gpus_are_asked_for_by_the_clusters_name_for_them_and_on_nodes_of_their_type() -> None:
    cluster = Cluster(
        namespace="jobs", claim="workspace", porter_image=IMAGE, image=IMAGE, gpu_resource="amd.com/gpu",
        gpu_types={"mi300": {"gpu": "mi300"}}, node_selector={"pool": "lab"},
    )  # fmt: skip
    pod = rules.manifest(work(gpus=2, gpu_type="mi300"), HUB, cluster)["spec"]["template"]["spec"]
    assert pod["containers"][0]["resources"]["limits"]["amd.com/gpu"] == "2"
    assert pod["nodeSelector"] == {"pool": "lab", "gpu": "mi300"}


def test_a_pod_sees_its_own_folder_of_the_workspace_and_has_no_rights() -> None:
    pod = rules.manifest(work(), HUB, CLUSTER)["spec"]["template"]["spec"]
    mounts = {each["name"]: each for each in pod["containers"][0]["volumeMounts"]}
    assert mounts["workspace"]["subPath"] == f"{rules.short(HUB)}/jobs/job_1/1"
    assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] == 1000
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    unprivileged = pod["containers"][0]["securityContext"]
    assert unprivileged == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert not [volume for volume in pod["volumes"] if "hostPath" in volume]


def test_neither_variables_nor_the_script_stand_in_the_job_for_others_to_read() -> None:
    made = json.dumps(rules.manifest(work(Environment(setup=("export SECRET=x",))), HUB, CLUSTER))
    assert "SECRET" not in made


@pytest.mark.parametrize("network", [True, False])
def test_the_pods_label_says_whether_it_may_use_the_network(network: bool) -> None:
    made = rules.manifest(work(Environment(network=network)), HUB, CLUSTER)
    assert made["spec"]["template"]["metadata"]["labels"][rules.NETWORK] == ("yes" if network else "no")


def test_a_job_says_whose_it_is() -> None:
    known = msgspec.structs.replace(work(), person="per_1", session="ses_1", handle="ana")
    made = rules.manifest(known, HUB, CLUSTER)
    for head in (made["metadata"], made["spec"]["template"]["metadata"]):
        assert (head["labels"][rules.PERSON], head["labels"][rules.SESSION]) == ("per_1", "ses_1")
        assert head["annotations"][rules.HANDLE] == "ana"


def test_a_cluster_with_a_queue_lets_its_jobs_go_by_itself() -> None:
    queued = Cluster(namespace="jobs", claim="workspace", porter_image=IMAGE, image=IMAGE, queue="lab")
    made = rules.manifest(work(), HUB, queued)
    assert made["metadata"]["labels"][rules.QUEUE] == "lab"
    assert made["spec"]["suspend"] is True


def test_a_porter_ends_by_itself_and_is_as_powerless_as_a_job() -> None:
    made = rules.porter("porter-1", HUB, CLUSTER)
    pod = made["spec"]["template"]["spec"]
    assert pod["activeDeadlineSeconds"] == CLUSTER.porter_seconds
    assert made["spec"]["ttlSecondsAfterFinished"] == 60
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["automountServiceAccountToken"] is False
    assert made["spec"]["template"]["metadata"]["labels"][rules.PART] == "porter"
    assert rules.labels(HUB, "job_1", 1)[rules.PART] == "job"
