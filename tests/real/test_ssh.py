"""A real sshd: commands come back whole and apart, hostile words stay words, and every way to lose a line is told."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from hub.jobs import ssh
from hub.jobs.ssh import BrokenOff, Connection, Doubtful, HostKeyChanged, KeyRefused, Login, Unreachable, command
from tests.real.sshd_box import SshdBox, sessions_of

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

HOSTILE = [
    "",
    " ",
    "it's",
    '"',
    "\\",
    "$(touch pwned)",
    "`touch pwned`",
    "; touch pwned",
    "a\nb",
    "\n",
    "-rf",
    "--output=/etc/passwd",
    "!!",
    "*",
    "~",
    "$HOME",
    "\u202e\u0000"[:1],
    "ü\t\r",
    "'; touch pwned; '",
    "x" * 60000,
    "\x1b[2J",
]


def login(box: SshdBox, **changed: object) -> Login:
    wanted = {"host": "127.0.0.1", "port": box.port, "user": box.user, "host_keys": (box.host_key,), **changed}
    return Login(**wanted)  # type: ignore[arg-type]


@asynccontextmanager
async def connected(box: SshdBox, **options: object) -> AsyncIterator[Connection]:
    key = asyncssh.read_private_key(str(box.client_key))
    connection = Connection(login(box), key, **options)  # type: ignore[arg-type]
    try:
        yield connection
    finally:
        await connection.close()


def test_every_word_reaches_the_far_side_as_one_argument(sshd: SshdBox) -> None:
    async def go() -> None:
        async with connected(sshd) as far:
            for word in HOSTILE:
                done = await far.run(command(["printf", "%s", word]))
                assert (done.code, done.out) == (0, word.encode()), word[:40]
            many = await far.run(command(["printf", "[%s]", *HOSTILE[:-2]]))
            assert many.out.decode() == "".join(f"[{word}]" for word in HOSTILE[:-2])
        with pytest.raises(ValueError, match="NUL"):
            command(["a\0b"])

    asyncio.run(go())
    assert not (sshd.home / "pwned").exists()


def test_output_comes_back_byte_for_byte_with_its_exit_code_and_apart_from_errors(sshd: SshdBox) -> None:
    async def go() -> None:
        async with connected(sshd) as far:
            done = await far.run("printf 'no end of line'; printf 'bad' >&2; exit 7")
            assert (done.code, done.out, done.err) == (7, b"no end of line", b"bad")
            raw = await far.run("head -c 300000 /dev/zero; printf '\\n\\n'; printf '\\377\\376'")
            assert raw.out == bytes(300000) + b"\n\n\xff\xfe"
            assert (await far.run("cat")).out == b""  # nothing is read from the stream of commands
            assert (await far.run("exit 3")).code == 3
            assert (await far.run("echo still; kill -9 $$")).code == 137
            assert (await far.run("echo here")).out == b"here\n"
            assert far.opened == 1

    asyncio.run(go())


def test_a_command_ends_at_its_own_limit_on_the_far_side(sshd: SshdBox) -> None:
    async def go() -> None:
        async with connected(sshd) as far:
            began = time.monotonic()
            done = await far.run("sleep 77 & sleep 77; echo never", seconds=1)
            assert done.timed_out
            assert time.monotonic() - began < 5
            assert (await far.run("echo next")).out == b"next\n"

    asyncio.run(go())


def test_a_thousand_commands_need_one_channel_and_what_is_urgent_does_not_wait(sshd: SshdBox) -> None:
    async def go() -> None:
        async with connected(sshd) as far:
            for _ in range(100):
                await far.run("true")
            assert far.most_channels == 1
            slow = [asyncio.create_task(far.run("sleep 3", seconds=10)) for _ in range(4)]
            await asyncio.sleep(0.3)
            began = time.monotonic()
            assert (await far.run("echo now", urgent=True)).out == b"now\n"
            assert time.monotonic() - began < 2
            await asyncio.gather(*slow)
            assert far.most_channels <= ssh.CHANNELS

    asyncio.run(go())


def test_channels_never_pass_eight_and_one_stays_free(sshd: SshdBox) -> None:
    async def go() -> None:
        async with connected(sshd) as far:
            at_once = 0

            async def flow() -> None:
                nonlocal at_once
                async with far.stream("echo on; sleep 1") as process:
                    await process.stdout.readline()
                    at_once = max(at_once, far.most_channels)

            flows = [asyncio.create_task(flow()) for _ in range(20)]
            await asyncio.sleep(0.5)
            began = time.monotonic()
            await far.run("true", urgent=True)
            assert time.monotonic() - began < 5
            await asyncio.gather(*flows)
            assert ssh.CHANNELS - ssh.KEPT_FREE <= far.most_channels <= ssh.CHANNELS

    asyncio.run(go())


def test_a_cut_in_the_middle_is_a_doubt_and_the_next_command_opens_anew(sshd: SshdBox) -> None:
    async def go() -> None:
        async with connected(sshd) as far:
            await far.run("true")
            running = asyncio.create_task(far.run("sleep 1; touch happened-anyway", seconds=5))
            await asyncio.sleep(0.3)
            await asyncio.to_thread(sshd.cut)
            with pytest.raises(Doubtful):
                await running
            assert (await far.run("echo back")).out == b"back\n"
            assert far.opened == 2

    asyncio.run(go())


def test_a_file_transfer_channel_that_ends_alone_is_told_as_that_and_another_is_opened(sshd: SshdBox) -> None:
    (sshd.home / "data").write_bytes(b"bytes")

    async def go() -> None:
        async with connected(sshd) as connection:
            await connection.run("true")
            for _ in range(20):  # none of them may cost a channel for good
                before = set(sessions_of(sshd.running["sshd"].pid))
                async with connection.files() as files:
                    assert (await files.stat("data")).size == 5
                (server,) = set(sessions_of(sshd.running["sshd"].pid)) - before
                os.kill(server, signal.SIGKILL)
                with pytest.raises(BrokenOff, match="broke off"):
                    async with connection.files() as files:
                        while True:
                            await files.stat("data")
            with pytest.raises(asyncssh.SFTPNoSuchFile):
                async with connection.files() as files:
                    await files.stat("none")
            assert connection.opened == 1

    asyncio.run(go())


def test_a_changed_host_key_is_refused_for_good(sshd: SshdBox) -> None:
    async def go() -> None:
        async with connected(sshd) as far:
            await far.run("true")
            await asyncio.to_thread(sshd.cut)
            await asyncio.to_thread(sshd.new_host_key)
            with pytest.raises(HostKeyChanged, match="another host key"):
                await _soon(lambda: far.run("touch must-not-be"))
            with pytest.raises(Unreachable, match="left alone"):
                await far.run("true")

    asyncio.run(go())
    assert not (sshd.home / "must-not-be").exists()


def test_a_key_that_is_refused_is_not_tried_again_soon(sshd: SshdBox) -> None:
    sshd.keys.write_text("")

    async def go() -> None:
        async with connected(sshd) as far:
            with pytest.raises(KeyRefused, match="does not accept the key"):
                await far.run("true")
            with pytest.raises(Unreachable, match="left alone for a while"):
                await far.run("true")
            assert far.opened == 0

    asyncio.run(go())


def test_nobody_there_is_told_and_waited_for(sshd: SshdBox) -> None:
    now = 0.0

    async def go() -> None:
        nonlocal now
        async with connected(sshd, clock=lambda: now) as far:
            sshd.end("sshd")
            with pytest.raises(Unreachable, match="cannot be reached"):
                await far.run("true")
            sshd.restart()
            with pytest.raises(Unreachable, match="left alone"):
                await far.run("true")
            now += 7
            assert (await far.run("echo again")).out == b"again\n"
            assert far.breaker.failures == 0

    asyncio.run(go())


def test_through_a_jump_host_commands_and_files_go_and_each_of_the_two_is_pinned(sshd: SshdBox, tmp_path: Path) -> None:
    with SshdBox() as inner:
        inner.allow(sshd.client_key.with_suffix(".pub").read_text())
        key = asyncssh.read_private_key(str(sshd.client_key))
        outer, data = login(sshd), os.urandom(3 << 20)
        (tmp_path / "up").write_bytes(data)

        async def go(target: Login) -> bytes:
            far = Connection(target, key)
            try:
                who = (await far.run("id -un")).out
                async with far.files() as files:
                    await files.put(str(tmp_path / "up"), "there")
                async with far.stream("cat there") as process:
                    assert await process.stdout.read() == data
                    assert await far.ended(process) == 0
                return who
            finally:
                await far.close()

        assert asyncio.run(go(login(inner, jump=outer))) == f"{inner.user}\n".encode()
        assert (inner.home / "there").read_bytes() == data and not (sshd.home / "there").exists()
        (inner.home / "there").unlink()
        for wrong, whose in (
            (login(inner, jump=login(sshd, host_keys=(inner.host_key,))), "127.0.0.1"),
            (login(inner, host="localhost", host_keys=(sshd.host_key,), jump=outer), "localhost"),
        ):
            connection = Connection(wrong, key)
            for _ in range(2):  # and is not tried again until somebody has looked
                with pytest.raises(Unreachable, match=f"{whose} .*another host key than the one that was confirmed"):
                    asyncio.run(connection.run("touch there"))
            assert connection.breaker.for_good
        assert not (inner.home / "there").exists()


def test_the_host_key_to_compare_is_the_servers(sshd: SshdBox) -> None:
    assert asyncio.run(ssh.host_key_of("127.0.0.1", sshd.port)) == sshd.host_key


async def _soon(act: Callable[[], object]) -> object:
    """The connection may need a moment to notice that it was cut."""
    while True:
        try:
            return await act()  # type: ignore[misc]
        except Doubtful:
            await asyncio.sleep(0.1)
