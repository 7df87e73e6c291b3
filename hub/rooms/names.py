"""How actions of a room name things: by an id, or by what people call them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Ref = Annotated[str, Meta(min_length=1, max_length=200)]
