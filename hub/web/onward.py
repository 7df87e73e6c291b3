"""Where a browser may be sent on to: paths of this hub, and nowhere else."""

from __future__ import annotations

LONGEST = 2000


def local(path: str) -> str:
    """The path itself when it can only mean a page of this hub; otherwise home.

    Browsers read `//` and `/\\` as the beginning of another host, and drop tabs and line ends before they look.
    """
    if not path.startswith("/") or path.startswith("//") or "\\" in path:
        return "/"
    return path if path.isprintable() and len(path) <= LONGEST else "/"
