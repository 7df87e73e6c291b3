"""Datasets of an HDF5 file as tables and arrays: one run inside the jail.

The file comes in on standard input and is read from memory, so nothing in it can lead to another file: external links,
datasets whose bytes lie elsewhere and virtual datasets are refused by name. The answer is one line of JSON and then the
bytes of the parts. Whoever started us trusts none of it.

Datasets of one group with the same number of rows become one table; a table of records is one by itself; whatever has
three or more dimensions, or more cells than a table should have, becomes an array (NPY).
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import sys
from typing import Any

from hub.artifacts.render import confine

NOT_LOCKED = 77
DEEPEST, MOST_OBJECTS, MOST_LEFT_OUT = 32, 10_000, 200
TABLE_CELLS, TABLE_COLUMNS = 2_000_000, 200
ATTRIBUTES, ATTRIBUTE_CHARACTERS = 32, 500


class Refused(Exception):
    """The file cannot be imported, for a reason a person can be told."""


def main(order_text: str) -> int:
    """Carries out one order (`datasets`, limits, what to lock); returns the exit code."""
    order = json.loads(order_text)
    confine.limit(order["memory_bytes"], order["cpu_seconds"])
    # Its threads would each reserve memory; nothing here multiplies matrices.
    os.environ.update(OPENBLAS_NUM_THREADS="1", HDF5_PLUGIN_PATH="::")
    _warm_up()
    layers = confine.lock() if order["lock"] else []
    if any(layer not in layers for layer in order["needs"]):
        return NOT_LOCKED
    try:
        parts, answer = imported(sys.stdin.buffer.read(), order["datasets"], order["most_bytes"], order["most_files"])
    except Refused as refusal:
        parts, answer = [], {"refused": str(refusal)}
    except MemoryError:
        parts, answer = [], {"refused": "the file needs too much memory to be imported"}
    sys.stdout.buffer.write(json.dumps({"layers": layers, **answer}).encode() + b"\n" + b"".join(parts))
    sys.stdout.buffer.flush()
    return 0


def _warm_up() -> None:
    """Once locked in, nothing more can be imported: one small file is written and read with all that is used below."""
    import h5py
    import numpy as np

    made = io.BytesIO()
    with h5py.File(made, "w") as file:
        file.create_dataset("x", data=np.arange(3.0), compression="gzip", shuffle=True)
        file.create_dataset("s", data=["é"], dtype=h5py.string_dtype())
        file["x"].attrs["unit"] = "m"
    imported(made.getvalue(), [], 1 << 20, 10)
    np.lib.format.write_array(io.BytesIO(), np.zeros((1, 1, 1)), allow_pickle=False)


def imported(content: bytes, wanted: list[str], most_bytes: int, most_files: int) -> tuple[list[bytes], dict[str, Any]]:
    """The parts' bytes, and what the answer says of them. Raises Refused."""
    import h5py

    try:
        file = h5py.File(io.BytesIO(content), "r")
    except Exception as error:
        raise Refused(f"it cannot be read as HDF5 ({_said(error)})") from None
    with file:
        walk = _Walk({_path(name) for name in wanted})
        walk.group(file, "", 0)
        if missing := sorted(walk.wanted - walk.met):
            there = ", ".join(list(walk.datasets)[:10]) or "none"
            raise Refused(f"it has no dataset {', '.join(missing)[:300]}; datasets in it: {there}")
        if not walk.datasets:
            raise Refused("it holds no dataset")
        return _written(walk, most_bytes, most_files)


