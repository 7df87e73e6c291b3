"""The preview jail: what runs inside reaches no file and no network, and what it answers is not believed."""

from __future__ import annotations

import io
import shutil
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from PIL import Image

from hub.artifacts import jail, previews, views
from hub.artifacts.render import confine
from hub.artifacts.tables import previews as table
from hub.core import limits
from hub.core.clock import FrozenClock
from hub.core.context import Actor
from hub.core.errors import Unavailable
from hub.core.house import House
from hub.work.entry import carry_out
from tests.actions.artifact_fixtures import upload
from tests.conftest import Perform

pytestmark = pytest.mark.slow

# Runs after the program has locked itself in, exactly where a stranger's file would be read.
INSIDE = """
import json, os, socket, subprocess, sys
from hub.artifacts.render import confine, pictures
orders = json.loads(sys.argv[1])
layers = confine.lock()
def tried(what):
    try:
        return what()
    except BaseException as error:
        return type(error).__name__
def connect():
    with socket.create_connection(("127.0.0.1", orders["port"]), timeout=2):
        return "reached"
def write():
    with open("/tmp/escaped", "w") as file:
        file.write("x")
    return "reached"
def read():
    with open(orders["secret"]) as file:
        return "reached" + file.read()
def start():
    subprocess.run(["/bin/true"])
    return "reached"
def kill():
    os.kill(orders["pid"], 0)
    return "reached"
def fork():
    if os.fork() == 0:
        os._exit(0)
    return "reached"
outcomes = {name: tried(what) for name, what in dict(
    read=read, write=write, connect=connect, start=start, fork=fork, kill=kill,
    listing=lambda: "reached" if orders["folder"] and os.listdir(orders["folder"]) else "empty",
    environment=lambda: "reached" if "HUB_SECRET" in os.environ else "empty",
).items()}
sys.stdout.write(json.dumps([layers, outcomes]))
sys.stdout.flush()
os._exit(0)
"""


@pytest.fixture(autouse=True)
def known() -> None:
    """The jail of this machine is found before a test puts anything in its place."""
    jail.which_jail()


