"""A child's half of the launcher: notice that the parent is gone, even after `kill -9`.

Every process of ours inherits one end of a stream whose other end only the launcher holds. End-of-file on it means
"the house is closing": the process and whatever it started in its own group are asked to stop, and made to stop when
they do not. Unlike a parent-death signal this survives `exec`, works on macOS, and can be handed further down (a job's
runner outlives the worker that started it, but not the house).
"""

from __future__ import annotations

import os
import signal
import threading
import time

PARENT_PIPE = "COLLEGIUM_PARENT_PIPE"
GRACE_SECONDS = 10.0
GONE_WITH_PARENT = 75

_inherited: int | None = None


def die_with_parent(grace_seconds: float = GRACE_SECONDS) -> None:
    """Call this first in a process's main, before threads: it does nothing when no launcher started us."""
    global _inherited  # noqa: PLW0603  (one process has one parent)
    announced = os.environ.pop(PARENT_PIPE, None)
    if announced is None:
        return
    _inherited = int(announced)
    # Whoever we start must be handed the stream on purpose, never by accident.
    os.set_inheritable(_inherited, False)
    threading.Thread(target=_watch, args=(_inherited, grace_seconds), name="parent", daemon=True).start()


def inherited_pipe() -> int | None:
    """The descriptor to hand on (`pass_fds` and `PARENT_PIPE`) to a child that must end with the house."""
    return _inherited


def _watch(descriptor: int, grace_seconds: float) -> None:
    try:
        while os.read(descriptor, 64):
            pass
    except OSError:
        pass  # A descriptor we cannot read tells us as much about the parent as end-of-file does.
    _signal_own(signal.SIGTERM)
    time.sleep(grace_seconds)
    _signal_own(signal.SIGKILL)
    os._exit(GONE_WITH_PARENT)


def _signal_own(number: signal.Signals) -> None:
    """Our whole group when we lead one (the launcher gives each child its own), else only ourselves."""
    if os.getpgrp() == os.getpid():
        os.killpg(os.getpid(), number)
    else:
        os.kill(os.getpid(), number)