class _Walk:
    """Every dataset that is wanted, by its path; what is passed over, and why."""

    def __init__(self, wanted: set[str]) -> None:
        self.wanted, self.met = wanted, set[str]()
        self.datasets: dict[str, Any] = {}
        self.left_out: list[dict[str, str]] = []
        self._groups: set[Any] = set()
        self._objects = 0

    def group(self, group: Any, path: str, depth: int) -> None:
        import h5py

        if depth > DEEPEST:
            raise Refused(f"its groups lie more than {DEEPEST} deep, at {path[:200]}")
        seen = (h5py.h5o.get_info(group.id).fileno, h5py.h5o.get_info(group.id).addr)
        if seen in self._groups:  # a group that holds itself
            return
        self._groups.add(seen)
        for name in group:
            self._objects += 1
            if self._objects > MOST_OBJECTS:
                raise Refused(f"it holds more than {MOST_OBJECTS} objects")
            self._link(group, name, f"{path}/{name}", depth)

    def _link(self, group: Any, name: str, path: str, depth: int) -> None:
        import h5py

        link = group.get(name, getlink=True)
        if isinstance(link, h5py.ExternalLink):
            self._outside(path, f"is a link to another file ({link.filename[:200]})")
        elif isinstance(link, h5py.SoftLink):
            self.pass_over(path, f"a link to {link.path[:200]} in the same file; name that instead")
        else:
            try:
                found = group[name]
            except (KeyError, OSError, RuntimeError) as error:
                self.pass_over(path, f"cannot be read ({_said(error)})")
                return
            if isinstance(found, h5py.Group):
                self.group(found, path, depth + 1)
            elif isinstance(found, h5py.Dataset) and self._is_meant(path):
                self._dataset(found, path)

    def _dataset(self, found: Any, path: str) -> None:
        if found.external:
            self._outside(path, "keeps its bytes in another file")
        elif found.is_virtual:
            self._outside(path, "is put together from other files")
        else:
            self.datasets[path] = found

    def _is_meant(self, path: str) -> bool:
        if self.wanted and path not in self.wanted:
            return False
        self.met.add(path)
        return True

    def _outside(self, path: str, why: str) -> None:
        if self._is_meant(path):
            raise Refused(f"{path} {why}, and the hub follows none; name the other `datasets` to import those alone")

    def pass_over(self, path: str, why: str) -> None:
        if self._is_meant(path):
            if self.wanted:
                raise Refused(f"{path}: {why}")
            if len(self.left_out) < MOST_LEFT_OUT:
                self.left_out.append({"dataset": path, "why": why})


def _written(walk: _Walk, most_bytes: int, most_files: int) -> tuple[list[bytes], dict[str, Any]]:
    parts: list[bytes] = []
    files: list[dict[str, Any]] = []
    described: dict[str, dict[str, Any]] = {}
    left = most_bytes
    names = _tables(walk.datasets)
    waiting = list(names.items())
    for name, members in waiting:
        for each in members:
            described[each] = _described(walk.datasets[each])
        try:
            kind, data, columns = _part({path: walk.datasets[path] for path in members}, left)
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            if len(members) == 1:
                walk.pass_over(members[0], f"cannot be read ({_said(error)})")
                continue
            for each in members:  # one of them may be at fault, and the others are had without it
                alone = _free(names, each)
                names[alone] = [each]
                waiting.append((alone, [each]))
            continue
        if kind == "none":
            continue
        if len(files) >= most_files:
            raise Refused(f"it would become more than {most_files} files; name the `datasets` that are wanted")
        left -= len(data)
        if left < 0:
            raise Refused(f"it would become more than {most_bytes} bytes; name the `datasets` that are wanted")
        parts.append(data)
        files.append({"name": f"{name}.{kind}", "bytes": len(data), "datasets": members, "columns": columns})
    return parts, {
        "files": files,
        "datasets": [{"dataset": path, **facts} for path, facts in described.items()],
        "left_out": walk.left_out,
    }


def _tables(datasets: dict[str, Any]) -> dict[str, list[str]]:
    """Which datasets go into one file, by the file's name without its ending."""
    together: dict[tuple[str, int], list[str]] = {}
    alone: list[str] = []
    for path, dataset in datasets.items():
        plain = dataset.dtype.names is None and not _is_odd(dataset.dtype)
        columns = dataset.shape[1] if dataset.shape is not None and len(dataset.shape) == 2 else 1
        if plain and dataset.shape and len(dataset.shape) <= 2 and columns <= TABLE_COLUMNS:
            together.setdefault((path.rpartition("/")[0], dataset.shape[0]), []).append(path)
        else:
            alone.append(path)
    found: dict[str, list[str]] = {}
    many = [group for group, _ in together]
    for (group, rows), members in together.items():
        if len(members) == 1:
            alone += members
            continue
        base = group or "/table"
        found[_free(found, base if many.count(group) == 1 else f"{base}_{rows}_rows")] = members
    for path in alone:
        found[_free(found, path)] = [path]
    return found