@pytest.fixture
def listening() -> Iterator[int]:
    """A port of this machine that something inside would love to reach."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def from_inside(name: jail.Jail, tmp_path: Path, port: int) -> tuple[list[str], dict[str, str]]:
    import os

    secret = tmp_path / "secret"
    secret.write_text("the key")
    orders = {"secret": str(secret), "folder": str(tmp_path), "port": port, "pid": os.getpid()}
    answer = jail.run(name, INSIDE, msgspec.json.encode(orders).decode(), b"")
    layers, outcomes = msgspec.json.decode(answer, type=tuple[list[str], dict[str, str]])
    return layers, outcomes


def landlock_is_here() -> bool:
    try:
        jail.render_in("landlock", "text", b"x", truncated=False)
    except jail.Stopped:
        return False
    return True


def test_a_jail_that_holds_is_found_by_trying_it() -> None:
    assert jail.which_jail() in jail.JAILS
    assert set(jail.WORDS) == set(jail.JAILS)


def test_from_inside_the_chosen_jail_no_file_process_or_network_is_reached(
    tmp_path: Path, listening: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_SECRET", "s3cret")
    chosen = jail.which_jail()
    if chosen == "limits":
        # Nothing can be locked here; then the formats are what protects, and a page says so.
        assert jail.formats("limits") == ("PNG", "JPEG")
        assert "install bubblewrap" in jail.WORDS["limits"]
        return
    _, outcomes = from_inside(chosen, tmp_path, listening)
    assert not [name for name, outcome in outcomes.items() if "reached" in outcome], outcomes
    assert not Path("/tmp/escaped").exists()


@pytest.mark.real
@pytest.mark.parametrize("name", ["bubblewrap", "landlock"])
def test_each_jail_of_this_machine_holds_by_itself(name: jail.Jail, tmp_path: Path, listening: int) -> None:
    assert shutil.which("bwrap") is not None and landlock_is_here(), "the build machine has both"
    layers, outcomes = from_inside(name, tmp_path, listening)
    assert not [what for what, outcome in outcomes.items() if "reached" in outcome], outcomes
    if name == "landlock":
        assert layers == ["landlock", "seccomp"]


@pytest.mark.real
def test_the_escapes_would_be_noticed_without_a_jail(tmp_path: Path, listening: int) -> None:
    """The test above proves something only if the same code does reach everything when nothing holds it."""
    unlocked = INSIDE.replace("confine.lock()", "[]")
    secret = tmp_path / "secret"
    secret.write_text("the key")
    orders = {"secret": str(secret), "folder": str(tmp_path), "port": listening, "pid": 1}
    answer = jail.run("limits", unlocked, msgspec.json.encode(orders).decode(), b"")
    _, outcomes = msgspec.json.decode(answer, type=tuple[list[str], dict[str, str]])
    Path("/tmp/escaped").unlink()
    assert {name for name, outcome in outcomes.items() if "reached" in outcome} >= {
        "read",
        "write",
        "connect",
        "start",
        "fork",
        "listing",
    }


def test_a_renderer_that_never_ends_or_floods_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.core.limits.PREVIEW_SECONDS", 0.5)
    chosen = jail.which_jail()
    with pytest.raises(jail.Stopped, match="too long"):
        jail.run(chosen, "import time; time.sleep(60)", "", b"")
    monkeypatch.setattr("hub.core.limits.PREVIEW_SECONDS", 10)
    monkeypatch.setattr("hub.core.limits.PREVIEW_OUTPUT_BYTES", 10_000)
    with pytest.raises(jail.Stopped, match="too much"):
        jail.run(chosen, "sys.stdout.write('x' * 10**6)", "", b"")
    assert not [t for t in threading.enumerate() if t.name.endswith("(_feed)") and t.is_alive()]


def test_memory_is_bounded() -> None:
    entry = (
        "from hub.artifacts.render import confine; confine.limit(200 * 2**20, 5)\n"
        "try: bytearray(400 * 2**20)\nexcept MemoryError: print('bounded')"
    )
    assert jail.run(jail.which_jail(), entry, "", b"") == b"bounded\n"


def png(width: int, height: int) -> bytes:
    """A tiny file that claims to be a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("what", "content"),
    [
        ("a decompression bomb", png(60_000, 60_000)),
        ("just above the limit", png(8000, 5001)),
        ("nothing", b""),
        ("noise", bytes(range(256)) * 20),
        ("an EPS", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage"),
        ("an SVG", b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>"),
        ("a cut PNG", png(100, 100)[:60]),
    ],
)
def test_a_hostile_picture_is_refused_with_a_reason(what: str, content: bytes) -> None:
    head, data = jail.render_in(jail.which_jail(), "image", content, truncated=False)
    assert head.refused and not head.parts and not data, what


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "TIFF"])
def test_a_thumbnail_is_small_and_holds_nothing_but_pixels(form: str) -> None:
    source = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "where it was taken"
    more = {} if form == "GIF" else {"exif": exif.tobytes()}
    Image.radial_gradient("L").resize((1300, 650)).convert("RGB").save(source, form, **more)
    name: jail.Jail = jail.which_jail()
    head, data = jail.render_in(name, "image", source.getvalue(), truncated=False)
    if form not in jail.formats(name):
        assert head.refused
        return
    card, page = previews.checked(head, data)
    assert ((card.width, card.height), (page.width, page.height)) == ((320, 160), (1280, 640))
    for made in (card, page):
        shown = Image.open(io.BytesIO(made.data), formats=["WEBP"])
        assert shown.size == (made.width, made.height)
        assert not shown.getexif() and b"taken" not in made.data


def test_a_table_and_a_text_show_their_beginning() -> None:
    content = b"# HCl\nJ;wavenumber;note\n" + b"\n".join(b"%d;28%d.5;<b>" % (i, i) for i in range(200))
    head, data = jail.render_in(jail.which_jail(), "table", content, truncated=False)
    (made,) = previews.checked(head, data)
    shown = msgspec.json.decode(made.data, type=previews.Table)
    assert shown.header == ["J", "wavenumber", "note"]
    assert (len(shown.rows), shown.more, shown.numeric, shown.comments) == (50, True, [0, 1], ["# HCl"])
    head, data = jail.render_in(jail.which_jail(), "text", b"a\xff\x1b[31mb\nlast, cut li", truncated=True)
    assert previews.checked(head, data)[0].data.decode() == "a��[31mb\n"


