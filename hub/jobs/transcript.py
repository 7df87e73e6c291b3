"""What a program wrote, byte for byte, up to a limit: writing without end neither fills the disk nor stops the job."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from hub.jobs.processes import LINUX

PIPE_CAPACITY, PIECE_BYTES = 1 << 20, 1 << 18


class Transcript:
    """The first `limit` bytes of a stream, the count of all of them, and a last line when some are missing."""

    def __init__(self, path: Path, limit: int) -> None:
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.null = os.open(os.devnull, os.O_WRONLY)
        self.limit, self.seen, self.kept = limit, 0, 0

    def take(self, source: int) -> bool:
        """Move what is there; False at the end of the stream. Raises BlockingIOError when nothing is there."""
        room = self.limit - self.kept
        if room <= 0 and LINUX:
            moved = os.splice(source, self.null, PIPE_CAPACITY)  # Nobody wants these bytes: not even we look at them.
            self.seen += moved
            return moved > 0
        piece = os.read(source, PIECE_BYTES)
        self.seen += len(piece)
        wanted = memoryview(piece)[: max(room, 0)]
        try:
            while wanted:
                written = os.write(self.file, wanted)
                self.kept += written
                wanted = wanted[written:]
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            self.limit = self.kept  # A full disk: what follows is counted, and the log stays without holes.
        return bool(piece)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            if self.seen > self.kept:
                note = f"\n[collegium] the log ends here: {self.kept} of {self.seen} bytes were kept\n"
                os.write(self.file, note.encode())
            os.fsync(self.file)
        os.close(self.file)
        os.close(self.null)
