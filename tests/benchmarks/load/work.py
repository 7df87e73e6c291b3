"""50 actions and 10 pages a second, for as long as it lives: `python -m tests.benchmarks.load.work URL BEARER`."""

import asyncio
import itertools
import sys

import httpx

ACTIONS, PAGES = 50, 10


async def main(url: str, authorization: str) -> None:
    limits = httpx.Limits(max_connections=50)
    async with (
        httpx.AsyncClient(base_url=url, headers={"Authorization": authorization}, timeout=30, limits=limits) as http,
        asyncio.TaskGroup() as group,
    ):
        own = next(one["name"] for one in (await http.get("/api/sessions")).json() if one["personal"])
        for number in itertools.count():
            entry = {"title": f"Entry {number}", "content": "Twelve lines, measured."}
            action = {"tool": "distributed_collaboration", "params": {"action": "lab_notebook", "entry": entry}}
            group.create_task(http.post("/api/actions", json=action))
            if number % (ACTIONS // PAGES) == 0:
                group.create_task(http.get(f"/s/{own}"))
            if number == ACTIONS:
                print("at work", flush=True)
            await asyncio.sleep(1 / ACTIONS)


asyncio.run(main(*sys.argv[1:3]))