@pytest.mark.parametrize(
    ("parts", "data"),
    [
        ([jail.Part("page", 4, 10, 10)], b"<svg"),
        ([jail.Part("page", 100, 10, 10)], b"RIFF0000WEBP"),
        ([jail.Part("page", 12, 99999, 10)], b"RIFF0000WEBP"),
        ([jail.Part("page", -1, 10, 10)], b"RIFF0000WEBP"),
        ([jail.Part("script", 4)], b"code"),
        ([jail.Part("table", 4)], b"oops"),
        ([jail.Part("text", 1)], b"\xff"),
    ],
)
def test_a_renderer_that_was_taken_over_is_not_believed(parts: list[jail.Part], data: bytes) -> None:
    with pytest.raises(jail.Stopped):
        previews.checked(jail.Head(layers=[], parts=parts), data)


def test_the_filter_allows_neither_files_nor_sockets_nor_processes() -> None:
    forbidden = {
        "x86_64": {2, 257, 437, 41, 42, 49, 56, 57, 58, 435, 59, 322, 62, 101, 310, 425, 321, 262, 4},
        "aarch64": {56, 437, 198, 203, 200, 220, 435, 221, 281, 129, 117, 270, 425, 280, 79},
    }
    for machine, calls in forbidden.items():
        program = confine.filter_program(machine)
        lines = [struct.unpack("=HBBI", program[at : at + 8]) for at in range(0, len(program), 8)]
        allowed = {value for code, _, _, value in lines[5:-2] if code == 0x15}
        assert allowed and not allowed & calls
        for at, (code, when_true, _, _) in enumerate(lines[5:-2], 5):
            assert code == 0x15 and at + 1 + when_true == len(lines) - 1  # every match jumps to the one ALLOW
        assert lines[-2][3] == 0x00050001 and lines[-1][3] == 0x7FFF0000


def added(house: House, perform: Perform, actor: Actor, path: str, content: bytes) -> str:
    digest = upload(house, actor, None, content, path)
    return str(perform(actor, "artifact_versioning", artifact_path=path, digest=digest)["artifact"])


def picture(form: str = "PNG") -> bytes:
    source = io.BytesIO()
    Image.new("RGB", (400, 200), "teal").save(source, form)
    return source.getvalue()


def steps_of(house: House) -> list[str]:
    from hub.core import steps

    with house.db.read() as conn:
        waiting = sa.select(steps.steps.c.id).where(
            steps.steps.c.kind == "make_preview", steps.steps.c.done_at.is_(None)
        )
        return list(conn.execute(waiting).scalars())


def test_the_step_after_a_version_makes_its_preview_once(house: House, perform: Perform, ana: Actor) -> None:
    artifact = added(house, perform, ana, "plot.png", picture())
    with house.scope(ana) as scope:
        assert views.artifact(scope, artifact).preview.state == "pending"
    (step,) = steps_of(house)
    assert carry_out(house, step)
    with house.scope(ana) as scope:
        seen = views.artifact(scope, artifact).preview
        assert (seen.state, seen.width, seen.height) == ("ready", 400, 200)
        assert seen.card == f"/api/artifacts/{artifact}/preview?size=card"
        data, media_type, _ = previews.content(scope, artifact, "card")
    assert media_type == "image/webp" and data[8:12] == b"WEBP"


