"""What is meant when somebody names any thing at all: a session, a job, an entry, a file, or an id of whatever kind.

`ana/hcl` is a session, `ana/hcl#12` a job, `ana/hcl#n3` an entry, `ana/hcl:data/x.csv` a file; `KIND:NAME` says which
kind is meant where that is not plain.
"""

from __future__ import annotations

from hub.core.access import RESOLVERS
from hub.core.errors import InvalidInput
from hub.core.ids import looks_like_id

_KINDS = {
    "ses": "session", "job": "job", "entry": "entry", "art": "artifact", "lnk": "link", "exp": "export",
    "wf": "workflow", "dag": "experiment", "msg": "message",
}  # fmt: skip


def meant(ref: str, noun: str = "") -> tuple[str, str]:
    """(kind, name) of what `ref` names; `noun` decides between a job and an entry. Raises InvalidInput."""
    if looks_like_id(ref):
        kind = _KINDS.get(ref.partition("_")[0])
        if kind is None:
            raise InvalidInput("nobody is given rights to this kind of thing", path="object")
        return kind, ref
    before, colon, after = ref.partition(":")
    if colon and before in RESOLVERS:
        return before, after
    if colon:
        return "artifact", ref
    if "#" in ref:
        number = ref.rpartition("#")[2]
        return ("entry" if number[:1] in ("n", "N") or noun == "entry" else "job"), ref
    return "session", ref


def reading(kind: str) -> str:
    """The permission by which one may know of a thing of this kind."""
    return f"{kind}:read" if kind in ("session", "job", "entry", "artifact", "link") else "session:read"
