"""How fast a platform lets one write: a bucket of tokens for edits, a breath a channel for posts. Time is passed in."""


class Bucket:
    """`capacity` at once, then `per_second`; after a refusal nothing before the moment the platform named."""

    def __init__(self, capacity: float, per_second: float) -> None:
        self.capacity, self.per_second = capacity, per_second
        self._level, self._at = capacity, 0.0
        self._closed_until = 0.0

    def level(self, now: float) -> float:
        """Whole and broken tokens there are; none while the platform wants to be left alone."""
        if now < self._closed_until:
            return 0.0
        return min(self.capacity, self._level + max(0.0, now - self._at) * self.per_second)

    def take(self, now: float, *, keep: float = 0.0) -> bool:
        """Take one token unless that would leave less than `keep`."""
        level = self.level(now)
        if level < 1.0 + keep:
            return False
        self._level, self._at = level - 1.0, now
        return True

    def ready_in(self, now: float, *, keep: float = 0.0) -> float:
        """Seconds until `take` would succeed."""
        closed = max(0.0, self._closed_until - now)
        missing = 1.0 + keep - self.level(now + closed)
        return closed + max(0.0, missing / self.per_second)

    def close(self, now: float, seconds: float) -> None:
        """The platform refused and named a wait: by its count nothing is left, whatever ours says."""
        self._level, self._at = 0.0, now + seconds
        self._closed_until = max(self._closed_until, now + seconds)


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
