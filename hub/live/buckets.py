"""Token buckets: how often one connection may say a thing.

A cursor above its rate is dropped and not punished, since the next one replaces it. Anything else above its rate is
answered with an error and costs a strike; strikes are forgotten after a while, three at once end the connection.
"""

from dataclasses import dataclass

from hub.live.frames import Kind


@dataclass(slots=True)
class Bucket:
    """Holds at most `burst` tokens and gains `rate` of them a second."""

    rate: float
    burst: float
    tokens: float = -1.0
    at: float = 0.0

    def take(self, now: float) -> bool:
        """Take one token if there is one."""
        if self.tokens < 0:
            self.tokens = self.burst
        else:
            self.tokens = min(self.burst, self.tokens + max(0.0, now - self.at) * self.rate)
        self.at = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True

    def wait_ms(self) -> int:
        """How long until the next token, in milliseconds."""
        return 0 if self.tokens >= 1.0 else int((1.0 - max(0.0, self.tokens)) / self.rate * 1000) + 1


# rate per second, burst
ALLOWANCE: dict[Kind, tuple[float, float]] = {
    Kind.HELLO: (0.2, 1),
    Kind.VIEW: (4, 12),
    Kind.CUR: (30, 40),
    Kind.PSET: (4, 8),
    Kind.MSG: (5, 20),
    Kind.CAPTION: (4, 12),
    Kind.FOLLOW_LOG: (5, 20),
    Kind.YSYNC: (2, 20),
    Kind.YUPD: (30, 240),
    Kind.YAWARE: (15, 40),
    Kind.YSTOP: (5, 20),
    Kind.RTC: (50, 200),
    Kind.PING: (2, 10),
    Kind.PONG: (2, 10),
}

STRIKES = 3
STRIKE_SECONDS = 10.0
# Who is a little too eager is above the rate by a few frames; what sends hundreds within a second is no client.
FLOOD_FRAMES = 500
# What the next one of its kind replaces is dropped when there is too much of it, and not punished short of a flood.
REPLACED = frozenset({Kind.CUR, Kind.YAWARE})


class Allowance:
    """The buckets and strikes of one connection."""

    __slots__ = ("_buckets", "_excess", "_excess_since", "_strikes")

    def __init__(self) -> None:
        self._buckets: dict[Kind, Bucket] = {}
        self._strikes: list[float] = []
        self._excess = 0
        self._excess_since = float("-inf")

    def take(self, kind: Kind, now: float) -> int:
        """0 when the frame may pass, else the milliseconds to wait for the next one of its kind."""
        bucket = self._buckets.get(kind)
        if bucket is None:
            rate, burst = ALLOWANCE[kind]
            bucket = self._buckets[kind] = Bucket(rate, burst)
        return 0 if bucket.take(now) else max(1, bucket.wait_ms())

    def strike(self, now: float) -> bool:
        """Count one excess; True when it was one too many. Excesses within one second count once, up to a flood."""
        self._strikes = [at for at in self._strikes if now - at < STRIKE_SECONDS]
        if not self._strikes or now - self._strikes[-1] >= 1.0:
            self._strikes.append(now)
        return self.flooded(now) or len(self._strikes) >= STRIKES

    def flooded(self, now: float) -> bool:
        """Count one excess; True when there were hundreds within a second."""
        if now - self._excess_since >= 1.0:
            self._excess, self._excess_since = 0, now
        self._excess += 1
        return self._excess >= FLOOD_FRAMES
