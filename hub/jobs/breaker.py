"""When a login node may be tried again: pure, so that the hub neither hammers a cluster nor gets itself banned."""

from __future__ import annotations

import msgspec

# After the first, second, ... failure in a row. Sites ban an address that keeps opening connections.
PAUSES_SECONDS = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0)
# A key that was refused will be refused again, and is what sites count against an address.
REFUSED_SECONDS = 900.0


class Breaker(msgspec.Struct, frozen=True):
    """What happened at the last tries. `closed_until` is on the caller's own clock; `spread` is 0 to 1."""

    failures: int = 0
    closed_until: float = 0.0
    reason: str = ""
    for_good: bool = False

    def may(self, now: float) -> bool:
        return not self.for_good and now >= self.closed_until

    def failed(self, now: float, reason: str, spread: float) -> Breaker:
        """After a failure that may pass: the pause grows, and is spread so that many do not come back at once."""
        pause = PAUSES_SECONDS[min(self.failures, len(PAUSES_SECONDS) - 1)]
        return Breaker(self.failures + 1, now + pause * (0.8 + 0.4 * spread), reason)

    def refused(self, now: float, reason: str) -> Breaker:
        return Breaker(self.failures + 1, now + REFUSED_SECONDS, reason)

    def never_again(self, reason: str) -> Breaker:
        """Until a person has looked: a login node that is not the one that was confirmed."""
        return Breaker(self.failures + 1, 0.0, reason, for_good=True)
