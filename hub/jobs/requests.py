"""What a submission may ask for: resources and environment, decoded and stored whole, whoever may honour them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from hub.jobs.amounts import memory_bytes, time_seconds

Word = Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
Count = Annotated[int, msgspec.Meta(ge=1, le=100_000)]


class Amounts(msgspec.Struct, frozen=True):
    """Memory and time as numbers; None when nothing was asked for."""

    memory_bytes: int | None
    wall_seconds: int | None


class Resources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the job needs. `memory` is per node; it and `time` are written as for Slurm."""

    nodes: Count = 1
    tasks_per_node: Count = 1
    cpus_per_node: Count = 1
    memory: Word | Annotated[int, msgspec.Meta(ge=1, le=2**40)] | None = None
    time: Word | Annotated[int, msgspec.Meta(ge=1, le=366 * 1440)] | None = None
    gpus: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    gpu_type: Word | None = None
    partition: Word | None = None
    account: Word | None = None
    qos: Word | None = None
    constraint: Word | None = None
    array: Word | None = None
    licenses: Word | None = None

    def amounts(self) -> Amounts:
        """Raises ValueError, which `faults` turns into fields and words."""
        return Amounts(
            None if self.memory is None else memory_bytes(self.memory),
            None if self.time is None else time_seconds(self.time),
        )

    def faults(self) -> list[tuple[str, str]]:
        """(field, what is wrong with it) of amounts that cannot be read."""
        found = []
        for field, value, parse in (("memory", self.memory, memory_bytes), ("time", self.time, time_seconds)):
            try:
                if value is not None:
                    parse(value)
            except ValueError as error:
                found.append((f"resources.{field}", str(error)))
        return found


class Environment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the job's program finds around it; nothing is set up that was not asked for."""

    modules: Annotated[tuple[Word, ...], msgspec.Meta(max_length=50)] = ()
    conda: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)] | None = None
    venv: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)] | None = None
    container: Annotated[str, msgspec.Meta(min_length=1, max_length=1024)] | None = None
    setup: Annotated[tuple[Annotated[str, msgspec.Meta(max_length=4096)], ...], msgspec.Meta(max_length=100)] = ()
    network: bool = False
