"""`data` in experiments: `import_hdf5` makes tables and arrays of an HDF5 file's datasets, each a version of its own.

The file is a stranger's: it is read by a program in the jail of the previews (`hub/artifacts/render/hdf5.py`),
and what that answers is checked like any stranger's input.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import PurePosixPath
from typing import Annotated, Any

import msgspec
import sqlalchemy as sa
from msgspec import Meta

from hub.artifacts import jail, leases, rules, versions
from hub.artifacts.blobs import BlobStore
from hub.artifacts.tables import pins
from hub.artifacts.tables import versions as version_table
from hub.core import limits
from hub.core.context import Context, Scope
from hub.core.decoding import UNREADABLE
from hub.core.errors import InvalidInput, TooLarge, Unavailable
from hub.core.house import House
from hub.orchestrator.tools import Node, Progress, Run
from hub.orchestrator.wishes import the_file, wish
from hub.perform import record

ENDINGS = (".h5", ".hdf5", ".he5", ".nxs", ".hdf")
_MAIN = "from hub.artifacts.render.hdf5 import main; raise SystemExit(main(sys.argv[1]))"
_PACKAGES = ("h5py", "numpy")
NOT_INSTALLED = "h5py is not installed on this hub; `pip install 'collegium[experiments]'` brings it"
NO_JAIL = "no jail can be had on this machine to read strangers' HDF5 files in; install bubblewrap"


class ImportHdf5(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which file (else the one the step before made), which of its datasets (else all), and the folder they go to."""

    file: Annotated[str, Meta(min_length=1, max_length=limits.PATH_BYTES)] | None = None
    datasets: Annotated[
        tuple[Annotated[str, Meta(min_length=1, max_length=500)], ...], Meta(max_length=limits.IMPORT_FILES)
    ] = ()
    to: Annotated[str, Meta(min_length=1, max_length=400)] | None = None


KINDS = {"import_hdf5": ImportHdf5}


class File(msgspec.Struct, frozen=True):
    """One file that the jailed program made."""

    name: Annotated[str, Meta(pattern=r"^[^/].*\.(csv|npy)$", max_length=420)]
    bytes: Annotated[int, Meta(ge=0)]
    datasets: list[str]
    columns: list[str] = []


class Head(msgspec.Struct, frozen=True):
    """What the jailed program says of its answer."""

    layers: list[str]
    files: list[File] = []
    datasets: list[dict[str, Any]] = []
    left_out: list[dict[str, str]] = []
    refused: str = ""


class DataTool:
    """The tool; it holds nothing."""

    def lacks(self, node: Node, scope: Scope) -> list[str]:
        """Its library, or a jail to use it in."""
        asked = wish(node, KINDS)
        if asked.to is not None:
            rules.normal_path(asked.to, f"{node.path}.to")
        if any(find_spec(package) is None for package in _PACKAGES):
            return [NOT_INSTALLED]
        return [NO_JAIL] if jail.which_jail() == "limits" else []

    def begin(self, node: Node, run: Run, house: House) -> Progress:
        """Read the file, keep what came out, record it: all at once, and once only."""
        asked = wish(node, KINDS)
        with house.scope(run.actor) as scope:
            session = scope.access.session(run.session, "artifact:read")
            source = the_file(scope, run, asked.file, ENDINGS)
        head, files = read(house, session, source, asked.datasets)
        folder = asked.to or str(PurePosixPath(source.path).with_suffix(""))
        summary = {
            "file": source.path,
            "digest": f"sha256:{source.digest}",
            "files": [
                {"path": f"{folder}/{file.name}", "datasets": file.datasets, "columns": file.columns}
                for file, _ in files
            ],
            "datasets": head.datasets,
            "left_out": head.left_out,
        }
        kept = {
            rules.normal_path(f"{folder}/{name}"): leases.keep(
                house, session, [data], owner=run.actor.id, filename=name
            ).digest
            for name, data in [
                *((file.name, data) for file, data in files),
                ("summary.json", msgspec.json.format(msgspec.json.encode(summary), indent=2) + b"\n"),
            ]
        }
        made = record(house, "artifact_versioning", lambda ctx: _record(ctx, run, source, kept), run.actor)
        left = f"; {len(head.left_out)} left out, as summary.json says" if head.left_out else ""
        words = f"{len(head.datasets)} datasets of {source.path} became {len(files)} files{left}"
        return Progress(state="SUCCEEDED", words=words, made=tuple(made))

    def look(self, node: Node, progress: Progress, house: House) -> Progress:
        """It has ended when it was begun."""
        return progress


