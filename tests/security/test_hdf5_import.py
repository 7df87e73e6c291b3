"""HDF5 files of strangers: what is in them becomes tables and arrays, and nothing in them leads to another file."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import msgspec
import numpy as np
import pytest

from hub.artifacts import jail, leases, versions
from hub.core import limits
from hub.core.context import Actor
from hub.core.errors import HubError, InvalidInput, TooLarge
from hub.core.house import House
from hub.orchestrator import data_tool
from hub.orchestrator.data_tool import Head, read
from tests.actions.notebook_fixtures import personal, put_file

pytestmark = pytest.mark.slow

Fill = Callable[[h5py.File], Any]


def written(fill: Fill) -> bytes:
    made = io.BytesIO()
    with h5py.File(made, "w") as file:
        fill(file)
    return made.getvalue()


def taken(house: House, ana: Actor, content: bytes, *datasets: str) -> tuple[Head, dict[str, bytes]]:
    source = put_file(house, ana, "a.h5", content)
    head, files = read(house, personal(house, ana), source, datasets)
    return head, {file.name: data for file, data in files}


def refusal(house: House, ana: Actor, content: bytes, *datasets: str) -> str:
    with pytest.raises(InvalidInput) as refused:
        taken(house, ana, content, *datasets)
    return refused.value.message


def rows(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode())))


def various(file: h5py.File) -> None:
    file["t"] = np.array([0.1, 1 / 3, 1e-300])
    file["x"] = np.arange(6, dtype="i2").reshape(3, 2)
    file["x"].attrs["columns"] = ["left", "right"]
    file["x"].attrs["unit"] = "mm"
    file.create_dataset("deep/er/cube", data=np.arange(24.0).reshape(2, 3, 4), compression="gzip", shuffle=True)
    file["deep/spectrum"] = np.array([(1, 2.5, b"a,b"), (2, 3.5, b'"')], [("n", "i4"), ("f", "f8"), ("s", "S3")])
    file["deep/names"] = ["é", "=1+1", "two\nlines"]
    file["deep/answer"] = 42
    file["deep/../odd name"] = np.zeros(4)
    file["nothing"] = h5py.Empty("f8")


def test_datasets_become_tables_and_arrays_without_loss(house: House, ana: Actor) -> None:
    head, files = taken(house, ana, written(various))
    assert "seccomp" in head.layers or jail.which_jail() == "bubblewrap"
    assert rows(files["table_3_rows.csv"] if "table_3_rows.csv" in files else files["table.csv"]) == [
        ["t", "left", "right"],
        ["0.1", "0", "1"],
        [repr(1 / 3), "2", "3"],
        ["1e-300", "4", "5"],
    ]
    assert rows(files["deep/spectrum.csv"]) == [["n", "f", "s"], ["1", "2.5", "a,b"], ["2", "3.5", '"']]
    assert rows(files["deep/names.csv"])[1:] == [["é"], ["=1+1"], ["two\nlines"]]
    cube = np.load(io.BytesIO(files["deep/er/cube.npy"]), allow_pickle=False)
    assert (cube == np.arange(24.0).reshape(2, 3, 4)).all()
    described = {each["dataset"]: each for each in head.datasets}
    assert described["/x"]["attributes"] == {"columns": ["left", "right"], "unit": "mm"}
    assert described["/deep/answer"]["value"] == 42
    assert head.left_out == []


def test_only_named_datasets_come_and_one_that_is_not_there_is_named(house: House, ana: Actor) -> None:
    content = written(various)
    head, files = taken(house, ana, content, "deep/er/cube", "/t")
    assert sorted(files) == ["deep/er/cube.npy", "t.csv"]
    assert [each["dataset"] for each in head.datasets] == ["/deep/er/cube", "/t"] or len(head.datasets) == 2
    said = refusal(house, ana, content, "t", "not/there")
    assert "no dataset /not/there" in said
    assert "/t" in said


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    path = tmp_path / "secret.h5"
    with h5py.File(path, "w") as file:
        file["password"] = np.frombuffer(b"open sesame", dtype="u1")
    return path


def test_external_links_are_refused_by_name_and_the_rest_can_be_had(house: House, ana: Actor, outside: Path) -> None:
    def fill(file: h5py.File) -> None:
        file["own"] = np.arange(3.0)
        file["group/taken"] = h5py.ExternalLink(str(outside), "/password")

    content = written(fill)
    said = refusal(house, ana, content)
    assert "/group/taken is a link to another file" in said
    assert "secret.h5" in said
    assert "another file" in refusal(house, ana, content, "group/taken")
    _, files = taken(house, ana, content, "own")
    assert list(files) == ["own.csv"]


def test_bytes_in_other_files_are_refused(house: House, ana: Actor, outside: Path) -> None:
    def external(file: h5py.File) -> None:
        file.create_dataset("raw", shape=(8,), dtype="u1", external=[(str(outside), 0, 8)])

    def virtual(file: h5py.File) -> None:
        layout = h5py.VirtualLayout(shape=(11,), dtype="u1")
        layout[:] = h5py.VirtualSource(str(outside), "password", shape=(11,))
        file.create_virtual_dataset("v", layout)

    assert "/raw keeps its bytes in another file" in refusal(house, ana, written(external))
    assert "/v is put together from other files" in refusal(house, ana, written(virtual))


def circle(file: h5py.File) -> None:
    file["a/x"] = np.arange(2.0)
    file["a/again"] = file["a"]
    file["a/soft"] = h5py.SoftLink("/a/x")
    file["a/dangling"] = h5py.SoftLink("/nowhere")


def test_groups_that_hold_themselves_end_and_soft_links_are_told(house: House, ana: Actor) -> None:
    head, files = taken(house, ana, written(circle))
    assert list(files) == ["a/x.csv"]
    assert [each["dataset"] for each in head.left_out] == ["/a/dangling", "/a/soft"]


def huge(file: h5py.File) -> None:
    file.create_dataset("zeros", shape=(1 << 40,), dtype="f8", chunks=(1 << 16,), compression="gzip")


def references(file: h5py.File) -> None:
    file["x"] = np.arange(2.0)
    file.create_dataset("refs", data=[file["x"].ref], dtype=h5py.ref_dtype)
    file.create_dataset("ragged", shape=(2,), dtype=h5py.vlen_dtype("f8"))


def climbing(file: h5py.File) -> None:
    file["..\\..\\etc/.hidden/-rf/x;$(touch y)"] = np.arange(2.0)
    file["summary"] = np.arange(5.0)


BROKEN = {
    "empty": b"",
    "text": b"no HDF5\n" * 100,
    "only the signature": b"\x89HDF\r\n\x1a\n",
    "cut": written(various)[:1500],
    "garbage after the signature": b"\x89HDF\r\n\x1a\n" + bytes(range(256)) * 40,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN)
def test_what_is_no_hdf5_is_refused_in_words(house: House, ana: Actor, content: bytes) -> None:
    assert "a.h5" in refusal(house, ana, content)


def test_a_flipped_byte_anywhere_is_no_fault_of_the_hub(house: House, ana: Actor) -> None:
    whole = written(various)
    random = np.random.default_rng(5)
    for _ in range(6):
        content = bytearray(whole)
        for at in random.integers(8, len(whole), 12):
            content[at] ^= 0xFF
        try:
            taken(house, ana, bytes(content))
        except HubError as error:
            assert isinstance(error, InvalidInput), error


def test_what_would_not_fit_is_refused_before_it_is_read(
    house: House, ana: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "/zeros alone has" in refusal(house, ana, written(huge))
    monkeypatch.setattr(limits, "IMPORT_OUTPUT_BYTES", 100)
    assert "bytes" in refusal(house, ana, written(various))
    monkeypatch.setattr(limits, "IMPORT_SOURCE_BYTES", 10)
    with pytest.raises(TooLarge):
        taken(house, ana, written(various))


def test_what_holds_no_numbers_is_left_out_and_names_cannot_climb(house: House, ana: Actor) -> None:
    head, files = taken(house, ana, written(references))
    assert list(files) == ["x.csv"]
    assert sorted(each["dataset"] for each in head.left_out) == ["/ragged", "/refs"]
    _, files = taken(house, ana, written(climbing))
    assert sorted(files) == ["_.._etc/hidden/rf/x___touch_y_.csv", "summary_.csv"]


def test_an_answer_that_does_not_add_up_is_not_believed(
    house: House, ana: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = {"name": "x.csv", "bytes": 5, "datasets": []}
    for head, body in [
        ({"layers": [], "files": [file]}, b"four"),
        ({"layers": [], "files": [file, file]}, b"x" * 10),
        ({"layers": [], "files": [{**file, "name": "/etc/x.csv"}]}, b"x" * 5),
        ({"layers": [], "files": [{**file, "name": "x.html"}]}, b"x" * 5),
        ("what", b""),
    ]:
        answer = msgspec.json.encode(head) + b"\n" + body
        monkeypatch.setattr(jail, "run", lambda *_, answer=answer, **__: answer)
        assert "could not be imported" in refusal(house, ana, written(circle))


def test_the_program_in_the_jail_sees_no_file_of_the_hub(house: House, ana: Actor, outside: Path) -> None:
    look = (
        "import os, sys\nfound = []\n"
        f"for path in ({str(outside)!r}, '/etc/passwd', {str(house.settings.data)!r}):\n"
        "    try: open(path).close() if not os.path.isdir(path) else os.listdir(path); found.append(path)\n"
        "    except OSError: pass\n"
        "from hub.artifacts.render import confine, hdf5; hdf5._warm_up(); confine.lock()\n"
        "for path in ('/etc/passwd',):\n"
        "    try: open(path).close(); found.append(path)\n"
        "    except OSError: pass\n"
        "sys.stdout.write(repr(found))"
    )
    which = jail.which_jail()
    answer = jail.run(which, f"exec({look!r})", "", b"", packages=("h5py", "numpy"), seconds=50)
    if which == "bubblewrap":
        assert answer == b"[]"
    else:
        assert answer.count(b"/etc/passwd") == 1


def test_begun_twice_it_makes_its_versions_once(house: House, ana: Actor) -> None:
    from hub.orchestrator.tools import Node, Run

    source = put_file(house, ana, "in/a.h5", written(circle))
    node = Node(place=0, tool="data", action="import_hdf5", given={"file": "in/a.h5"}, path="$")
    run = Run(experiment="dag_1", session=personal(house, ana), actor=ana, key="dag_1:0", previous=())
    first = data_tool.TOOL.begin(node, run, house)
    second = data_tool.TOOL.begin(node, run, house)
    assert (first.state, sorted(first.made)) == ("SUCCEEDED", sorted(second.made))
    with house.scope(ana) as scope:
        made = [versions.find(scope, run.session, each) for each in first.made]
        assert [each.path for each in made if each] == ["in/a/a/x.csv", "in/a/summary.json"]
        assert [each.number for each in made if each] == [1, 1]
    assert source.number == 1
    assert leases is not None
