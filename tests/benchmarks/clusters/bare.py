"""Bare `sbatch`, as somebody calls it who has an open SSH connection: no token, no lock, no ledger, no second look.

One connection, so many standing shells on it, and for each job its folder laid from the same archive that a job of the
hub was laid from. It is the fastest honest way; `by_exec` opens a channel for each call, as `ssh` through a
ControlMaster does.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Sequence

import asyncssh

from hub.jobs.ssh import CIPHERS
from tests.real.sshd_box import SshdBox

END = "~end~"


def archive_of(box: SshdBox, folder: str) -> str:
    """What the hub laid for one of its runs, as base64."""
    return box.sh(f"cd '{folder}' && tar -czf - run.sh given work | base64 -w 76")


class Bare:
    """One connection and its channels."""

    def __init__(self, connection: asyncssh.SSHClientConnection, archive: str, options: Sequence[str]) -> None:
        self._connection = connection
        self._archive, self._options = archive, " ".join(options)
        self._shells: list[asyncssh.SSHClientProcess[str]] = []
        self._numbers = itertools.count(1)

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(
        cls, box: SshdBox, archive: str, options: Sequence[str] = (), channels: int = 1
    ) -> AsyncIterator[Bare]:
        key = asyncssh.read_private_key(str(box.client_key))
        async with asyncssh.connect(
            "127.0.0.1", box.port, username=box.user, client_keys=[key], known_hosts=None, config=None,
            compression_algs=None, encryption_algs=CIPHERS,
        ) as connection:  # fmt: skip
            made = cls(connection, archive, options)
            for _ in range(channels):
                made._shells.append(await connection.create_process("exec /bin/sh -l"))
            await asyncio.gather(*(made._said(shell, "true") for shell in made._shells))
            yield made

    async def submit(self, count: int) -> float:
        """So many jobs, over all channels; the seconds it took."""
        left = iter(range(count))
        began = time.perf_counter()

        async def one_after_another(shell: asyncssh.SSHClientProcess[str]) -> None:
            for _ in left:
                said = await self._said(shell, self._script())
                assert said.strip().isdigit(), said

        await asyncio.gather(*(one_after_another(shell) for shell in self._shells))
        return time.perf_counter() - began

    async def by_exec(self, count: int) -> float:
        """The same with a channel opened for each."""
        began = time.perf_counter()
        for _ in range(count):
            done = await self._connection.run(self._script())
            assert str(done.stdout).strip().isdigit(), (done.stdout, done.stderr)
        return time.perf_counter() - began

    async def sbatch_alone(self) -> float:
        """One call of sbatch for a folder that lies there already; the seconds it took."""
        shell, folder = self._shells[0], self._folder()
        await self._said(shell, self._lay(folder))
        began = time.perf_counter()
        said = await self._said(shell, self._sbatch(folder))
        assert said.strip().isdigit(), said
        return time.perf_counter() - began

    def _folder(self) -> str:
        return f"$HOME/bare/{next(self._numbers)}"

    def _lay(self, folder: str) -> str:
        return f"mkdir -p {folder} && base64 -d <<'~' | tar -xzf - -C {folder}\n{self._archive}\n~\n"

    def _sbatch(self, folder: str) -> str:
        ours = f"--parsable --output={folder}/log.%j --chdir={folder} --job-name=bare"
        return f"sbatch {ours} {self._options} {folder}/run.sh 2>&1"

    def _script(self) -> str:
        folder = self._folder()
        return self._lay(folder) + self._sbatch(folder)

    async def _said(self, shell: asyncssh.SSHClientProcess[str], script: str) -> str:
        shell.stdin.write(f"{script}\necho {END}\n")
        lines = []
        while (line := await shell.stdout.readline()).rstrip("\n") != END:
            assert line, "the shell has ended"
            lines.append(line)
        return "".join(lines)
