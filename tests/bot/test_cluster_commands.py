"""Clusters in the shell: a host key is shown before it is trusted, and a chat offers none of it."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import hub.cli
from bot import commands
from bot.door import Door
from bot.hub_client import HubClient
from bot.problems import UNAVAILABLE, Problem
from bot.slack import receive
from bot.verbs import kubernetes
from bot.verbs.cluster import cluster
from hub.core.context import Actor
from hub.core.errors import Unavailable
from hub.core.house import House
from hub.jobs.backends.slurm import Site
from hub.jobs.clusters import kubernetes_reaching, reaching
from hub.jobs.clusters.rules import fingerprint
from hub.web.application import create
from tests.bot.conftest import InProcess, Shell
from tests.certificates import Authority
from tests.conftest import Perform

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGh5cG90aGV0aWNhbGhvc3RrZXlvZmFjbHVzdGVy"


@pytest.fixture
def as_operator(house: House, shell: Shell, perform: Perform, operator: Actor) -> Iterator[Any]:
    with TestClient(create(house), base_url="http://hub.test", raise_server_exceptions=False) as application:
        token = perform(operator, "token_create", name="test")["secret"]
        through = InProcess(application)
        yield lambda *words, **more: shell(*words, transport=through, token=token, COLUMNS="120", **more)


def test_the_way_from_a_host_to_a_tested_account(as_operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    # The network is the subject of tests with a real sshd; here it is the words.
    monkeypatch.setattr(reaching, "shown_key", lambda host, port: HOST_KEY)
    shown = as_operator("cluster", "add", "raven", "login.raven.example.org")
    assert shown.code != 0 and fingerprint(HOST_KEY) in shown.err and "--fingerprint" in shown.err
    added = as_operator("cluster", "add", "raven", "login.raven.example.org", "--fingerprint", fingerprint(HOST_KEY))
    assert added.code == 0 and "Cluster raven is known" in added.out
    joined = as_operator("cluster", "join", "raven", "olga")
    assert "restrict ssh-ed25519 " in joined.out and "authorized_keys" in joined.out
    assert "olga, not tried yet" in as_operator("cluster", "list").out

    def refuses(*_: object) -> Site:
        raise Unavailable("raven: nobody answers", code="cluster_unreachable")

    monkeypatch.setattr(reaching, "try_out", refuses)
    assert "nobody answers" in as_operator("cluster", "test", "raven").err
    site = Site(user="olga", home="/h", root="/h/r", version="22.05.8", forgets_after=300.0, accounting=True)
    monkeypatch.setattr(reaching, "try_out", lambda *_: site)
    shown = as_operator("cluster", "show", "raven")
    assert shown.code == 0 and "raven is a Slurm cluster: nothing is wrong." in shown.out
    assert "has not let it in yet" in shown.out
    tested = as_operator("cluster", "test", "raven")
    assert "raven lets olga in" in tested.out and "22.05.8" in tested.out
    assert "changed" in as_operator("cluster", "policy", "raven").err  # nothing to change was named
    slow = as_operator("cluster", "policy", "raven", "--purge-days", "30", "--rate", "08:00-18:00=50")
    assert slow.code == 0 and "files after 30 days" in slow.out
    assert "08:00 to 18:00 at most 50 Mbit/s; " in as_operator("cluster", "show", "raven").out
    assert "no time of day" in as_operator("cluster", "policy", "raven", "--rate", "8-18=1").err
    assert "not of the form" in as_operator("cluster", "policy", "raven", "--rate", "fast").err
    assert "Mbit" not in as_operator("cluster", "policy", "raven", "--no-rate").out
    assert "no cluster is called" in as_operator("cluster", "show", "heron").err
    left = as_operator("cluster", "leave", "raven")
    assert "Delete its line" in left.out and "restrict ssh-ed25519 " in left.out
    assert "is forgotten" in as_operator("cluster", "remove", "raven").out


DIGEST = "python@sha256:" + "a" * 64


def kubeconfig(folder: Path, **user: str) -> str:
    """A file as `kubectl config view --raw --minify --flatten -o json` prints it."""
    pem = base64.b64encode(Authority(folder).root.read_bytes()).decode()
    cluster = {"server": "https://203.0.113.7:6443", "certificate-authority-data": pem}
    context = {"cluster": "c", "user": "u", "namespace": "lab-jobs"}
    whole = {"clusters": [{"cluster": cluster}], "users": [{"user": user}], "contexts": [{"context": context}]}
    place = folder / "kubeconfig.json"
    place.write_text(json.dumps(whole))
    return str(place)


def test_the_way_from_a_token_to_a_tried_kubernetes_cluster(
    as_operator: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text(Authority(tmp_path).root.read_text())
    (tmp_path / "token").write_text("sealed-word\n")
    files = ("--ca", str(tmp_path / "ca.pem"), "--account-token", str(tmp_path / "token"))
    words = ("cluster", "add", "harbour", "https://203.0.113.7:6443", "--kind", "kubernetes", "--image", DIGEST, *files)
    asked = as_operator(*words)
    assert asked.code != 0 and "--attest" in asked.err and "the site allows this" in asked.err
    added = as_operator(*words, "--attest", "--every-session", "--price", "0.1", "--gpu-price", "2.5")
    assert added.code == 0 and "Cluster harbour is known" in added.out and "every session" in added.out
    assert "2.5" in as_operator("cluster", "show", "harbour").out
    assert "sealed-word" not in added.out + added.err
    assert "the hub's own, not tried yet" in as_operator("cluster", "list").out
    monkeypatch.setattr(kubernetes_reaching, "try_out", lambda *_: kubernetes_reaching.Tried("v1.34.4"))
    tested = as_operator("cluster", "test", "harbour")
    assert "harbour lets the hub in" in tested.out and "v1.34.4" in tested.out
    shown = as_operator("cluster", "show", "harbour").out
    assert "harbour is a Kubernetes cluster" in shown and "collegium-jobs" in shown and "works" in shown
    assert as_operator("cluster", "change", "harbour", "--gpu-price", "3.25").code == 0
    assert "3.25" in as_operator("cluster", "show", "harbour").out
    changed = as_operator("cluster", "change", "harbour", "--account-token", str(tmp_path / "token"))
    assert "Try it, so that jobs go there again" in changed.out
    left = kubernetes_reaching.Left(1, ("the folder x on the claim workspace",))
    monkeypatch.setattr(kubernetes_reaching, "leave", lambda *_: left)
    removed = as_operator("cluster", "remove", "harbour").out
    assert "its token is erased" in removed and "the folder x on the claim workspace" in removed
    assert "o cluster is called" in as_operator("cluster", "show", "harbour").err


def test_the_token_of_a_cluster_is_not_mistaken_for_ones_own() -> None:
    """Every command has --token-file, for one's own API token: no option of theirs may be called so."""
    for verb in kubernetes.change_cluster, cluster.commands["add"]:
        assert "--token-file" not in {name for option in verb.params for name in option.opts}


