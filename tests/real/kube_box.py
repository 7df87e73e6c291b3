"""A real Kubernetes on loopback, out of plain processes: etcd, API server, controllers, scheduler, containerd, kubelet.

One node. The servers listen on 127.0.0.1, the kubelet and the pods on a bridge of their own that leads nowhere. Of
Services there is the API server's own alone: the node has that address itself, where other nodes have rules of a
kube-proxy's. There are no names to look up, and images come from a registry in the test's own process.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.certificates import Authority
from tests.databases import free_port
from tests.real.images import HOST, PAUSE, Registry, layer
from tests.real.relay import Relay
from tests.real.sshd_box import Services
from tests.waiting import wait_for

VERSION = "v1.34.4"
PLUGINS = Path("/usr/lib/cni")
NEEDED = ("containerd", "runc", "ip")
PORTS = ("etcd", "peer", "api", "controllers", "scheduler", "kubelet", "health")
# The kubelet and the bridge write these; they are put back.
SYSCTLS = (
    "vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes", "net/ipv4/ip_forward",
)  # fmt: skip
FIRST_GROUP = "system:masters"


def built() -> Path:
    """Where `build.sh` puts its programs."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "collegium-ci" / f"kubernetes-{VERSION}"


def missing() -> str:
    """Why there can be no cluster here; empty when there can."""
    path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
    lacking = [each for each in NEEDED if shutil.which(each, path=path) is None]
    lacking += [] if (PLUGINS / "bridge").exists() else ["containernetworking-plugins"]
    lacking += [] if Path("/bin/busybox").exists() else ["busybox-static"]
    if os.geteuid() != 0:
        return "only root can run containers"
    if lacking:
        return f"{', '.join(lacking)} not installed"
    if not (built() / "bin" / "kubelet").exists():
        return f"it is not built; run tests/real/kubernetes/build.sh {built()}"
    return ""


