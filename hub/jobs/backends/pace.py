"""How often a scheduler is asked for the state of an account's jobs: pure, so that a cluster's load is a theorem.

One query tells of all jobs. It is never asked more than six times in any minute, whatever happens, and never while
nothing is alive; what the far side reports by itself (a nudge) asks sooner, within the same six.
"""

from __future__ import annotations

import msgspec

PER_MINUTE = 6
# Questions arrive a moment after they were asked, and not all equally late: where they arrive, too, no minute has more.
MINUTE_SECONDS = 60.0 + 4.0
SOONEST, LATEST = 10.0, 60.0
# For so long after something changed, more is likely to.
LIVELY_SECONDS = 120.0
TIMES_ITS_COST = 5.0


class Pace(msgspec.Struct, frozen=True):
    """When queries were asked, on the caller's own clock, and what they told."""

    asked: tuple[float, ...] = ()
    cost: float = 0.0
    changed_at: float = float("-inf")
    nudged: bool = False
    # Slurm forgets a job so long after its end; twice within that time it is seen.
    forgets_after: float = 300.0

    def may(self, now: float) -> bool:
        """Whether one more would stay within what a minute allows."""
        return len([at for at in self.asked if now - at < MINUTE_SECONDS]) < PER_MINUTE

    def interval(self, now: float) -> float:
        """How long to leave it alone after the last query."""
        quiet = max(0.0, now - self.changed_at - LIVELY_SECONDS)
        base = SOONEST if quiet == 0 else SOONEST + quiet / 4
        wanted = max(base, TIMES_ITS_COST * self.cost)
        return max(SOONEST, min(wanted, LATEST, self.forgets_after / 2))

    def due(self, now: float, live: int) -> bool:
        """Whether to ask now, with so many jobs alive."""
        if live == 0 or not self.may(now):
            return False
        return not self.asked or self.nudged or now - self.asked[-1] >= self.interval(now)

    def wait(self, now: float, live: int) -> float:
        """Seconds until it is due, if nothing happens before."""
        if live == 0:
            return LATEST
        recent = sorted(at for at in self.asked if now - at < MINUTE_SECONDS)
        allowed = 0.0 if len(recent) < PER_MINUTE else recent[-PER_MINUTE] + MINUTE_SECONDS - now
        if not self.asked or self.nudged:
            return max(0.0, allowed)
        return max(0.0, allowed, self.asked[-1] + self.interval(now) - now)

    def was_asked(self, now: float, cost: float, *, changed: bool) -> Pace:
        """After a query, which took `cost` seconds, whatever came of it."""
        asked = (*(at for at in self.asked if now - at < MINUTE_SECONDS), now)
        return msgspec.structs.replace(
            self, asked=asked, cost=cost, nudged=False, changed_at=now if changed else self.changed_at
        )

    def nudge(self, now: float) -> Pace:
        """Something is said to have happened."""
        return msgspec.structs.replace(self, nudged=True, changed_at=now)
