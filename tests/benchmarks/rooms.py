"""How much a room carries, beside what others would write, under the same load in the same run.

    python -m tests.benchmarks.rooms [--json] [--only NAME ...] [--seconds 4]

The load is `load/members.c`, compiled here: hundreds of members in one process, pinned to a core of its own; what it
cost and how late it was is printed with every row, so that it can be seen that it was not what was measured. A sender
puts the moment at which it was *due* into what it sends. The server has the other core; its processor time is what
ratios are made of. Read the ratios; absolute figures are this machine's.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.load import rows
from tests.benchmarks.load.servers import build

ROWS: dict[str, Callable[[Path, float], dict[str, Any]]] = {
    "cursors": rows.cursors,
    "relay": rows.relay,
    "fanout": rows.fanout,
    "thousand": rows.thousand,
    "idle": rows.idle,
    "chat": rows.chat,
    "busy": rows.busy,
    "pressure": rows.pressure,
    "leaks": rows.leaks,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line of JSON last, and no table")
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seconds", type=float, default=4)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    ratios: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        for name in options.only:
            print(f"--- {name}", file=sys.stderr if options.json else sys.stdout, flush=True)
            ratios |= rows_of(name, Path(folder), options)
    if not options.json:
        for name, value in ratios.items():
            print(f"{name:>36}  {value}")
    print(json.dumps({"ratios": ratios}))


def rows_of(name: str, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One row's figures; what it prints on the way goes where the table goes."""
    found = ROWS[name](folder, options.seconds)
    return {key: round(value, 3) if isinstance(value, float) else value for key, value in found.items()}


if __name__ == "__main__":
    main()
