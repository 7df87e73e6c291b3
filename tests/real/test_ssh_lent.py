"""What a person lends their agent: keys that never leave OpenSSH's ssh-agent, and a line they opened themselves."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hub.jobs import ssh
from hub.jobs.anywhere.master import MasteredConnection
from hub.jobs.shell import Doubtful, SshError
from hub.jobs.ssh import Connection, Held, HostKeyChanged, KeyRefused, Login, Unreachable, command
from tests.real.sshd_box import SshdBox
from tests.real.test_ssh import HOSTILE, login
from tests.waiting import wait_for

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]


class Lent:
    """An OpenSSH process that lets others in, behind a socket."""

    def __init__(self, socket: Path, argv: list[str]) -> None:
        self.socket = socket
        self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_for(socket.exists, 20, "the socket")

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(10)


@pytest.fixture
def keeper(sshd: SshdBox) -> Iterator[Lent]:
    socket = sshd.base / "agent.sock"
    lent = Lent(socket, ["ssh-agent", "-D", "-a", str(socket)])
    yield lent
    lent.end()


def add(keeper: Lent, *what: object) -> None:
    environ = {**os.environ, "SSH_AUTH_SOCK": str(keeper.socket)}
    subprocess.run(["ssh-add", "-q", *map(str, what)], env=environ, check=True, capture_output=True)


def opened(sshd: SshdBox, name: str = "line.sock") -> Lent:
    known, socket = sshd.base / "known_hosts", sshd.base / name
    known.write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
    argv = ["ssh", "-F", "none", "-M", "-N", "-S", str(socket), "-i", str(sshd.client_key)]
    argv += ["-o", f"UserKnownHostsFile={known}", "-p", str(sshd.port), "-l", sshd.user, "127.0.0.1"]
    return Lent(socket, argv)


@pytest.fixture
def line(sshd: SshdBox) -> Iterator[Lent]:
    lent = opened(sshd)
    yield lent
    lent.end()


@asynccontextmanager
async def on(line: Lent, sshd: SshdBox) -> AsyncIterator[MasteredConnection]:
    connection = MasteredConnection(login(sshd), str(line.socket))
    try:
        yield connection
    finally:
        await connection.close()


def far(sshd: SshdBox, key: Held, **changed: object) -> Connection:
    return Connection(login(sshd, **changed), key)


def test_an_ssh_agent_signs_for_us_with_the_key_that_is_meant(sshd: SshdBox, keeper: Lent) -> None:
    for number in range(8):  # a server hangs up on who offers more than six
        add(keeper, sshd.new_key(f"other{number}"))
    add(keeper, sshd.client_key)
    wanted = sshd.client_key.with_suffix(".pub").read_text()

    async def go() -> None:
        connection = far(sshd, Held(str(keeper.socket), wanted))
        assert (await connection.run("id -un")).out.decode().strip() == sshd.user
        await connection.close()
        with pytest.raises(Unreachable):
            await far(sshd, Held(str(keeper.socket))).run("true")

    asyncio.run(go())


def test_what_an_ssh_agent_cannot_do_is_told_and_the_host_key_stays_pinned(sshd: SshdBox, keeper: Lent) -> None:
    held = Held(str(keeper.socket))

    async def go() -> None:
        with pytest.raises(Unreachable, match="holds no key; add it with ssh-add"):
            await far(sshd, held).run("true")
        add(keeper, sshd.new_key("stranger"))
        with pytest.raises(KeyRefused, match="does not accept the key"):
            await far(sshd, held).run("true")
        with pytest.raises(Unreachable, match="holds not that key"):
            await far(sshd, Held(held.path, sshd.client_key.with_suffix(".pub").read_text())).run("true")
        add(keeper, sshd.client_key)
        other = " ".join(sshd.new_key("false-host").with_suffix(".pub").read_text().split()[:2])
        with pytest.raises(HostKeyChanged):
            await far(sshd, held, host_keys=(other,)).run("true")
        keeper.end()
        with pytest.raises(Unreachable, match="no ssh-agent answers"):
            await far(sshd, held).run("true")

    asyncio.run(go())


def test_on_a_persons_own_line_words_stay_words_and_output_comes_back_whole(sshd: SshdBox, line: Lent) -> None:
    async def go() -> None:
        async with on(line, sshd) as connection:
            for word in HOSTILE:
                done = await connection.run(command(["printf", "%s", word]))
                assert (done.code, done.out) == (0, word.encode()), word[:40]
            done = await connection.run("head -c 300000 /dev/zero; printf 'bad' >&2; exit 7")
            assert (done.code, done.out, done.err) == (7, bytes(300000), b"bad")
            assert connection.opened == 1 and connection.most_channels <= ssh.CHANNELS
            began = time.monotonic()
            slow = [asyncio.create_task(connection.run("sleep 3", seconds=10)) for _ in range(4)]
            await asyncio.sleep(0.3)
            assert (await connection.run("echo now", urgent=True)).out == b"now\n"
            assert time.monotonic() - began < 2.5
            await asyncio.gather(*slow)

    asyncio.run(go())
    assert not (sshd.home / "pwned").exists()


def test_bytes_flow_both_ways_on_a_persons_own_line(sshd: SshdBox, line: Lent) -> None:
    data = os.urandom(3_000_000)

    async def go() -> None:
        async with on(line, sshd) as connection:
            async with connection.stream("cat") as process:
                process.stdin.write(data)
                process.stdin.write_eof()
                got = b""
                while piece := await process.stdout.read(1 << 16):
                    got += piece
                assert got == data
            files = await connection.sftp()
            async with files.open("there.bin", "wb") as there:
                await there.write(data, 0)
            assert (await files.stat("there.bin")).size == len(data)
            async with files.open("there.bin", "rb") as there:
                assert await there.read(1000, 2_000_000) == data[2_000_000:2_001_000]
            assert await connection.sftp() is files

    asyncio.run(go())


def test_a_line_that_is_gone_is_told_and_none_is_opened_in_its_place(sshd: SshdBox, line: Lent) -> None:
    async def go() -> None:
        async with on(line, sshd) as connection:
            await connection.run("true")
            running = asyncio.create_task(connection.run("sleep 30", seconds=40))
            await asyncio.sleep(0.5)
            line.end()
            with pytest.raises(Doubtful):
                await running
            said = ""
            while "no master answers" not in said:  # at first it is only noticed that a command has no answer
                with pytest.raises(SshError) as fault:
                    await connection.run("true")
                said = str(fault.value)
            again = opened(sshd, line.socket.name)
            assert (await connection.run("echo back")).out == b"back\n"
            again.end()

    # A configuration that would let `ssh` in by itself changes nothing: none is read.
    asyncio.run(go())
    nowhere = Login("127.0.0.1", sshd.user, (sshd.host_key,), sshd.port)

    async def without() -> None:
        with pytest.raises(Unreachable, match="no master answers"):
            await MasteredConnection(nowhere, str(sshd.base / "never.sock")).run("true")

    asyncio.run(without())
