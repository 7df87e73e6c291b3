"""How fast a platform lets one write: so many edits a minute, a breath a channel for posts. Time is passed in."""

from collections import deque


class Allowance:
    """At most `count` in any `seconds`, at whatever moments; after a refusal nothing before the moment that was named.

    A bucket that fills steadily would hold back, half of every minute, what the platform would have let pass.
    """

    def __init__(self, count: int, seconds: float) -> None:
        self.count, self.seconds = count, seconds
        self._taken: deque[float] = deque()
        self._closed_until = 0.0
        self._begun = False

    def take(self, now: float, *, keep: int = 0) -> bool:
        """Take one unless that would leave less than `keep`."""
        if self.ready_in(now, keep=keep) > 0:
            return False
        self._taken.append(now)
        return True

    def ready_in(self, now: float, *, keep: int = 0) -> float:
        """Seconds until `take` would succeed."""
        if not self._begun:
            self._begun = True
            self._suppose(now, self.count // 2)  # what a process before this one took nobody knows
        then = max(now, self._closed_until)
        while self._taken and self._taken[0] <= now - self.seconds:
            self._taken.popleft()
        over = len(self._taken) - (self.count - keep - 1)  # so many must be forgotten first
        free_at = self._taken[min(over, len(self._taken)) - 1] + self.seconds if over > 0 else then
        return max(then, free_at) - now

    def close(self, now: float, seconds: float) -> None:
        """The platform refused and named a wait: by its count nothing is left, whatever ours says."""
        self._begun = True
        self._closed_until = max(self._closed_until, now + seconds)
        self._suppose(self._closed_until, self.count)

    def _suppose(self, now: float, count: int) -> None:
        """As if so many had been taken, evenly, until `now`."""
        self._taken = deque(now - self.seconds + (n + 1) * self.seconds / count for n in range(count))


class Breath:
    """At least `seconds` between two posts in one channel."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._next: dict[str, float] = {}

    def take(self, channel: str, now: float) -> bool:
        if self.ready_in(channel, now) > 0:
            return False
        if len(self._next) > 10_000:
            self._next = {one: at for one, at in self._next.items() if at > now}
        self._next[channel] = now + self.seconds
        return True

    def ready_in(self, channel: str, now: float) -> float:
        return max(0.0, self._next.get(channel, 0.0) - now)

    def close(self, channel: str, now: float, seconds: float) -> None:
        self._next[channel] = max(self._next.get(channel, 0.0), now + seconds)
