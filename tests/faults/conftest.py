"""The shells under which what is run elsewhere is tried here: a cluster's /bin/sh may be any of them."""

from __future__ import annotations

import shutil

import pytest

SHELLS = (["sh"], ["bash"], ["busybox", "sh"])


@pytest.fixture(params=SHELLS, ids=lambda shell: shell[0])
def shell(request: pytest.FixtureRequest) -> list[str]:
    """The command of each shell in turn; where one lacks this skips, which the build machine counts as a failure."""
    command: list[str] = request.param
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    return command