class KubeBox(Services):
    """A cluster of one node, and whoever administers it."""

    def __init__(self) -> None:
        if lacking := missing():
            pytest.skip(f"Kubernetes cannot be tried here: {lacking}")
        super().__init__("collegium-kube-")
        mark = secrets.token_hex(3)
        self.node, self.bridge, self.cgroup = "box", f"cg{mark}", f"collegium-{mark}"
        net = f"10.{64 + secrets.randbelow(64)}.{secrets.randbelow(256)}"
        self.address, self.pods = f"{net}.1", f"{net}.0/24"
        services = f"10.{32 + secrets.randbelow(32)}.{secrets.randbelow(256)}"
        self.services, self.service = f"{services}.0/24", f"{services}.1"
        self.ports = {name: free_port() for name in PORTS}
        self.bin = built() / "bin"
        self.workspaces = self.base / "workspaces"
        self.registry = Registry()
        self.service_way: Relay | None = None
        self._kept = {name: Path("/proc/sys", name).read_text() for name in SYSCTLS}
        for name in ("etc", "cni", "registry/_default", "state", "workspaces"):
            (self.base / name).mkdir(parents=True)
        try:
            self.pause = self.registry.add("pause", layer(python=False), {"Entrypoint": ["/bin/sh", "-c", PAUSE]})
            path = ["PATH=/usr/bin:/bin", "LANG=C.UTF-8"]
            self.image = self.registry.add("work", layer(python=True), {"Cmd": ["/bin/sh"], "Env": path})
            self._certify()
            self._start()
        except BaseException:
            self.close()
            raise

    # --- who may come in

    def _certify(self) -> None:
        self.authority = Authority(self.base)
        hosts = ("127.0.0.1", self.address, self.service, "kubernetes.default.svc")
        self.api_pair = self.authority.issue(*hosts, name="api", common_name="kube-apiserver")
        self.kubelet_pair = self.authority.issue(
            self.address, name="kubelet", common_name=f"system:node:{self.node}", organization="system:nodes"
        )
        self.admin = self.kubeconfig("admin", "box-admin", FIRST_GROUP)
        key = rsa.generate_private_key(65537, 2048)
        plain = serialization.NoEncryption()
        pem = serialization.Encoding.PEM
        self.signer, self.verifier = self.base / "etc" / "accounts.key", self.base / "etc" / "accounts.pub"
        self.signer.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
        shown = key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.verifier.write_bytes(shown)

    def kubeconfig(self, name: str, user: str, group: str | None = None, pair: tuple[Path, Path] | None = None) -> Path:
        """A client's configuration, with a certificate that says who it is."""
        chain, key = pair or self.authority.issue(name=name, common_name=user, organization=group)
        encoded = [base64.b64encode(each.read_bytes()).decode() for each in (chain, key)]
        who = {"client-certificate-data": encoded[0], "client-key-data": encoded[1]}
        return self._written(name, who, f"https://127.0.0.1:{self.ports['api']}")

    def token_config(self, name: str, token: str, server: str = "") -> Path:
        """A client's configuration with a service account's token."""
        return self._written(name, {"token": token}, server or f"https://127.0.0.1:{self.ports['api']}")

    def _written(self, name: str, who: Mapping[str, str], server: str) -> Path:
        root = base64.b64encode(self.authority.root.read_bytes()).decode()
        path = self.base / "etc" / f"{name}.kubeconfig"
        context = {"cluster": "box", "user": name, "namespace": "default"}
        described = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "box",
            "clusters": [{"name": "box", "cluster": {"server": server, "certificate-authority-data": root}}],
            "users": [{"name": name, "user": dict(who)}],
            "contexts": [{"name": "box", "context": context}],
        }
        path.write_text(json.dumps(described))
        path.chmod(0o600)
        return path

    def ask(self, path: str, body: object = None, method: str = "") -> Any:
        """What the API server says to its administrator: JSON, decoded, or text. Raises HTTPError."""
        context = self.authority.trusting()
        context.load_cert_chain(*(self.authority.folder / f"admin.{end}" for end in ("pem", "key")))
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"https://127.0.0.1:{self.ports['api']}{path}", data)
        asked.method = method or ("GET" if body is None else "POST")
        kind = "application/merge-patch+json" if asked.method == "PATCH" else "application/json"
        asked.add_header("Content-Type", kind)
        proxies, https = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        with urllib.request.build_opener(proxies, https).open(asked, timeout=10) as answer:
            said = answer.read()
        return json.loads(said) if answer.headers.get_content_type() == "application/json" else said.decode()

    # --- starting

    def _start(self) -> None:
        self._start_etcd()
        self._start_containerd()
        wait_for(lambda: self._fine(f"http://127.0.0.1:{self.ports['etcd']}/health"), 60, "etcd answering")
        self.start_api()
        self.start_controllers()
        self.spawn("scheduler", [self.bin / "kube-scheduler", *self._as("kube-scheduler", "scheduler")])
        self._make_bridge()
        self._make_cgroups()
        self.start_kubelet()
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        wait_for(lambda: self._answers(account), 60, "the default service account")

    def _as(self, program: str, name: str) -> list[object]:
        """The options of a program that works beside the API server."""
        config = self.kubeconfig(name, f"system:{program}")
        own: list[object] = [f"--{each}kubeconfig={config}" for each in ("", "authentication-", "authorization-")]
        return [*own, "--bind-address=127.0.0.1", f"--secure-port={self.ports[name]}", "--leader-elect=false"]

    def start_controllers(self, *more: str) -> None:
        """Start what makes pods of Jobs and looks after nodes, with more options if need be."""
        own = self._as("kube-controller-manager", "controllers")
        own += [f"--root-ca-file={self.authority.root}", f"--service-account-private-key-file={self.signer}"]
        # Without these its own throttle makes a new node wait.
        own += ["--use-service-account-credentials=true", "--kube-api-qps=500", "--kube-api-burst=1000"]
        own += ["--pvclaimbinder-sync-period=1s"]
        self.spawn("controllers", [self.bin / "kube-controller-manager", *own, *more])

    def _start_etcd(self) -> None:
        client, peer = (f"http://127.0.0.1:{self.ports[each]}" for each in ("etcd", "peer"))
        options = {"name": "box", "data-dir": self.base / "etcd", "logger": "zap", "log-level": "warn"}
        options |= {"listen-client-urls": client, "advertise-client-urls": client, "listen-peer-urls": peer}
        options |= {"initial-advertise-peer-urls": peer, "initial-cluster": f"box={peer}"}
        flags = [f"--{name}={value}" for name, value in options.items()]
        self.spawn("etcd", [self.bin / "etcd", "--unsafe-no-fsync", *flags])

    def start_api(self, *more: str) -> None:
        """Start the API server, with more options if need be, and wait until it is ready."""
        chain, key = self.api_pair
        client, client_key = (self.authority.folder / f"admin.{end}" for end in ("pem", "key"))
        root = self.authority.root
        options = {
            "bind-address": "127.0.0.1", "secure-port": self.ports["api"], "advertise-address": self.address,
            "endpoint-reconciler-type": "none", "etcd-servers": f"http://127.0.0.1:{self.ports['etcd']}",
            "service-cluster-ip-range": self.services, "authorization-mode": "Node,RBAC",
            "enable-admission-plugins": "NodeRestriction", "client-ca-file": root, "tls-cert-file": chain,
            "tls-private-key-file": key, "kubelet-client-certificate": client, "kubelet-client-key": client_key,
            "kubelet-certificate-authority": root, "kubelet-preferred-address-types": "InternalIP",
            "service-account-issuer": "https://kubernetes.default.svc", "service-account-key-file": self.verifier,
            "service-account-signing-key-file": self.signer, "profiling": "false", "v": 1,
        }  # fmt: skip
        flags = [f"--{name}={value}" for name, value in options.items()]
        self.spawn("api", [self.bin / "kube-apiserver", *flags, *more])
        wait_for(lambda: self._answers("/readyz"), 120, "the API server being ready")

    def _start_containerd(self) -> None:
        address = f"http://127.0.0.1:{self.registry.port}"
        hosts = f'server = "{address}"\n[host."{address}"]\n  capabilities = ["pull", "resolve"]\n'
        (self.base / "registry/_default/hosts.toml").write_text(hosts)
        lease = {"type": "host-local", "dataDir": f"{self.base}/leases", "routes": [{"dst": "0.0.0.0/0"}]}
        lease["ranges"] = [[{"subnet": self.pods, "rangeStart": self.address[: -len("1")] + "10"}]]
        plugin = {"type": "bridge", "bridge": self.bridge, "isGateway": True, "ipMasq": False, "ipam": lease}
        network = {"cniVersion": "0.4.0", "name": "box", "plugins": [plugin]}
        (self.base / "cni/10-box.conflist").write_text(json.dumps(network))
        cri = 'plugins."io.containerd.grpc.v1.cri"'
        # An overlay cannot lie upon an overlay, which a container's own root is. Without CAP_SYS_RESOURCE runc can
        # lower nobody's OOM score, hence `restrict_oom_score_adj`.
        kind = subprocess.run(["stat", "-f", "-c", "%T", self.base], check=True, capture_output=True, text=True).stdout
        snapshotter = "native" if kind.strip() == "overlayfs" else "overlayfs"
        (self.base / "etc/containerd.toml").write_text(f"""version = 2
root = "{self.base}/containerd"
state = "{self.base}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
[grpc]
  address = "{self.base}/c.sock"
[{cri}]
  sandbox_image = "{self.pause}"
  stream_server_address = "127.0.0.1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  disable_apparmor = true
  [{cri}.cni]
    bin_dir = "{PLUGINS}"
    conf_dir = "{self.base}/cni"
  [{cri}.containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    [{cri}.containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [{cri}.containerd.runtimes.runc.options]
        SystemdCgroup = false
  [{cri}.registry]
    config_path = "{self.base}/registry"
""")
        self.spawn("containerd", ["containerd", "-c", self.base / "etc/containerd.toml"])
        wait_for((self.base / "c.sock").exists, 30, "containerd's socket")

    def _make_bridge(self) -> None:
        for step in (
            ["link", "add", self.bridge, "type", "bridge"],
            ["addr", "add", f"{self.address}/24", "dev", self.bridge],
            ["addr", "add", f"{self.service}/32", "dev", self.bridge],
            ["link", "set", self.bridge, "up"],
        ):
            subprocess.run(["ip", *step], check=True, capture_output=True)
        # What a pod sends to the Service's address comes to the node, which has it, and is handed on as it is.
        self.service_way = Relay((self.service, 443), ("127.0.0.1", self.ports["api"]))

    def _make_cgroups(self) -> None:
        for folder in self._cgroups():
            folder.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                # In the first version of cgroups a new set of processors is empty and takes no process.
                if folder.parent.name == "cpuset":
                    (folder / name).write_text((folder.parent / name).read_text())

    def start_kubelet(self) -> None:
        """Start the node's own program, which takes up the containers that are there, and wait until it is ready."""
        chain, key = self.kubelet_pair
        settings = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "address": self.address,
            "port": self.ports["kubelet"], "readOnlyPort": 0, "healthzBindAddress": "127.0.0.1",
            "healthzPort": self.ports["health"], "tlsCertFile": str(chain), "tlsPrivateKeyFile": str(key),
            "authentication": {
                "anonymous": {"enabled": False}, "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(self.authority.root)},
            },
            "authorization": {"mode": "Webhook"}, "containerRuntimeEndpoint": f"unix://{self.base}/c.sock",
            "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{self.cgroup}", "failCgroupV1": False, "oomScoreAdj": 0,
            "failSwapOn": False, "makeIPTablesUtilChains": False, "resolvConf": "",
            "evictionHard": dict.fromkeys(("nodefs.available", "imagefs.available", "nodefs.inodesFree"), "1%"),
            "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99, "enforceNodeAllocatable": ["pods"],
            "nodeStatusUpdateFrequency": "5s", "serializeImagePulls": False, "shutdownGracePeriod": "0s",
        }  # fmt: skip
        settings["evictionHard"] |= {"memory.available": "100Mi"}  # type: ignore[operator]
        (self.base / "etc/kubelet.json").write_text(json.dumps(settings))
        config = self.kubeconfig("kubelet", "", pair=self.kubelet_pair)
        flags = [f"--config={self.base}/etc/kubelet.json", f"--kubeconfig={config}", f"--root-dir={self.base}/kubelet"]
        flags += [f"--cert-dir={self.base}/kubelet-pki", f"--hostname-override={self.node}"]
        self.spawn("kubelet", [self.bin / "kubelet", *flags, f"--node-ip={self.address}", "--v=2"])
        wait_for(self.is_ready, 120, "the node being ready")

    def _fine(self, url: str) -> bool:
        with contextlib.suppress(OSError):
            return b"true" in urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=2).read()
        return False

    def _answers(self, path: str) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.ask(path))
        return False

    def is_ready(self) -> bool:
        """Whether the node takes work."""
        with contextlib.suppress(OSError):
            node = self.ask(f"/api/v1/nodes/{self.node}")
            ready = [each["status"] for each in node["status"].get("conditions", []) if each["type"] == "Ready"]
            return ready == ["True"] and not node["spec"].get("taints")
        return False

    # --- what tests need of it

    def workspace(self, namespace: str, claim: str, uid: int = 1000) -> Path:
        """A claim in the namespace, and the folder behind it."""
        folder = self.workspaces / f"{namespace}-{claim}"
        folder.mkdir()
        os.chown(folder, uid, uid)
        size = {"storage": "10Gi"}
        spec = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "hostPath": {"path": str(folder)}}
        name = {"name": f"{namespace}-{claim}"}
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": name, "spec": {**spec, "capacity": size}}
        self.ask("/api/v1/persistentvolumes", volume)
        wanted = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": name["name"]}
        wanted |= {"resources": {"requests": size}}
        asked = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": claim}, "spec": wanted}
        self.ask(f"/api/v1/namespaces/{namespace}/persistentvolumeclaims", asked)
        return folder

    def compact(self) -> None:
        """Make the store forget everything but what there is now."""
        revision = self._etcd("range", {"key": "AA=="})["header"]["revision"]
        self._etcd("compaction", {"revision": revision, "physical": True})

    def _etcd(self, verb: str, body: object) -> Any:
        asked = urllib.request.Request(f"http://127.0.0.1:{self.ports['etcd']}/v3/kv/{verb}", json.dumps(body).encode())
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=10) as answer:
            return json.loads(answer.read())

    # --- ending

    def _cgroups(self) -> list[Path]:
        if Path("/sys/fs/cgroup/cgroup.controllers").exists():
            return [Path("/sys/fs/cgroup", self.cgroup)]
        return [each / self.cgroup for each in Path("/sys/fs/cgroup").iterdir() if each.is_dir()]

    def _left(self) -> set[int]:
        """Containers outlive the kubelet and containerd: everything in our cgroups, and the shims of our socket."""
        found: set[int] = set()
        for top in self._cgroups():
            for folder, _, _ in os.walk(top):  # they go while one looks, which `Path.glob` does not forgive
                with contextlib.suppress(OSError):
                    found |= set(map(int, Path(folder, "cgroup.procs").read_text().split()))
        for each in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                argv = each.read_bytes().split(b"\0")
                if b"containerd-shim" in argv[0] and f"{self.base}/c.sock".encode() in argv:
                    found.add(int(each.parent.name))
        return found - {0}

    def _mounts(self) -> list[str]:
        mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
        return [each for each in mounted if each.startswith(f"{self.base}/")]

    def close(self) -> None:
        for name in [each for each in ("kubelet", "scheduler", "controllers") if each in self.running]:
            self.end(name)
        if "api" in self.running:
            self.end("api", hard=True)  # It would wait for whoever still watches.
        deadline = time.monotonic() + 10
        while (left := self._left()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        self.end_all()
        self.registry.close()
        if self.service_way is not None:
            self.service_way.close()
        for each in sorted(self._mounts(), reverse=True):
            subprocess.run(["umount", "-l", each], check=False, capture_output=True)
        subprocess.run(["ip", "link", "del", self.bridge], check=False, capture_output=True)
        for top in self._cgroups():
            for folder, _, _ in os.walk(top, topdown=False):
                with contextlib.suppress(OSError):
                    Path(folder).rmdir()
        for name, value in self._kept.items():
            with contextlib.suppress(OSError):
                Path("/proc/sys", name).write_text(value)
        if not self._mounts():
            shutil.rmtree(self.base, ignore_errors=True)


__all__ = ["HOST", "KubeBox", "built", "missing"]