def read(
    house: House, session: str, source: versions.Pinned, datasets: tuple[str, ...]
) -> tuple[Head, list[tuple[File, bytes]]]:
    """What the jailed program made of a file. Raises InvalidInput with its refusal, TooLarge, Unavailable."""
    if source.size > limits.IMPORT_SOURCE_BYTES:
        raise TooLarge(
            f"{source.path} has {source.size} bytes; {limits.IMPORT_SOURCE_BYTES} can be imported",
            code="file_too_large",
            hint="run a job that takes out what is needed",
        )
    which = jail.which_jail()
    if which == "limits":
        raise Unavailable(NO_JAIL, code="no_jail")
    assert source.digest is not None
    content = b"".join(house.port(BlobStore).open(source.digest, session))  # type: ignore[type-abstract]
    order = {
        "datasets": datasets,
        "memory_bytes": limits.IMPORT_MEMORY_BYTES,
        "cpu_seconds": limits.IMPORT_CPU_SECONDS,
        "most_bytes": limits.IMPORT_OUTPUT_BYTES,
        "most_files": limits.IMPORT_FILES,
        "lock": True,
        "needs": ["landlock", "seccomp"] if which == "landlock" else [],
    }
    try:
        answer = jail.run(
            which,
            _MAIN,
            msgspec.json.encode(order).decode(),
            content,
            packages=_PACKAGES,
            seconds=limits.IMPORT_SECONDS,
            answer_bytes=limits.IMPORT_OUTPUT_BYTES + (1 << 20),
        )
    except jail.Stopped as stopped:
        said = str(stopped).replace("the renderer", "the reader")
        raise InvalidInput(f"{source.path} could not be imported: {said}", code="not_imported") from None
    line, _, data = answer.partition(b"\n")
    try:
        head = msgspec.json.decode(line, type=Head)
    except UNREADABLE:
        raise InvalidInput(
            f"{source.path} could not be imported: the answer cannot be read", code="not_imported"
        ) from None
    if head.refused:
        raise InvalidInput(f"{source.path} is not imported: {head.refused[:1000]}", code="not_imported")
    files, at = [], 0
    for file in head.files:
        files.append((file, data[at : at + file.bytes]))
        at += file.bytes
    if at != len(data) or len({file.name for file, _ in files}) != len(files) or len(files) > limits.IMPORT_FILES:
        raise InvalidInput(f"{source.path} could not be imported: the answer does not add up", code="not_imported")
    return head, files


def _record(ctx: Context, run: Run, source: versions.Pinned, kept: dict[str, str]) -> list[str]:
    """The versions of this node; begun a second time, it finds those it made."""
    session = ctx.access.session(run.session, "artifact:write")
    summary = list(kept.values())[-1]
    mark = {"session": session, "digest": summary, "reason_kind": "experiment_node", "reason_id": run.key}
    if not ctx.tx.insert_new(pins, **mark, at=ctx.now):
        rows = ctx.execute(
            sa.select(sa.func.max(version_table.c.id))
            .where(
                version_table.c.session == session,
                sa.tuple_(version_table.c.path, version_table.c.digest).in_(list(kept.items())),
            )
            .group_by(version_table.c.path)
        ).scalars()
        return sorted(rows)
    metadata = {"tool": "data", "action": "import_hdf5", "experiment": run.experiment, "file": source.path}
    tools = ["data", "h5py"]
    return [
        versions.add(ctx, session, path, digest, metadata=metadata, lineage=[source.version], tools_used=tools).version
        for path, digest in kept.items()
    ]


TOOL = DataTool()