def _is_odd(kind: Any) -> bool:
    """References, rows of differing length: what is neither a number nor text."""
    import h5py

    return kind.subdtype is not None or (kind.hasobject and h5py.check_string_dtype(kind) is None)


def _free(taken: dict[str, list[str]], path: str) -> str:
    """A name for files made of a path inside the file, not taken yet."""
    words = [re.sub(r"[^\w.-]", "_", word).lstrip(".-")[:80] or "_" for word in path.strip("/").split("/")]
    name = "/".join(words)[:400]
    while name in taken or (name == "summary"):
        name += "_"
    return name


def _part(members: dict[str, Any], most_bytes: int) -> tuple[str, bytes, list[str]]:
    """What the members become (`csv`, `npy` or `none`), its bytes, and the names of its columns."""
    import numpy as np

    cells = 0
    for path, dataset in members.items():
        if dataset.shape is None or dataset.shape == ():
            return "none", b"", []  # its value stands in the summary
        if dataset.size * dataset.dtype.itemsize > most_bytes:
            raise Refused(f"{path} alone has {dataset.size * dataset.dtype.itemsize} bytes, {most_bytes} may come out")
        cells += dataset.size * (len(dataset.dtype.names or ()) or 1)
    first = next(iter(members.values()))
    flat = all(len(each.shape) <= 2 for each in members.values())
    width = first.shape[1] if len(first.shape) == 2 else 1
    if not flat or cells > TABLE_CELLS or width > TABLE_COLUMNS or 0 in first.shape:
        if len(members) > 1:
            raise ValueError("it has too many cells for a table; name it alone and it becomes an array")
        values = first[()]
        if values.dtype.hasobject:
            raise TypeError("its cells are not numbers")
        out = io.BytesIO()
        np.lib.format.write_array(out, values, allow_pickle=False)
        return "npy", out.getvalue(), []
    columns: list[tuple[str, list[Any]]] = []
    for path, dataset in members.items():
        columns += _columns(path.rpartition("/")[2], dataset)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    names = [name for name, _ in columns]
    writer.writerow(names)
    writer.writerows(zip(*(values for _, values in columns), strict=True))
    return "csv", text.getvalue().encode("utf-8", "replace"), names


def _columns(name: str, dataset: Any) -> list[tuple[str, list[Any]]]:
    import h5py

    if h5py.check_string_dtype(dataset.dtype) is not None:
        values = dataset.asstr(errors="replace")[()]
    else:
        values = dataset[()]
        if values.dtype.hasobject:
            raise TypeError("its cells are neither numbers nor text")
    if values.dtype.names is not None:
        if values.ndim > 1 or any(values.dtype[field].shape for field in values.dtype.names):
            raise TypeError("its records hold arrays")
        return [(field, _cells(values[field])) for field in values.dtype.names]
    if values.ndim == 1:
        return [(name, _cells(values))]
    named = _attribute(dataset.attrs.get("columns")) if "columns" in dataset.attrs else None
    if not isinstance(named, list) or len(named) != values.shape[1]:
        named = [f"{name}_{at}" for at in range(values.shape[1])]
    return [(str(named[at]), _cells(values[:, at])) for at in range(values.shape[1])]


def _cells(values: Any) -> list[Any]:
    """Numbers as Python writes them back without loss; bytes as text."""
    return [each.decode("utf-8", "replace") if isinstance(each, bytes) else each for each in values.tolist()]


def _described(dataset: Any) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "shape": None if dataset.shape is None else list(dataset.shape),
        "type": str(dataset.dtype)[:200],
    }
    if dataset.shape == ():
        facts["value"] = _attribute(dataset[()])
    attributes = {}
    for name in list(dataset.attrs)[:ATTRIBUTES]:
        try:
            attributes[name[:100]] = _attribute(dataset.attrs[name])
        except (OSError, TypeError, RuntimeError, ValueError):
            attributes[name[:100]] = "(cannot be read)"
    return {**facts, "attributes": attributes}


def _attribute(value: Any) -> Any:
    """A value as JSON can hold it, cut where it is long."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, list | tuple) and len(value) <= TABLE_COLUMNS:
        return [_attribute(each) for each in value]
    return str(value)[:ATTRIBUTE_CHARACTERS]


def _path(name: str) -> str:
    return "/" + "/".join(word for word in name.split("/") if word)


def _said(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