def test_a_file_that_breaks_the_renderer_is_tried_once_and_says_why(
    house: House, perform: Perform, ana: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = added(house, perform, ana, "bomb.png", png(60_000, 60_000))
    previews.make(house, artifact)
    monkeypatch.setattr(jail, "render_in", lambda *a, **k: pytest.fail("tried again"))
    previews.make(house, artifact)
    with house.scope(ana) as scope:
        seen = views.artifact(scope, artifact).preview
    assert (seen.state, "million pixels" in seen.note) == ("refused", True)


def test_a_busy_machine_is_not_held_against_the_file(
    house: House, perform: Perform, ana: Actor, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = added(house, perform, ana, "plot.png", picture())
    (step,) = steps_of(house)

    def slow(*_: object, **__: object) -> None:
        raise jail.Slow("the renderer took too long")

    with monkeypatch.context() as busy:
        busy.setattr(jail, "render_in", slow)
        with pytest.raises(Unavailable):
            previews.make_now(house, artifact)
        assert carry_out(house, step)
    with house.scope(ana) as scope:
        assert views.artifact(scope, artifact).preview.state == "pending"
    clock.advance(10)
    assert carry_out(house, step)
    with house.scope(ana) as scope:
        assert views.artifact(scope, artifact).preview.state == "ready"


def test_a_file_that_is_slow_every_time_is_refused_in_the_end(
    house: House, perform: Perform, ana: Actor, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = added(house, perform, ana, "plot.png", picture())
    (step,) = steps_of(house)

    def slow(*_: object, **__: object) -> None:
        raise jail.Slow("the renderer took too long")

    monkeypatch.setattr(jail, "render_in", slow)
    for _ in range(previews.TRIES):
        assert carry_out(house, step)
        clock.advance(60)
    assert steps_of(house) == []
    with house.scope(ana) as scope:
        assert views.artifact(scope, artifact).preview.note == "the renderer took too long"


def test_a_machine_that_cannot_start_a_process_is_busy_not_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen", refused)
    with pytest.raises(jail.Slow, match="Resource temporarily unavailable"):
        jail.render_in("limits", "text", b"x", truncated=False)


def test_without_a_jail_only_plain_formats_are_tried_and_the_page_says_why(
    house: House, perform: Perform, ana: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jail, "which_jail", lambda: "limits")
    png_file, gif = (added(house, perform, ana, f"a.{form}", picture(form)) for form in ("png", "gif"))
    for artifact in (png_file, gif):
        previews.make(house, artifact)
    with house.scope(ana) as scope:
        assert views.artifact(scope, png_file).preview.state == "ready"
        refused = views.artifact(scope, gif).preview
    assert (refused.state, refused.note) == ("refused", jail.WORDS["limits"])


def test_equal_bytes_are_a_table_under_one_name_and_a_text_under_another(
    house: House, perform: Perform, ana: Actor
) -> None:
    csv, txt = (added(house, perform, ana, name, b"a,b\n1,2\n") for name in ("x.csv", "x.txt"))
    for artifact in (csv, txt):
        previews.make(house, artifact)
    with house.scope(ana) as scope:
        assert previews.table(scope, csv).header == ["a", "b"]
        assert previews.text(scope, txt) == "a,b\n1,2\n"


def test_a_picture_too_large_to_try_is_not_even_read(
    house: House, perform: Perform, ana: Actor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.core.limits.PREVIEW_SOURCE_BYTES", 10)
    artifact = added(house, perform, ana, "a.png", picture())
    monkeypatch.setattr(jail, "render_in", lambda *a, **k: pytest.fail("was read"))
    previews.make(house, artifact)
    with house.scope(ana) as scope:
        assert views.artifact(scope, artifact).preview.state == "refused"
    with house.db.read() as conn:
        assert conn.execute(sa.select(table.c.blob)).scalar() is None


def test_an_svg_is_never_drawn_by_the_hub(house: House, perform: Perform, ana: Actor) -> None:
    artifact = added(house, perform, ana, "x.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert steps_of(house) == []
    with house.scope(ana) as scope:
        seen = views.artifact(scope, artifact).preview
    assert (seen.kind, seen.page) == ("svg", f"/api/artifacts/{artifact}/content")


def test_limits_are_those_that_were_promised() -> None:
    assert limits.PREVIEW_MEMORY_BYTES == 512 * 2**20
    assert (limits.PREVIEW_CPU_SECONDS, limits.PREVIEW_SECONDS) == (5, 10)
    assert limits.PREVIEW_PIXELS < 89_478_485  # Pillow's own default
