"""GET /live/metrics: what a node counts, for whoever has its token."""

import asyncio

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from hub.live.frames import Kind, OpenDraft
from tests.live.conftest import Run
from tests.live.loopback import TOKEN, Hub

pytestmark = pytest.mark.slow


async def counted(live: Hub) -> dict[str, float]:
    """Every figure by its name, as Prometheus reads them."""
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False) as client:
        answer = await client.get(f"{live.origin}/live/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation for family in families)
    return {sample.name.removeprefix("collegium_live_"): sample.value for one in families for sample in one.samples}


def test_rooms_members_drafts_and_what_backpressure_did_are_counted(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        before = await counted(live)
        assert before.keys() == {
            "rooms", "members", "drafts", "tasks", "lag_seconds", "skipped_ticks_total", "conflated_total",
            "lagging_total", "cut_total", "writes_total",
        }  # fmt: skip
        async with live.member("ana") as ana, live.member("ben"):
            await ana.told(Kind.PDELTA)
            await ana.say(OpenDraft("draft_1", 0, b"\0"))
            while not (within := await counted(live))["drafts"]:
                await asyncio.sleep(0.01)
            assert within["rooms"] == before["rooms"] + 1
            assert within["members"] == before["members"] + 2
            assert within["writes_total"] > before["writes_total"]
            assert within["tasks"] >= 3
            assert within["lag_seconds"] < 60
        while (after := await counted(live))["members"] or after["drafts"]:
            await asyncio.sleep(0.01)
        assert after["rooms"] == within["rooms"], "a slot is kept for who comes back at once"

    run(scenario)


@pytest.mark.parametrize("shown", ["", "Bearer", "Bearer wrong", f"bearer {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xff"])
def test_nobody_else_is_told(live: Hub, run: Run, shown: str) -> None:
    async def scenario() -> None:
        headers = {"Authorization": shown.encode("latin-1")} if shown else {}
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"{live.origin}/live/metrics", headers=headers)
        assert answer.status_code == 401
        assert "collegium_live" not in answer.text

    run(scenario)
