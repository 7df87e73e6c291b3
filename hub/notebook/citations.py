"""What an entry cites: artifacts of its session, pinned so that no clean-up takes them away."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hub.artifacts import versions
from hub.core.context import Context
from hub.notebook.rules import Attachment


class Cited(msgspec.Struct, frozen=True):
    """An artifact as an entry keeps it: what is signed of it, and the version it is."""

    attachment: Attachment
    version_id: str


def cite(ctx: Context, session: str, names: Sequence[str]) -> tuple[Cited, ...]:
    """The versions these names mean now, in the order given, each once. Raises InvalidInput listing unknown names."""
    found = {each.version: each for each in versions.resolve(ctx, session, names, "$.params.entry.artifacts")}
    return tuple(Cited(Attachment(each.path, each.digest), each.version) for each in found.values())


def pin(ctx: Context, session: str, entry: str, cited: Sequence[Cited]) -> None:
    """Keep the content of what is cited for as long as the entry stands."""
    for each in cited:
        if each.attachment.digest is not None:
            versions.pin(ctx, session, each.attachment.digest, "entry", entry)
