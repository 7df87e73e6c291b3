"""A hub that runs in a pod works on its own cluster as that pod's account, with no token and no address of its own."""

from __future__ import annotations

import ipaddress
import json
import sysconfig
import urllib.error
from pathlib import Path
from typing import Any

import pytest

from tests.real.kube_lab import Lab
from tests.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]

REPOSITORY = Path(__file__).parents[2]
PACKAGES, STANDARD = (Path(sysconfig.get_path(each)).resolve() for each in ("purelib", "stdlib"))
# (name, where it lies here, where in the pod): the image of the tests has a Python with less than a hub needs.
PLACES = [
    ("program", REPOSITORY, str(REPOSITORY)),
    ("packages", PACKAGES, str(PACKAGES)),
    ("standard", STANDARD, str(STANDARD)),
    ("libraries", Path("/usr/lib", sysconfig.get_config_var("MULTIARCH") or ""), "/libraries"),
]
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings"


def pod(lab: Lab, name: str) -> dict[str, Any]:
    """The hub's own: its program is this repository, its packages are those of the tests.

    Where the API server is, the cluster tells every pod; nothing is said of it here. The box has no names to look up,
    so the Service's own name stands in the pod's list of hosts.
    """
    described = json.dumps(lab.described_plainly())
    env = {
        "PYTHONPATH": f"{REPOSITORY}:{PACKAGES}", "PYTHONDONTWRITEBYTECODE": "1",
        "LD_LIBRARY_PATH": f"{sysconfig.get_config_var('LIBDIR')}:/libraries",
    }  # fmt: skip
    mounts = [{"name": name, "mountPath": inside, "readOnly": True} for name, _, inside in PLACES]
    volumes = [{"name": name, "hostPath": {"path": str(path)}} for name, path, _ in PLACES]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "hostAliases": [{"ip": lab.kube.service, "hostnames": ["kubernetes.default.svc"]}],
            "serviceAccountName": "hub",
            "containers": [
                {
                    "name": "hub",
                    "image": lab.kube.image,
                    "command": ["python3", "-m", "tests.real.hub_in_pod", described],
                    "workingDir": str(REPOSITORY),
                    "env": [{"name": key, "value": value} for key, value in env.items()],
                    "volumeMounts": mounts,
                }
            ],
            "volumes": volumes,
        },
    }


def logs(lab: Lab, namespace: str, name: str) -> str:
    try:
        return str(lab.kube.ask(f"/api/v1/namespaces/{namespace}/pods/{name}/log"))
    except urllib.error.HTTPError as error:
        return error.read().decode()


def ran(lab: Lab, namespace: str, name: str) -> tuple[str, str]:
    """(its phase, all that it said) of the hub's pod once it has ended."""
    path = f"/api/v1/namespaces/{namespace}/pods"
    lab.kube.ask(path, pod(lab, name))

    def over() -> str | None:
        phase = str(lab.kube.ask(f"{path}/{name}")["status"].get("phase"))
        return phase if phase in ("Succeeded", "Failed") else None

    phase = wait_for(over, 200, "the hub's pod ending")
    address = lab.kube.ask(f"{path}/{name}")["status"]["podIP"]
    assert ipaddress.ip_address(address) in ipaddress.ip_network(lab.kube.pods) and address != lab.kube.address
    return phase, logs(lab, namespace, name)


def test_a_hub_in_a_pod_registers_its_own_cluster_tries_it_and_runs_a_job_there(lab: Lab) -> None:
    home = f"{lab.namespace}-hub"
    lab.kube.ask("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": home}})
    try:
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "hub"}}
        lab.kube.ask(f"/api/v1/namespaces/{home}/serviceaccounts", account)
        # It has a token, and no right in the namespace of the jobs: that is found out before anything is kept.
        phase, said = ran(lab, home, "without-rights")
        assert phase == "Failed", said
        assert "may not" in said and "(create jobs)" in said, said
        binding = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "hub-elsewhere"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "collegium-hub"},
            "subjects": [{"kind": "ServiceAccount", "name": "hub", "namespace": home}],
        }
        lab.kube.ask(ROLES.format(lab.namespace), binding)
        phase, said = ran(lab, home, "with-rights")
        assert phase == "Succeeded", said
        # All that it said to the API server, it said to the Service's address, out of a network of its own.
        assert lab.kube.service_way is not None and lab.kube.service_way.taken > 10
        came = json.loads(said.partition("CAME ")[2].splitlines()[0])
        assert came.pop("version").startswith("v1.")
        assert came == {
            "server": f"https://{lab.kube.service}:443", "by_name": True,
            "login": "in-cluster", "state": "SUCCEEDED", "reason": "Finished.",
            "outputs": ["logs/1.log", "logs/2.log", "made.1", "made.2"],
        }  # fmt: skip
    finally:
        lab.kube.ask(f"/api/v1/namespaces/{home}", {"gracePeriodSeconds": 0}, "DELETE")
