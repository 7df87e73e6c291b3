"""The account of `deploy/kubernetes` may do what a hub does and nothing else: the real API server says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from hub.jobs.backends import kubernetes_rules
from hub.jobs.backends.kubernetes_api import Api, Refused, configuration
from tests.real.kube_lab import MANIFEST, Lab

pytestmark = [pytest.mark.real, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def api(lab: Lab) -> Iterator[Api]:
    made = lab.api()
    yield made
    made.close()


NEEDED = {(group, resource): set(verbs) for group, resource, verbs in kubernetes_rules.RIGHTS}
VERBS = ("create", "get", "list", "watch", "patch", "update", "delete", "deletecollection", "escalate", "bind")
RESOURCES = [
    ("batch", "jobs"), ("batch", "jobs/status"), ("batch", "cronjobs"), ("", "pods"), ("", "pods/exec"),
    ("", "pods/log"), ("", "pods/attach"), ("", "pods/portforward"), ("", "pods/ephemeralcontainers"),
    ("", "pods/eviction"),
    ("", "events"), ("", "secrets"), ("", "configmaps"), ("", "serviceaccounts"), ("", "serviceaccounts/token"),
    ("", "services"), ("", "persistentvolumeclaims"), ("", "persistentvolumes"), ("", "nodes"), ("", "namespaces"),
    ("", "resourcequotas"), ("apps", "deployments"), ("apps", "daemonsets"), ("rbac.authorization.k8s.io", "roles"),
    ("rbac.authorization.k8s.io", "rolebindings"), ("rbac.authorization.k8s.io", "clusterroles"),
    ("networking.k8s.io", "networkpolicies"), ("coordination.k8s.io", "leases"),
]  # fmt: skip


def test_every_right_is_one_that_is_needed(api: Api) -> None:
    allowed = {
        (group, resource): {verb for verb in VERBS if api.may(verb, resource, group=group)}
        for group, resource in RESOURCES
    }
    assert {each: verbs for each, verbs in allowed.items() if verbs} == NEEDED


def test_nothing_is_allowed_in_another_namespace_or_in_the_whole_cluster(api: Api) -> None:
    for (group, resource), verbs in NEEDED.items():
        for verb in verbs:
            assert not api.may(verb, resource, group=group, namespace="default")
            assert not api.may(verb, resource, group=group, namespace="")


def rule_of_role() -> list[dict[str, Any]]:
    (role,) = [each for each in yaml.safe_load_all(MANIFEST.read_text()) if each["kind"] == "Role"]
    return list(role["rules"])


def test_the_manifest_grants_nothing_by_a_wildcard() -> None:
    rules = rule_of_role()
    assert not [word for rule in rules for words in rule.values() for word in words if "*" in word]
    kinds = {each["kind"] for each in yaml.safe_load_all(MANIFEST.read_text())}
    assert not {"ClusterRole", "ClusterRoleBinding"} & kinds


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/namespaces/{}/secrets"),
        ("GET", "/api/v1/namespaces/kube-system/pods"),
        ("GET", "/api/v1/nodes"),
        ("GET", "/apis/batch/v1/jobs"),
        ("POST", "/api/v1/namespaces/{}/pods"),
        ("DELETE", "/api/v1/namespaces/{}/pods/any"),
        ("POST", "/api/v1/namespaces/{}/serviceaccounts/collegium-hub/token"),
        ("PATCH", "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles/collegium-hub"),
        ("DELETE", "/api/v1/namespaces/{}/persistentvolumeclaims/workspace"),
    ],
)
def test_what_a_hub_does_not_do_is_refused(api: Api, method: str, path: str) -> None:
    body = None if method in ("GET", "DELETE") else {"metadata": {"name": "any"}}
    with pytest.raises(Refused) as refused:
        api._ask(method, path.format(api.namespace), body=body)
    assert refused.value.status == 403
    assert "cannot" in str(refused.value)


def root(pod: dict[str, Any]) -> None:
    pod["securityContext"]["runAsNonRoot"] = False
    pod["securityContext"]["runAsUser"] = 0


def host_path(pod: dict[str, Any]) -> None:
    pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}})


def host_network(pod: dict[str, Any]) -> None:
    pod["hostNetwork"] = True


def unconfined(pod: dict[str, Any]) -> None:
    pod["securityContext"]["seccompProfile"] = {"type": "Unconfined"}


def more_capable(pod: dict[str, Any]) -> None:
    pod["containers"][0]["securityContext"] = {"capabilities": {"add": ["SYS_ADMIN"]}}


@pytest.mark.parametrize("worse", [root, host_path, host_network, unconfined, more_capable])
def test_even_the_hubs_own_account_can_have_no_pod_with_privileges(lab: Lab, worse: Any) -> None:
    """A Job may be made, and its pod is refused: by the namespace, whoever asks for it."""
    wanted = kubernetes_rules.manifest(lab.work(), lab.hub, lab.cluster)["spec"]["template"]
    worse(wanted["spec"])
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "worse-", **wanted["metadata"]}}
    pod["spec"] = wanted["spec"]
    admin = Api(_admin(lab), lab.namespace)
    with pytest.raises(Refused) as refused:
        admin._ask("POST", f"/api/v1/namespaces/{lab.namespace}/pods", {"dryRun": "All"}, pod)
    admin.close()
    assert refused.value.status == 403 and "violates PodSecurity" in str(refused.value)


def test_the_pods_a_hub_asks_for_are_allowed(lab: Lab) -> None:
    admin = Api(_admin(lab), lab.namespace)
    for wanted in (
        kubernetes_rules.manifest(lab.work(), lab.hub, lab.cluster),
        kubernetes_rules.porter("porter", lab.hub, lab.cluster),
    ):
        template = wanted["spec"]["template"]
        head = {"generateName": "dry-", **template["metadata"]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": head, "spec": template["spec"]}
        admin._ask("POST", f"/api/v1/namespaces/{lab.namespace}/pods", {"dryRun": "All"}, pod)
    admin.close()


def _admin(lab: Lab) -> Any:
    return configuration(lab.kube.admin)


def test_a_token_that_is_not_one_is_refused_in_words(lab: Lab) -> None:
    api = Api(configuration(lab.kube.token_config("nobody", "no.such.token")), lab.namespace)
    with pytest.raises(Refused, match="Unauthorized") as refused:
        api.items("jobs")
    assert refused.value.status == 401
    api.close()
