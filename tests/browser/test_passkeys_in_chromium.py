"""Signing in as a person does it: a passkey from first registration to step-up, and the forms without scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from hub.core import limits
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.people.tables import passkeys
from tests.actions.people_fixtures import PASSWORD, code_of, in_browser, rows, with_app, with_password
from tests.browser.conftest import Look, serving
from tests.browser.test_every_page import faults, sideways
from tests.conftest import make_person
from tests.web.page_world import World

DEVICE = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Under a name, since browsers bind passkeys to one."""
    with serving(tmp_path_factory.mktemp("named"), "localhost") as made:
        yield made


@pytest.fixture
def someone(world: World) -> Callable[[str], Actor]:
    return lambda handle: make_person(world.house, handle)


def wait_a_while(world: World) -> None:
    clock = world.house.clock
    assert isinstance(clock, FrozenClock)
    clock.advance(limits.STEP_UP_SECONDS + 1)


def with_device(page: Page) -> Any:
    """A browser that has an authenticator, made by its developer tools."""
    tools = page.context.new_cdp_session(page)
    tools.send("WebAuthn.enable")
    tools.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})
    return tools


def test_a_passkey_from_registration_to_step_up(look: Look, world: World, someone: Callable[[str], Actor]) -> None:
    person = someone("maria")
    page = look("/me/security", person=person)
    with_device(page)
    page.get_by_label("Name of the passkey").fill("Laptop")
    page.get_by_role("button", name="Add a passkey").click()
    expect(page.get_by_text("Laptop")).to_be_visible()
    assert faults(page) == []
    page.goto("/me")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/signin")
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("Maria")
    wait_a_while(world)
    page.goto("/me/security")
    expect(page.get_by_label("New password")).to_have_count(0)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_label("New password")).to_be_visible()
    (row,) = rows(world.house, passkeys)
    assert (row.person, row.warned_at) == (person.id, None) and row.sign_count >= 2


def test_a_device_without_passkeys_for_this_hub_says_so(look: Look, world: World) -> None:
    page = look("/signin", person=None)
    tools = with_device(page)
    tools.send("WebAuthn.disable")
    tools.send("WebAuthn.enable")
    tools.send("WebAuthn.addVirtualAuthenticator", {"options": {**DEVICE, "isUserVerified": False}})
    page.get_by_role("button", name="Sign in with a passkey").click()
    expect(page.get_by_text("Nothing was done: it was refused, or took too long.")).to_be_visible(timeout=90_000)


def test_the_page_with_its_qr_code_and_the_proof_form_can_be_used_by_everybody(
    look: Look, world: World, someone: Callable[[str], Actor]
) -> None:
    person = someone("nina")
    for theme in ("light", "dark"):
        page = look("/me/security", person=person, theme=theme)
        if page.get_by_role("button", name="Set up an app").count():
            page.get_by_role("button", name="Set up an app").click()
        expect(page.get_by_role("img", name="QR code for the authenticator app")).to_be_visible()
        assert faults(page) == [] and sideways(page) == []
    browser = with_password(world.house, person)
    wait_a_while(world)
    with_app(world.house, in_browser(world.house, person))
    stale = look("/me/security", person=person)
    wait_a_while(world)
    stale.reload()
    expect(stale.get_by_role("heading", name="Prove that it is you")).to_be_visible()
    assert faults(stale) == [] and sideways(stale) == [] and browser.id == person.id


def test_two_pages_sign_in_without_any_script(look: Look, world: World, someone: Callable[[str], Actor]) -> None:
    app = with_app(world.house, with_password(world.house, someone("otto")))
    page = look("/signin?next=/jobs", person=None, java_script_enabled=False)
    expect(page.get_by_role("button", name="Sign in with a passkey")).not_to_be_visible()
    page.get_by_label("Handle or e-mail").fill("otto")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.get_by_label("Code").fill(code_of(app, world.house, steps=1))
    page.get_by_role("button", name="Go on").click()
    page.wait_for_url("**/jobs")
