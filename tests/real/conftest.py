"""Fixtures that several modules of real components share, each module with components of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.kube_box import KubeBox
from tests.real.kube_lab import Lab
from tests.real.slurm_box import SlurmBox
from tests.real.sshd_box import SshdBox
from tests.real.stack import stack  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Kubernetes is built from source, with a Go and modules that a machine may lack; the build machine says so."""
    for item in items:
        if "kube" in getattr(item, "fixturenames", ()):
            item.add_marker("may_skip")


@pytest.fixture(scope="session")
def slurm() -> Iterator[SlurmBox]:
    """One Slurm for all tests of a run: it takes seconds to start, and its users share nothing but the queue."""
    box = SlurmBox()
    yield box
    box.close()


@pytest.fixture
def sshd() -> Iterator[SshdBox]:
    """An sshd alone, for what breaks it."""
    with SshdBox() as box:
        yield box


@pytest.fixture(scope="session")
def kube() -> Iterator[KubeBox]:
    """One Kubernetes for all tests of a run; each works in a namespace of its own."""
    box = KubeBox()
    yield box
    box.close()


@pytest.fixture(scope="module")
def lab(kube: KubeBox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One hub's namespace on it, for a module's tests."""
    made = Lab(kube, Path(tmp_path_factory.mktemp("lab")))
    yield made
    made.close()
