"""Where files came from, laid out in columns: nodes and edges in, boxes and curves out. Pure.

A node stands one column right of the furthest thing it came from; inside a column the order follows the mean height of
what a node is tied to, so that curves cross little. The same nodes make the list that stands under the picture.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec

from hub.web.pages import words

BOX_WIDTH, BOX_HEIGHT, ROW_STEP, GAP, TOP = 250, 48, 62, 76, 28
MOST_NODES = 60
_LETTERS = 31  # how many fit in a box at 13 px in a wide system font


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A file, a run, or what surrounded the run."""

    id: str
    kind: str  # "file", "job" or "environment"
    title: str
    sub: str = ""
    href: str = ""
    tint: str = ""
    here: bool = False
    later: bool = False


class Box(msgspec.Struct, frozen=True):
    """A node in its place."""

    id: str
    kind: str
    title: str
    label: str
    sub: str
    href: str
    x: int
    y: float
    width: int = BOX_WIDTH
    height: int = BOX_HEIGHT


class Heading(msgspec.Struct, frozen=True):
    """What stands over a column."""

    x: int
    text: str


class Group(msgspec.Struct, frozen=True):
    """A column as a part of the list."""

    title: str
    lines: Sequence[Node]


class Picture(msgspec.Struct, frozen=True):
    """Everything `lineage.html` draws."""

    width: int
    height: float
    boxes: Sequence[Box]
    lines: Sequence[str]
    headings: Sequence[Heading]
    twin: Sequence[Group]


def draw(nodes: Sequence[Node], edges: Sequence[tuple[str, str]]) -> Picture:
    """Lay out `nodes` with `edges` from what was used to what came of it."""
    nodes = nodes[:MOST_NODES]
    known = {node.id for node in nodes}
    edges = [(start, end) for start, end in edges if start in known and end in known and start != end]
    column = _columns([node.id for node in nodes], edges)
    by_column: dict[int, list[Node]] = defaultdict(list)
    for node in nodes:
        by_column[column[node.id]].append(node)
    tallest = max((len(members) for members in by_column.values()), default=0)
    last = max(by_column, default=0)
    place: dict[str, Box] = {}
    for number in sorted(by_column):
        members = sorted(by_column[number], key=lambda node: _pull(node.id, edges, place))
        start = TOP + (tallest - len(members)) * ROW_STEP / 2
        for row, node in enumerate(members):
            place[node.id] = _box(node, number * (BOX_WIDTH + GAP) + 1, start + row * ROW_STEP)
    return Picture(
        width=last * (BOX_WIDTH + GAP) + BOX_WIDTH + 2,
        height=TOP + tallest * ROW_STEP - (ROW_STEP - BOX_HEIGHT) + 2,
        boxes=list(place.values()),
        lines=[_curve(place[start], place[end]) for start, end in edges],
        headings=[
            Heading(number * (BOX_WIDTH + GAP) + 1, words.sentence(words.plural(_noun(members, number, last))))
            for number, members in sorted(by_column.items())
        ],
        twin=[
            Group(words.sentence(words.count(len(members), _noun(members, number, last))), members)
            for number, members in sorted(by_column.items())
        ],
    )


def _columns(ids: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """The length of the longest way to each node; bounded, so that a loop in bad data still ends."""
    column = dict.fromkeys(ids, 0)
    for _ in ids:
        moved = False
        for start, end in edges:
            if column[end] < column[start] + 1 < len(ids):
                column[end] = column[start] + 1
                moved = True
        if not moved:
            break
    return column


def _pull(node_id: str, edges: Sequence[tuple[str, str]], place: dict[str, Box]) -> float:
    tied = [place[start].y for start, end in edges if end == node_id and start in place]
    return sum(tied) / len(tied) if tied else 0.0


def _box(node: Node, x: int, y: float) -> Box:
    kinds = ["job" if node.kind == "job" else "", node.tint, "here" if node.here else "", "later" if node.later else ""]
    return Box(node.id, " ".join(filter(None, kinds)), node.title, fit(node.title), fit(node.sub, 33), node.href, x, y)


def fit(text: str, letters: int = _LETTERS) -> str:
    """The text, or its two ends around an ellipsis: the end of a path says most."""
    if len(text) <= letters:
        return text
    head = letters // 3
    return f"{text[:head]}…{text[head + 1 - letters :]}"


def _curve(start: Box, end: Box) -> str:
    x1, y1 = start.x + BOX_WIDTH, start.y + BOX_HEIGHT / 2
    x2, y2 = end.x, end.y + BOX_HEIGHT / 2
    bend = max(GAP, abs(x2 - x1)) / 2
    return f"M{x1} {y1:g}C{x1 + bend:g} {y1:g} {x2 - bend:g} {y2:g} {x2} {y2:g}"


def _noun(members: Sequence[Node], number: int, last: int) -> str:
    """What the things of one column are called."""
    if all(node.kind == "job" for node in members):
        return "run"
    if number == 0:
        return "input" if last else "file"
    return "output" if number == last else "intermediate file"
