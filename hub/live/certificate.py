"""The certificate the front door shows: read at start, and again whenever its files change.

A renewed certificate is taken up within a minute, for connections from then on; no socket is dropped for it and nobody
has to send a signal. Files that do not go together (a renewal is being written) leave the old one in place.
"""

import asyncio
from pathlib import Path

import structlog

from hub.core import tls
from hub.core.errors import InvalidInput

log = structlog.get_logger()
LOOK_SECONDS = 30.0


class ServedCertificate:
    """A certificate, its key, and the context that serves them. Raises InvalidInput when they cannot be served."""

    def __init__(self, chain: Path, key: Path) -> None:
        self.chain, self.key = chain, key
        self.context = tls.context(chain, key)
        self._seen = self._times()

    async def watch(self, every_seconds: float = LOOK_SECONDS) -> None:
        """Take up what is renewed, until cancelled."""
        while True:
            await asyncio.sleep(every_seconds)
            self.look()

    def look(self) -> bool:
        """Whether a renewed certificate was taken up now."""
        times = self._times()
        if times == self._seen:
            return False
        try:
            tls.context(self.chain, self.key)  # tried on a context nobody is served from
            tls.load(self.context, self.chain, self.key)
        except InvalidInput as error:
            log.warning("certificate.not_taken_up", error=str(error))
            return False
        self._seen = times
        log.info("certificate.taken_up", chain=str(self.chain))
        return True

    def _times(self) -> tuple[int, ...]:
        return tuple(path.stat().st_mtime_ns if path.exists() else 0 for path in (self.chain, self.key))
