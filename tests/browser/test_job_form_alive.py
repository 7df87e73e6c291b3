"""The form that submits a job, in Chromium: by keys, refused with everything kept, at every width, in both themes."""

from __future__ import annotations

import pytest

from tests.browser.conftest import Look
from tests.browser.test_every_page import faults, sideways
from tests.web.page_world import World


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 360)])
def test_a_refused_form_comes_back_with_what_was_typed_and_leads_to_what_is_wrong(
    look: Look, world: World, theme: str, width: int
) -> None:
    page = look(f"/s/{world.name}/jobs", theme=theme, width=width)
    assert not page.get_by_label("Memory", exact=True).is_visible(), "the simple case stays simple"
    page.get_by_label("Script", exact=True).fill("#!/bin/sh\necho 'it is <so>'\n")
    page.get_by_text("More: size, environment").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.type("2")
    page.keyboard.press("Tab")
    page.keyboard.type("much")
    assert page.get_by_label("CPUs", exact=True).input_value() == "2"
    page.get_by_label("Modules", exact=True).fill("gcc/12, openmpi")
    page.get_by_label("Lines before the script").fill("set -x\numask 077")
    page.get_by_label("It needs the network").check()
    assert faults(page) == [] and sideways(page) == []
    page.set_viewport_size({"width": width, "height": 900})
    page.get_by_role("button", name="Submit job").press("Enter")
    page.get_by_role("heading", name="Not submitted yet").wait_for()
    memory = page.get_by_label("Memory", exact=True)
    assert memory.is_visible() and memory.get_attribute("aria-invalid") == "true"
    said = page.locator("#w-resources-memory")
    assert said.is_visible() and "'much' is no amount of memory" in said.inner_text()
    assert page.get_by_role("alert").get_by_role("link", name="Memory").is_visible()
    page.get_by_role("alert").get_by_role("link", name="Memory").press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") in ("resources.memory", "resources.gpus")
    assert page.get_by_label("Script", exact=True).input_value() == "#!/bin/sh\necho 'it is <so>'\n"
    assert page.get_by_label("Modules", exact=True).input_value() == "gcc/12, openmpi"
    assert page.get_by_label("Lines before the script").input_value() == "set -x\numask 077"
    assert page.get_by_label("It needs the network").is_checked()
    assert faults(page) == [] and sideways(page) == []
    memory.fill("1GB")
    page.get_by_label("Modules", exact=True).fill("")
    page.get_by_role("button", name="Show where it would run").click()
    page.get_by_role("button", name="Change it").click()
    page.get_by_role("heading", name="Submit a job").wait_for()
    assert page.get_by_label("Memory", exact=True).input_value() == "1GB"
