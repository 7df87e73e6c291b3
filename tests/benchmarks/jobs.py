"""What jobs on a cluster cost, a hub and its cluster, beside what the bare commands would cost in the same run.

    python -m tests.benchmarks.jobs [--json] [--only NAME ...] [--scale 1] [--seed N] [--runs 100] [--real-runs 30]

Root is needed: somebody is made who can be logged in as, behind an sshd and a Slurm of the benchmark's own. Each line
of progress says how busy the machine was. Read the ratios; absolute figures are this machine's.
"""

import argparse
import contextlib
import json
import os
import random
import sys
from collections.abc import Callable
from typing import Any

from tests.benchmarks.clusters import faults, memory, questions, seen, submissions, world
from tests.real.slurm_box import missing

Row = Callable[[argparse.Namespace], dict[str, Any]]

ROWS: dict[str, Row] = {
    "submissions": lambda said: submissions.submissions(said.scale),
    "latency": lambda said: submissions.latency(said.scale),
    "questions": lambda said: questions.questions(said.scale),
    "seen": lambda said: seen.seen(said.scale),
    "faults": lambda said: faults.faults(said.runs, said.real_runs, said.seed),
    "memory": lambda said: memory.memory(said.scale),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one line of JSON last, and no table")
    parser.add_argument("--only", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--scale", type=float, default=1.0, help="less than 1 is quicker and says less")
    parser.add_argument("--seed", default=str(random.SystemRandom().randrange(10**9)), help="repeats the faults")
    parser.add_argument("--runs", type=int, default=100, help="of faults, on the fake Slurm")
    parser.add_argument("--real-runs", type=int, default=30, help="of faults, on the real one")
    options = parser.parse_args()
    if os.geteuid() != 0 or missing():
        raise SystemExit(f"this needs root, Slurm and sshd; not installed here: {', '.join(missing()) or 'nothing'}")
    ratios: dict[str, Any] = {}
    try:
        for name in options.only:
            with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):
                print(f"--- {name}", flush=True)
                ratios |= ROWS[name](options)
    finally:
        world.close_slurm()
    ratios = {key: round(value, 3) if isinstance(value, float) else value for key, value in ratios.items()}
    if not options.json:
        for name, value in ratios.items():
            print(f"{name:>48}  {value}")
    print(json.dumps({"ratios": ratios}))


if __name__ == "__main__":
    main()