def test_a_kubeconfig_is_read_here_and_only_a_token_is_taken_from_it(as_operator: Any, tmp_path: Path) -> None:
    words = ("cluster", "add", "harbour", "--kind", "kubernetes", "--image", DIGEST, "--attest", "--every-session")
    program = kubeconfig(tmp_path, **{"client-certificate-data": "x"})
    refused = as_operator(*words, "--kubeconfig", program)
    assert refused.code != 0 and "client-certificate-data" in refused.err and "token only" in refused.err
    added = as_operator(*words, "--kubeconfig", kubeconfig(tmp_path, token="word"))
    assert added.code == 0 and "lab-jobs" in added.out and "https://203.0.113.7:6443" in added.out
    (tmp_path / "yaml").write_text("apiVersion: v1\n")
    assert "-o json" in as_operator(*words, "--kubeconfig", str(tmp_path / "yaml")).err
    assert "cannot be read" in as_operator(*words, "--kubeconfig", str(tmp_path / "none")).err


def test_what_a_slurm_cluster_is_shows_too(as_operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "shown_key", lambda host, port: HOST_KEY)
    as_operator("cluster", "add", "raven", "login.raven.example.org", "--fingerprint", fingerprint(HOST_KEY))
    shown = as_operator("cluster", "show", "raven").out
    assert "Slurm cluster" in shown and "login.raven.example.org:22" in shown and fingerprint(HOST_KEY) in shown
    assert "Which host" in as_operator("cluster", "add", "crow").err
    assert "no Kubernetes cluster" in as_operator("cluster", "change", "raven", "--image", DIGEST).err


def test_the_way_to_an_agent_of_ones_own_shows_its_token_once(
    as_operator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reaching, "shown_key", lambda host, port: HOST_KEY)
    as_operator("cluster", "add", "raven", "login.raven.example.org", "--fingerprint", fingerprint(HOST_KEY))
    joined = as_operator("cluster", "join", "raven", "olga", "--agent").out
    assert "collegium agent --hub https://hub.test --cluster raven" in joined and "clga_" in joined
    assert "authorized_keys" not in joined
    assert "clga_" not in as_operator("cluster", "join", "raven", "olga", "--agent").out
    assert "not connected" in as_operator("cluster", "test", "raven").err
    again = as_operator("cluster", "token", "raven").out
    assert "clga_" in again and again not in joined
    revoked = as_operator("cluster", "token", "raven", "--revoke").out
    assert "is revoked" in revoked and "clga_" not in revoked
    assert "opens nothing any more" in as_operator("cluster", "leave", "raven").out
    assert as_operator("cluster", "join", "raven", "olga").code == 0
    assert "not an agent of yours" in as_operator("cluster", "token", "raven").err


def test_a_chat_offers_none_of_it() -> None:
    door = Door(lambda: HubClient("https://hub.test", "clg_test"), call="/collegium ")
    assert "cluster" not in receive(["--help"], door).body
    with pytest.raises(Problem, match="command of the shell"):
        receive(["cluster", "join", "raven", "ana"], door)


def test_what_is_wrong_with_a_cluster_is_told_line_by_line(as_operator: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reaching, "shown_key", lambda host, port: HOST_KEY)
    as_operator("cluster", "add", "raven", "raven.example.org", "--fingerprint", fingerprint(HOST_KEY))
    # The installed command has the operator's verbs beside those of every door.
    for words, tree in ((("cluster", "doctor", "raven"), commands.tree), (("doctor", "raven"), hub.cli.tree)):
        told = as_operator(*words, commands=tree)
        assert told.code == 0 and "raven: look at: sign-in." in told.out
        assert "It is the one that was compared." in told.out
        assert "You have no account on raven." in told.out and "cluster join" in told.out
    found = as_operator("cluster", "doctor", "raven", "--json").json
    assert found["worst"] == "warning" and [line["level"] for line in found["lines"]] == ["ok", "ok", "warning", "ok"]
    monkeypatch.setattr(reaching, "shown_key", lambda host, port: HOST_KEY[:-4] + "AAAA")
    changed = as_operator("doctor", "raven", commands=hub.cli.tree)
    assert changed.code == UNAVAILABLE and "fails: host key" in changed.out
    assert "no cluster is called" in as_operator("doctor", "heron", commands=hub.cli.tree).err
