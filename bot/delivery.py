"""One delivery of a chat platform, which the hub lets through once.

Whoever saw a signed request can send the same bytes again. So the first thing the hub is asked because of a delivery
names it, and the hub records that name with what it does; asked by the same bot again, after a silence, it goes on.
"""

HEADER = "Collegium-Delivery"
REPEATED = "delivery_repeated"


class Repeated(Exception):
    """The hub knows this delivery already: nothing is done, and nothing is said."""


class Delivery:
    """What a delivery is called, and what the hub is known to have noted of it."""

    def __init__(self, platform: str, key: str) -> None:
        self.platform, self.key = platform, key
        self.is_recorded = False
        self.is_repeated = False
        self.is_unsure = False  # it was named to the hub, and no answer came

    @property
    def name(self) -> str:
        """As it is named in a request; nothing when the hub knows it."""
        if self.is_recorded:
            return ""
        return f"{self.platform}:{self.key}{' again' if self.is_unsure else ''}"
