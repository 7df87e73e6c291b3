"""A certificate given on the page, before a real sshd that trusts its authority; and the page while one ends."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import Look, serving
from tests.browser.test_clusters_page import Cluster, add, wrong
from tests.browser.test_every_page import faults, sideways
from tests.real.user_ca import UserCa
from tests.web.page_world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world whose clock is the sshd's, which judges certificates as the hub does, and stands still."""
    with serving(tmp_path_factory.mktemp("hub")) as made:
        made.house.clock.set(dt.datetime.now(dt.UTC))  # type: ignore[attr-defined]
        yield made


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as box:
        yield box


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_from_a_public_key_to_a_certificate(look: Look, world: World, cluster: Cluster, theme: str) -> None:
    name = f"merlin-{theme}"
    ca = UserCa(cluster, f"ca-{theme}").trusted()
    add(look, world, cluster, name)
    page = look(f"/clusters/{name}", theme=theme)
    page.get_by_role("textbox", name="Your login").fill(cluster.user)
    page.get_by_role("radio", name="A short-lived certificate").check()
    page.get_by_role("button", name="Sign up").click()
    expect(page.get_by_role("main")).to_contain_text("To be certified")
    public = page.locator("copy-text code").text_content()
    assert public is not None and faults(page) == [] and sideways(page) == []
    page.get_by_role("textbox", name="The certificate").fill(ca.sign(public, login="somebody"))
    page.get_by_role("button", name="Try it and keep it").click()
    expect(page.locator(".wrong")).to_contain_text(f"It is for somebody, and not for {cluster.user}")
    assert "not for" in wrong(page, "The certificate") and faults(page) == []
    page.get_by_role("textbox", name="The certificate").fill(ca.sign(public))
    page.get_by_role("button", name="Try it and keep it").click()
    expect(page.get_by_role("main")).to_contain_text(f"Jobs of yours can go here, as {cluster.user}.")
    expect(page.get_by_role("region", name="How it stands")).to_contain_text("ana at the site, serial 0")
    assert faults(page) == [] and sideways(page) == []
    page.get_by_text("Give a new certificate").click()
    expect(page.get_by_role("textbox", name="The certificate")).to_be_visible()
    assert faults(page) == [] and sideways(page) == []
    now = world.house.clock.now()
    try:
        for hours, face in ((11, "Certificate ends soon"), (13, "Certificate ended")):
            world.house.clock.set(now + dt.timedelta(hours=hours))  # type: ignore[attr-defined]
            shown = look(f"/clusters/{name}", theme=theme)
            expect(shown.get_by_role("main")).to_contain_text(face)
            expect(shown.get_by_role("textbox", name="The certificate")).to_be_visible()
            assert faults(shown) == [] and sideways(shown) == []
    finally:
        world.house.clock.set(now)  # type: ignore[attr-defined]
