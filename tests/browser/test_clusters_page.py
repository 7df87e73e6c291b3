"""Clusters in the browser before a real sshd: compared, joined, tested, given up; and what goes wrong on the way.

The scheduler behind it is the fake one of tests/real, whose subject is not this.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator

import msgspec
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Look, serving
from tests.browser.test_every_page import faults, sideways
from tests.databases import free_port
from tests.real import fake_slurm
from tests.real.sshd_box import SshdBox
from tests.web.page_world import World


class Cluster(SshdBox):
    """A login node whose scheduler's commands lie in a folder of their own."""

    def __init__(self) -> None:
        super().__init__(prefix="collegium-page-")
        self.bin = self.base / "bin"
        self.bin.mkdir(mode=0o755)
        for name in ("sbatch", "squeue", "sacct", "scancel", "scontrol", "sinfo"):
            shutil.copy(fake_slurm.__file__, self.bin / name)
            (self.bin / name).chmod(0o755)
        self.sh("mkdir -p fake/jobs")
        knobs = {"seed": "1", "squeue_fails": 0, "squeue_slow": 0, "sacct_fails": 0, "sacct_lags": 0}
        path = self.home / "fake" / "knobs.json"
        path.write_text(json.dumps({**knobs, "forgets_after": 60}))
        os.chown(path, self.uid, -1)

    def fingerprint(self) -> str:
        """As the cluster's own staff would print it."""
        said = subprocess.run(
            ["ssh-keygen", "-l", "-f", str(self.base / "host.pub")], capture_output=True, text=True, check=True
        )
        return said.stdout.split()[1]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of its own, since this module changes it."""
    with serving(tmp_path_factory.mktemp("hub")) as made:
        yield made


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as box:
        yield box


def fill(page: Page, name: str, port: int, path: str = "", host: str = "127.0.0.1") -> None:
    if not page.get_by_role("textbox", name="Name").is_visible():
        page.get_by_text("Fill in").click()
    page.get_by_role("textbox", name="Name").fill(name)
    page.get_by_role("textbox", name="Login node").fill(host)
    page.get_by_role("spinbutton", name="Port of its SSH").fill(str(port))
    if path:
        folders = page.get_by_role("textbox", name="Folders of the scheduler’s commands")
        if not folders.is_visible():
            page.get_by_text("More about it").click()
        folders.fill(path)
    page.get_by_role("button", name="Show its host key").click()


def add(look: Look, world: World, cluster: Cluster, name: str, path: str | None = None) -> Page:
    """The page of a cluster that the operator has just added."""
    page = look("/clusters", person=world.olga)
    fill(page, name, cluster.port, str(cluster.bin) if path is None else path)
    page.get_by_role("checkbox", name="I compared it").check()
    page.get_by_role("button", name=f"Add {name}").click()
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
    return page


def join(page: Page, login: str) -> str:
    """The line to add, for this login."""
    page.get_by_role("textbox", name="Your login").fill(login)
    page.get_by_role("radio", name="A key pair made here").check()
    page.get_by_role("button", name="Sign up").click()
    line = page.locator("copy-text code").text_content()
    assert line is not None
    return line


def wrong(page: Page, name: str) -> str:
    """What is heard beside a field that is wrong."""
    field = page.get_by_label(name, exact=True)
    assert field.get_attribute("aria-invalid") == "true"
    beside = (field.get_attribute("aria-describedby") or "").split()[0]
    return page.locator(f"#{beside}").inner_text()


def test_a_host_key_is_shown_to_be_compared_before_a_cluster_is_known(
    look: Look, world: World, cluster: Cluster
) -> None:
    page = look("/clusters", person=world.olga)
    fill(page, "Falcon!", cluster.port)
    assert "small letters, digits and dashes" in wrong(page, "Name")
    assert page.get_by_role("textbox", name="Login node").input_value() == "127.0.0.1"
    expect(page.get_by_role("alert")).to_contain_text("Nothing was stored")
    assert faults(page) == [] and sideways(page) == []
    fill(page, "falcon", free_port())
    assert "cannot be reached" in wrong(page, "Login node")
    fill(page, "falcon", cluster.port)
    expect(page.get_by_role("heading", name="Compare its host key")).to_be_visible()
    expect(page.locator(".keys-shown code")).to_have_text(cluster.fingerprint())
    assert faults(page) == [] and sideways(page) == []
    page.get_by_role("button", name="Add falcon").click()  # the browser itself asks for the tick
    expect(page.get_by_role("heading", name="Compare its host key")).to_be_visible()
    page.get_by_role("checkbox", name="I compared it").check()
    page.get_by_role("button", name="Add falcon").click()
    expect(page.get_by_role("heading", level=1, name="falcon")).to_be_visible()
    expect(page.get_by_role("region", name="About it")).to_contain_text(cluster.fingerprint())


def test_from_a_login_to_a_tested_account_and_the_line_to_delete(look: Look, world: World, cluster: Cluster) -> None:
    add(look, world, cluster, "kite")
    page = look("/clusters/kite")
    secret = (cluster.base / "client").read_text()
    pasted = "(field, text) => { field.maxLength = 9999; field.value = text }"
    page.get_by_role("textbox", name="Your login").evaluate(pasted, secret)
    page.get_by_role("radio", name="A key pair made here").check()
    page.get_by_role("button", name="Sign up").click()
    assert "looks like a private key" in wrong(page, "Your login on kite")
    assert secret.splitlines()[1] not in page.content()
    line = join(page, cluster.user)
    assert line.startswith("restrict ssh-ed25519 ") and line.endswith(" collegium:ana@kite")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("does not accept the key")
    expect(page.get_by_role("main")).to_contain_text("To be tested")
    assert faults(page) == [] and sideways(page) == []
    cluster.allow(line)
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_role("main")).to_contain_text(f"Jobs of yours can go here, as {cluster.user}.")
    expect(page.get_by_role("region", name="How it stands")).to_contain_text("Slurm 99.fake.")
    page.goto(f"/s/{world.name}/jobs")
    page.get_by_role("combobox", name="Where").select_option("kite")
    page.goto("/clusters/kite")
    page.get_by_text("Give this account up").click()
    page.get_by_role("button", name="Erase the key").click()
    expect(page.get_by_role("region", name="Lines to delete")).to_contain_text(line)
    page.goto("/clusters/kite")
    expect(page.get_by_role("textbox", name="Your login")).to_be_visible()


def test_a_line_counts_from_the_hubs_own_addresses_alone(look: Look, world: World, cluster: Cluster) -> None:
    add(look, world, cluster, "merlin")
    settings = world.house.settings
    try:
        world.house.settings = msgspec.structs.replace(settings, ssh_from="192.0.2.7")
        page = look("/clusters/merlin")
        line = join(page, cluster.user)
        assert line.startswith('restrict,from="192.0.2.7" ssh-ed25519 ')
        cluster.allow(line)
        page.get_by_role("button", name="Test", exact=True).click()
        expect(page.get_by_role("alert")).to_contain_text("does not accept the key")
        cluster.allow(line.replace("192.0.2.7", "192.0.2.7,127.0.0.0/8"))
        page.get_by_role("button", name="Test", exact=True).click()
        expect(page.get_by_role("main")).to_contain_text("Jobs of yours can go here")
    finally:
        world.house.settings = settings


def test_a_cluster_without_a_scheduler_in_reach_is_not_ready(look: Look, world: World, cluster: Cluster) -> None:
    add(look, world, cluster, "osprey", str(cluster.base / "log"))
    page = look("/clusters/osprey")
    cluster.allow(join(page, cluster.user))
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("squeue")
    expect(page.get_by_role("main")).to_contain_text("To be tested")


def test_a_changed_host_key_is_refused_until_an_operator_compared_it(
    look: Look, world: World, cluster: Cluster
) -> None:
    add(look, world, cluster, "harrier")
    page = look("/clusters/harrier")
    cluster.allow(join(page, cluster.user))
    cluster.new_host_key()
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("another host key")
    operators = look("/clusters/harrier", person=world.olga)
    operators.get_by_text("It has a new host key").click()
    operators.get_by_role("button", name="Show its host key now").click()
    expect(operators.locator(".keys-shown code")).to_have_text(cluster.fingerprint())
    assert faults(operators) == [] and sideways(operators) == []
    operators.get_by_role("checkbox", name="I compared it").check()
    operators.get_by_role("button", name="Trust the new key").click()
    expect(operators.get_by_role("region", name="About it")).to_contain_text(cluster.fingerprint())
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.get_by_role("main")).to_contain_text("Jobs of yours can go here")


def test_a_removed_cluster_names_the_line_to_whoever_had_an_account(look: Look, world: World, cluster: Cluster) -> None:
    operators = add(look, world, cluster, "buzzard")
    line = join(look("/clusters/buzzard"), cluster.user)
    operators.get_by_text("Remove this cluster").click()
    operators.get_by_role("button", name="Remove buzzard").click()
    expect(operators.get_by_role("list", name="Clusters")).not_to_contain_text("buzzard")
    expect(look("/clusters").get_by_role("region", name="Lines to delete")).to_contain_text(line)


def test_the_whole_way_by_keys_alone_and_without_a_script(look: Look, world: World, cluster: Cluster) -> None:
    page = look("/clusters", person=world.olga, java_script_enabled=False)
    page.get_by_text("Fill in").focus()
    for key in ("Enter", "Tab"):
        page.keyboard.press(key)
    page.keyboard.type("hobby")
    page.keyboard.press("Tab")
    page.keyboard.type("127.0.0.1")
    page.keyboard.press("Tab")
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type(str(cluster.port))
    page.keyboard.press("Enter")
    tick = page.get_by_role("checkbox", name="I compared it")
    tick.focus()
    for key in ("Space", "Tab", "Enter"):
        page.keyboard.press(key)
    expect(page.get_by_role("heading", level=1, name="hobby")).to_be_visible()
    page.get_by_role("textbox", name="Your login").focus()
    page.keyboard.type(cluster.user)
    for key in ("Tab", "ArrowDown", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    expect(page.locator("copy-text code")).to_contain_text("collegium:olga@hobby")


def test_the_set_up_leads_through_the_same_steps_and_can_be_skipped(look: Look, world: World, cluster: Cluster) -> None:
    page = look("/setup", person=world.olga)
    region = page.get_by_role("region", name="Clusters")
    region.get_by_role("button", name="Skip").click()
    expect(page.get_by_role("region", name="Clusters")).to_contain_text("Skipped")
    page.get_by_role("region", name="Clusters").locator("summary").first.click()
    region = page.get_by_role("region", name="Clusters")
    region.get_by_role("textbox", name="Name", exact=True).fill("peregrine")
    region.get_by_role("textbox", name="Login node").fill("127.0.0.1")
    region.get_by_role("spinbutton", name="Port of its SSH").fill(str(cluster.port))
    region.get_by_role("button", name="Show its host key").click()
    page.get_by_role("checkbox", name="I compared it").check()
    page.get_by_role("button", name="Add peregrine").click()
    page.wait_for_url("**/setup#clusters")
    expect(page.get_by_role("region", name="Clusters")).to_contain_text("peregrine")


def test_who_is_no_operator_sees_no_such_form_and_is_refused(look: Look, world: World) -> None:
    page = look("/clusters")
    expect(page.get_by_role("heading", level=1)).to_have_text("Clusters")
    expect(page.get_by_role("button", name="Show its host key")).to_have_count(0)
    status = page.evaluate(
        """() => fetch("/clusters", {method: "POST", headers: {accept: "text/html"},
            body: new URLSearchParams({name: "jackdaw", host: "127.0.0.1"})}).then((answer) => answer.status)"""
    )
    assert status == 403


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_line_is_copied_by_its_button(look: Look, world: World, theme: str) -> None:
    page = look("/clusters/raven", theme=theme, permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy restrict").click()
    assert page.evaluate("navigator.clipboard.readText()") == page.locator("copy-text code").text_content()
