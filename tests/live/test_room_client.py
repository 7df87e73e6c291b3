"""`static/js/room.js` against the live process: the browser's class, run by Node."""

import asyncio
import json
from typing import Any

from hub.live.closing import Closing
from tests.live.conftest import Run
from tests.live.loopback import Hub
from tests.live.test_protocol import HERE, STATIC, node


async def line(process: asyncio.subprocess.Process, what: str) -> dict[str, Any]:
    assert process.stdout is not None
    told: dict[str, Any] = json.loads(await process.stdout.readline())
    assert told["what"] == what
    return told


def test_two_clients_meet_one_is_cut_off_resumes_and_is_revoked(live: Hub, run: Run) -> None:
    async def scenario() -> None:
        live.web.roles = {name: ("read_write", ["job:read", "room:join", "room:speak"]) for name in ("ana", "ben")}
        live.web.logs["job_1"] = (b"first\n", False)
        script = [node(), str(HERE / "room.mjs"), str(STATIC / "js" / "room.js"), live.origin]
        process = await asyncio.create_subprocess_exec(
            *script, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdin is not None
        try:
            cursor = await line(process, "cursor")
            assert cursor == {"what": "cursor", "who": "Ana", "view": "levels.svg", "x": 100, "y": 200, "gone": False}
            assert (await line(process, "said"))["sequence"] == 1
            signal = await line(process, "signal")
            assert signal["signal"] == {"desc": {"type": "offer", "sdp": "v=0"}}

            await line(process, "cut me off")
            room = live.room
            ben = next(member for member in room.members.values() if member.grant.member.id == "per_ben")
            ben.close(Closing.SLOW, "for the test")
            live.web.keep("eve", "two")
            live.web.logs["job_1"] = (b"first\nlast\n", True)
            resumed = await line(process, "resumed")
            assert resumed["said"] == ["one", "two", "three"]
            assert resumed["log"] == [[0, "first\n"], [6, "last\n"]]
            assert resumed["sameSlot"]

            await line(process, "revoke me")
            del live.web.roles["ben"]
            live.web.line("grant_revoke")
            assert (await line(process, "closed"))["code"] == Closing.NOT_ALLOWED
            process.stdin.write(b"\n")
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    run(scenario)
