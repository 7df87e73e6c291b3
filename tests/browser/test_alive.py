"""What moves on a page moves well: logs that grow, jobs that end, files that are sent, and all of it without script."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from hub.jobs import logs
from hub.work.dispatcher import number_all
from tests.browser.conftest import Look, serving
from tests.web import page_world
from tests.web.page_world import World


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A world of this module's own: its tests change it."""
    with serving(tmp_path_factory.mktemp("hub")) as made:
        yield made


@pytest.fixture
def job(world: World) -> str:
    """A fresh job that runs."""
    return page_world.start(world, "alive")


def write(world: World, job: str, text: str) -> None:
    store = logs.store(world.house.settings.data)
    store.append(job, store.size(job), text.encode())


def at_end(page: Page) -> bool:
    return bool(page.locator(".log-text").evaluate("(log) => log.scrollHeight - log.scrollTop - log.clientHeight < 12"))


def test_a_log_grows_on_the_page_and_stays_at_its_end(look: Look, world: World, job: str) -> None:
    page = look(f"/jobs/{job}")
    log = page.locator(".log-text")
    expect(log).to_contain_text("Nothing is written yet.")
    write(world, job, "".join(f"line {n}\n" for n in range(1, 101)))
    expect(log).to_contain_text("line 100")
    assert at_end(page)
    assert log.get_attribute("aria-live") == "off"


def test_a_log_stands_still_for_who_reads_and_counts_what_comes(look: Look, world: World, job: str) -> None:
    write(world, job, "".join(f"line {n}\n" for n in range(1, 101)))
    page = look(f"/jobs/{job}")
    log = page.locator(".log-text")
    expect(log).to_contain_text("line 100")
    log.hover()
    page.mouse.wheel(0, -600)
    expect(page.get_by_role("button", name="Follow")).to_have_attribute("aria-pressed", "false")
    before = log.evaluate("(log) => log.scrollTop")
    write(world, job, "one\ntwo\nthree\n")
    jump = page.get_by_role("button", name="3 new lines")
    expect(jump).to_be_visible()
    assert log.evaluate("(log) => log.scrollTop") == before
    jump.click()
    expect(jump).to_be_hidden()
    assert at_end(page)
    write(world, job, "four\n")
    expect(log).to_contain_text("four")
    assert at_end(page)


def test_of_a_progress_bar_only_the_newest_picture_is_shown(look: Look, world: World, job: str) -> None:
    page = look(f"/jobs/{job}")
    write(world, job, "begin\n[=>  ] 20 %\r[==> ] 40 %")
    moving = page.locator(".ln.moving")
    expect(moving).to_have_text("[==> ] 40 %")
    write(world, job, "\r[===>] 90 %")
    expect(moving).to_have_text("[===>] 90 %")
    write(world, job, "\r[====] 100 %\nend\n")
    expect(moving).to_have_count(0)
    expect(page.locator(".log-text")).not_to_contain_text("40 %")


def test_a_key_reads_the_last_five_lines_into_the_status_line(look: Look, world: World, job: str) -> None:
    write(world, job, "".join(f"line {n}\n" for n in range(1, 9)))
    page = look(f"/jobs/{job}")
    page.locator(".log-text").focus()
    page.keyboard.press("l")
    expect(page.get_by_role("status")).to_have_text("Last lines: line 4; line 5; line 6; line 7; line 8")


def test_a_job_that_ends_says_so_on_the_open_page_once(look: Look, world: World, job: str) -> None:
    page = look(f"/jobs/{job}")
    expect(page.locator(".say")).to_contain_text("Running for")
    page_world.finish(world, job)
    number_all(world.house, "test")
    expect(page.locator(".say")).to_contain_text("Finished after", timeout=20_000)
    expect(page.get_by_role("status")).to_contain_text("Finished after", timeout=20_000)
    expect(page.get_by_role("button", name="Cancel job")).to_have_count(0)
    expect(page.get_by_role("button", name="Follow")).to_have_count(0)


def test_html_in_a_log_stays_text(look: Look, world: World, job: str) -> None:
    page = look(f"/jobs/{job}")
    write(world, job, f"{page_world.HOSTILE}\n")
    expect(page.locator(".log-text")).to_contain_text(page_world.HOSTILE)
    assert page.locator(".log-text img").count() == 0


def test_a_file_chosen_on_the_page_becomes_a_version(look: Look, world: World, tmp_path: Path) -> None:
    chosen = tmp_path / "measured again.csv"
    chosen.write_bytes(b"a,b\n" + b"1,2\n" * 300_000)
    page = look(f"/s/{world.name}/files")
    page.get_by_label("Choose files, or drop them here.").set_input_files(chosen)
    expect(page.get_by_role("link", name="measured again.csv").first).to_be_visible(timeout=30_000)


def test_a_digest_is_copied_whole(look: Look, world: World) -> None:
    page = look(f"/artifacts/{world.figure}", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy sha256:").click()
    expect(page.get_by_role("status")).to_have_text("Copied.")
    assert len(page.evaluate("navigator.clipboard.readText()").removeprefix("sha256:")) == 64


def test_times_are_told_in_the_readers_zone(look: Look, world: World) -> None:
    page = look(f"/artifacts/{world.figure}")
    told = page.locator(".facts time")
    expect(told).to_have_text("1 Jun 2024, 07:09")


def test_without_script_a_message_is_said_and_shown(look: Look) -> None:
    page = look("/s/ana/personal", java_script_enabled=False)
    page.get_by_role("textbox", name="Message").fill("Said without script")
    page.get_by_role("button", name="Send").click()
    assert page.get_by_text("Said without script").count() == 1
    assert page.url.endswith("/s/ana/personal")


def test_without_script_an_entry_is_written_signed_and_read(look: Look, world: World) -> None:
    page = look(f"/s/{world.name}/notebook", java_script_enabled=False)
    page.get_by_label("Title").fill("By hand")
    page.get_by_role("textbox", name="Text", exact=True).fill("With $E = mc^2$.")
    page.get_by_label("Files it rests on").fill("figures/band.svg, tables/levels.csv")
    page.get_by_role("button", name="Save entry").click()
    assert page.get_by_role("heading", level=1).inner_text() == "By hand"
    page.get_by_role("button", name="Open a signing window").click()
    page.get_by_role("button", name="Sign version 1").click()
    assert page.get_by_text("Signed, verified").count() == 1
