"""A hub's account on the real cluster, made as `deploy/kubernetes` says: a namespace, its token, and jobs to send."""

from __future__ import annotations

import gzip
import io
import secrets
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from hub.core.context import Actor
from hub.core.ids import new_id
from hub.jobs.backends import pod_side
from hub.jobs.backends.kubernetes import KubernetesBackend, Submitted
from hub.jobs.backends.kubernetes_api import Api, ClusterAway, configuration
from hub.jobs.backends.kubernetes_rules import Cluster, Work, folder_of
from hub.jobs.backends.pod_side import Program
from hub.jobs.port import Observation
from hub.jobs.requests import Environment, Resources
from tests.real.kube_box import KubeBox
from tests.waiting import wait_for

MANIFEST = Path(__file__).parents[2] / "deploy" / "kubernetes" / "collegium.yaml"
PATHS = {
    "Namespace": "/api/v1/namespaces",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}


def archive(folder: Path, script: str, inputs: Mapping[str, bytes], **known: Any) -> Path:
    """What a run's folder is laid out of, for a shell script."""
    program = Program(
        command=["sh", f"{pod_side.MOUNT}/given/script"],
        variables=known.pop("variables", {}),
        wall_seconds=known.pop("wall_seconds", 600),
        grace_seconds=known.pop("grace_seconds", 3),
        **known,
    )
    contents = {"run.sh": pod_side.run_script("job", 1, program).encode(), "given/script": script.encode()}
    if program.tasks:
        contents["array"] = str(len(program.tasks)).encode()
    contents |= {f"work/{path}": data for path, data in inputs.items()}
    path = folder / f"{secrets.token_hex(4)}.tgz"
    with gzip.open(path, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as laid:
        for name, data in contents.items():
            head = tarfile.TarInfo(name)
            head.size, head.mode = len(data), 0o600
            laid.addfile(head, io.BytesIO(data))
    return path


class Lab:
    """One hub's namespace."""

    def __init__(self, kube: KubeBox, folder: Path) -> None:
        self.kube, self.folder = kube, folder
        self.namespace = f"jobs-{secrets.token_hex(3)}"
        self.hub = new_id("hub")
        for thing in yaml.safe_load_all(MANIFEST.read_text().replace("collegium-jobs", self.namespace)):
            kube.ask(PATHS[thing["kind"]].format(self.namespace), thing)
        self.volume = kube.workspace(self.namespace, "workspace")
        account = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/collegium-hub/token"
        asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}}
        self.token = str(kube.ask(account, asked)["status"]["token"])
        self.cluster = self.described()
        self.backends: list[KubernetesBackend] = []

    def described(self, **known: Any) -> Cluster:
        fixed: dict[str, Any] = {"porter_image": self.kube.image, "image": self.kube.image, "grace_seconds": 3}
        return Cluster(namespace=self.namespace, claim="workspace", **{**fixed, **known})

    def api(self, server: str = "") -> Api:
        config = self.kube.token_config(f"hub-{secrets.token_hex(3)}", self.token, server)
        return Api(configuration(config), self.namespace)

    def backend(self, server: str = "", **known: Any) -> KubernetesBackend:
        """A hub's agent, as one process would have it."""
        cluster = self.described(**known)
        made = KubernetesBackend(self.api(server), self.hub, cluster)
        self.backends.append(made)
        return made

    def work(self, environment: Environment | None = None, **resources: Any) -> Work:
        wanted = Resources(**{"memory": "64M", "time": "10", **resources})
        return Work(job=new_id("job"), run=1, name="a job", resources=wanted, environment=environment or Environment())

    def send(self, backend: KubernetesBackend, work: Work, script: str, **known: Any) -> Submitted:
        inputs = known.pop("inputs", {})
        return backend.submit(work, archive(self.folder, script, inputs, **known))

    def jobs(self) -> list[dict[str, Any]]:
        """The Jobs of the namespace that are no porters, as its administrator sees them."""
        selector = "?labelSelector=collegium/part%3Djob"
        return list(self.kube.ask(f"/apis/batch/v1/namespaces/{self.namespace}/jobs{selector}")["items"])

    def pods(self, part: str = "job") -> list[dict[str, Any]]:
        path = f"/api/v1/namespaces/{self.namespace}/pods?labelSelector=collegium/part%3D{part}"
        return list(self.kube.ask(path)["items"])

    def run_folder(self, work: Work) -> Path:
        return self.volume / folder_of(self.hub, work.job, work.run)

    def close(self) -> None:
        for each in self.backends:
            each.close()
        self.kube.ask(f"/api/v1/namespaces/{self.namespace}", {"gracePeriodSeconds": 0}, "DELETE")

    def described_plainly(self, **known: Any) -> dict[str, Any]:
        """The namespace as an operator describes it."""
        return dict(msgspec.to_builtins(self.described(**known)))

    def registered(self, perform: Callable[..., Any], operator: Actor, called: str, **more: Any) -> dict[str, Any]:
        """The lab's namespace made known to a hub, with what an operator says of it."""
        said: dict[str, Any] = {
            "name": called,
            "described": self.described_plainly(),
            "server": f"https://127.0.0.1:{self.kube.ports['api']}",
            "authority": self.kube.authority.root.read_text(),
            "token": self.token,
            "attest": True,
            "every_session": True,
        }
        wish = {field: value for field, value in {**said, **more}.items() if value is not None}
        return dict(perform(operator, "cluster_add", **wish))


def until(backend: KubernetesBackend, work: Work, *sights: str, seconds: float = 90.0) -> Observation:
    """Look until one of these is to be seen."""
    return wait_for(lambda: _sight(backend, work, sights), seconds, f"{work.job} being {' or '.join(sights)}")


def _sight(backend: KubernetesBackend, work: Work, sights: tuple[str, ...]) -> Observation | None:
    try:
        seen = backend.observe(work.job, work.run)
    except ClusterAway:
        return None
    return seen if seen.sight in sights else None


def whole_log(backend: KubernetesBackend, work: Work) -> bytes:
    """The log, as an agent that starts from nothing would read it."""
    found = b""
    while piece := backend.read_log(work.job, work.run, len(found)):
        found += piece
    return found
