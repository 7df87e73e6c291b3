"""The Kubernetes that the other tests stand on is one: it pulls by digest, runs, bounds and forgets as they do."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.real.kube_box import VERSION, KubeBox
from tests.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


def run(kube: KubeBox, name: str, image: str, command: list[str]) -> dict[str, Any]:
    container = {"name": "c", "image": image, "command": command}
    spec = {"restartPolicy": "Never", "containers": [container]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
    kube.ask("/api/v1/namespaces/default/pods", pod)
    path = f"/api/v1/namespaces/default/pods/{name}"
    wait_for(lambda: kube.ask(path)["status"].get("phase") in ("Succeeded", "Failed"), 60, f"the end of {name}")
    found: dict[str, Any] = kube.ask(path)
    found["log"] = kube.ask(f"{path}/log")
    return found


def test_a_pod_pulls_its_image_by_digest_and_runs_python(kube: KubeBox) -> None:
    assert kube.ask("/version")["gitVersion"] == VERSION
    program = "import json, platform; print(json.dumps(platform.system()))"
    seen = run(kube, "python", kube.image, ["python3", "-c", program])
    assert json.loads(seen["log"]) == "Linux"
    assert seen["status"]["containerStatuses"][0]["imageID"].endswith(kube.image.rpartition("@")[2])


def test_a_failing_pod_is_seen_to_fail_with_its_code(kube: KubeBox) -> None:
    seen = run(kube, "seven", kube.image, ["sh", "-c", "exit 7"])
    assert seen["status"]["containerStatuses"][0]["state"]["terminated"]["exitCode"] == 7
