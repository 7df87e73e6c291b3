"""Where a version came from and what became of it: a graph, its layers, its picture.

Pure: nodes and edges in, positions and SVG out. The picture takes its colours from classes of the style sheet and
holds no inline style, so it passes a strict content policy; every text in it is escaped. `as_list` is its twin in
words, for ears and for narrow screens.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import Literal

import msgspec

NodeKind = Literal["version", "job", "step"]
Tint = Literal["", "run", "ok", "wait", "bad"]
# More columns than these are drawn at their own size, to be scrolled, instead of being made to fit.
_COLUMNS_THAT_FIT = 3

BOX_WIDTH, BOX_HEIGHT = 240, 46
COLUMN_GAP, ROW_GAP = 64, 14
MARGIN, HEADING = 1, 24
_LABEL_CHARACTERS = 30
_DETAIL_CHARACTERS = 36


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One thing in the graph: what it is called, a line of detail, and where it leads (nowhere, without `href`).

    A step is tinted by its state, which its detail says in words.
    """

    id: str
    kind: NodeKind
    label: str
    detail: str
    href: str
    current: bool = False
    tint: Tint = ""


class Edge(msgspec.Struct, frozen=True):
    """`source` went into `target`."""

    source: str
    target: str


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """What is shown of a lineage; `truncated` says that there is more than fits."""

    nodes: list[Node]
    edges: list[Edge]
    truncated: bool = False


class ListItem(msgspec.Struct, frozen=True, kw_only=True):
    """A node in words: what it came from, what it went into."""

    node: Node
    made_from: list[Node]
    went_into: list[Node]


def layers(nodes: Iterable[str], edges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """The column of each node: 0 for what came from nothing shown, else one more than its latest source.

    An edge that would close a circle is ignored; versions cannot make one, but a picture must never hang on bad data.
    """
    names = list(dict.fromkeys(nodes))
    sources: dict[str, list[str]] = {name: [] for name in names}
    targets: dict[str, list[str]] = {name: [] for name in names}
    for source, target in dict.fromkeys(edges):
        if source in sources and target in sources and source != target:
            sources[target].append(source)
            targets[source].append(target)
    waiting = {name: len(sources[name]) for name in names}
    ready = [name for name in names if waiting[name] == 0]
    column = dict.fromkeys(names, 0)
    done: set[str] = set()
    while len(done) < len(names):
        if not ready:
            ready = [next(name for name in names if name not in done)]
        name = ready.pop(0)
        if name in done:
            continue
        done.add(name)
        for target in targets[name]:
            if target in done:
                continue
            column[target] = max(column[target], column[name] + 1)
            waiting[target] -= 1
            if waiting[target] == 0:
                ready.append(target)
    return column


def positions(graph: Graph) -> dict[str, tuple[int, int]]:
    """The upper left corner of each node's box; rows are ordered so that lines cross little."""
    edges = [(edge.source, edge.target) for edge in graph.edges]
    column = layers((node.id for node in graph.nodes), edges)
    columns: list[list[str]] = [[] for _ in range(max(column.values(), default=0) + 1)]
    for node in graph.nodes:
        columns[column[node.id]].append(node.id)
    row: dict[str, float] = {}
    for names in columns:
        before = {name: [row[s] for s, t in edges if t == name and s in row] for name in names}
        # The mean row of what went in (the barycentre), keeping the given order among equals.
        names.sort(key=lambda name: sum(before[name]) / len(before[name]) if before[name] else 0.0)
        row.update((name, float(at)) for at, name in enumerate(names))
    tallest = max(map(len, columns), default=0)
    placed = {}
    for at, names in enumerate(columns):
        top = (tallest - len(names)) * (BOX_HEIGHT + ROW_GAP) // 2
        for down, name in enumerate(names):
            x = MARGIN + at * (BOX_WIDTH + COLUMN_GAP)
            placed[name] = (x, HEADING + top + down * (BOX_HEIGHT + ROW_GAP))
    return placed


def drawing(graph: Graph, label: str = "Lineage picture; the list below says the same") -> str:
    """The graph as SVG, to be put into a page beside its list twin; `label` is what ears hear of it."""
    placed = positions(graph)
    if not placed:
        return ""
    width = max(x for x, _ in placed.values()) + BOX_WIDTH + MARGIN
    height = max(y for _, y in placed.values()) + BOX_HEIGHT + MARGIN
    columns = (width + COLUMN_GAP) // (BOX_WIDTH + COLUMN_GAP)
    size = f'class="lin long" width="{width}" height="{height}"' if columns > _COLUMNS_THAT_FIT else 'class="lin"'
    parts = [f'<svg {size} viewBox="0 0 {width} {height}" role="group" aria-label="{escape(label)}">']
    parts += [
        _line(placed[edge.source], placed[edge.target])
        for edge in graph.edges
        if edge.source in placed and edge.target in placed
    ]
    parts += [_box(node, placed[node.id]) for node in graph.nodes]
    return "".join(parts) + "</svg>"


def as_list(graph: Graph) -> list[ListItem]:
    """The same in words, from the first sources to the last results."""
    by_id = {node.id: node for node in graph.nodes}
    column = layers(by_id, [(edge.source, edge.target) for edge in graph.edges])
    ordered = sorted(graph.nodes, key=lambda node: column[node.id])
    return [
        ListItem(
            node=node,
            made_from=[by_id[e.source] for e in graph.edges if e.target == node.id and e.source in by_id],
            went_into=[by_id[e.target] for e in graph.edges if e.source == node.id and e.target in by_id],
        )
        for node in ordered
    ]


def _line(source: tuple[int, int], target: tuple[int, int]) -> str:
    x1, y1 = source[0] + BOX_WIDTH, source[1] + BOX_HEIGHT // 2
    x2, y2 = target[0], target[1] + BOX_HEIGHT // 2
    bend = (x1 + x2) // 2
    return f'<path class="e" d="M{x1} {y1}C{bend} {y1} {bend} {y2} {x2} {y2}"/>'


def _box(node: Node, at: tuple[int, int]) -> str:
    x, y = at
    looks = ("box", "job" if node.kind == "job" else "", node.tint, "me" if node.current else "")
    shape = " ".join(filter(None, looks))
    here = ' aria-current="true"' if node.current else ""
    opening, closing = (f'<a href="{escape(node.href)}"{here}>', "</a>") if node.href else ("<g>", "</g>")
    return (
        f"{opening}<title>{escape(node.label)}</title>"
        f'<rect class="{shape}" x="{x}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="7"/>'
        f'<text x="{x + 12}" y="{y + 20}">{escape(_shortened(node.label, _LABEL_CHARACTERS))}</text>'
        f'<text class="m" x="{x + 12}" y="{y + 36}">{escape(_shortened(node.detail, _DETAIL_CHARACTERS))}</text>'
        f"{closing}"
    )


def _shortened(text: str, characters: int) -> str:
    """The end of a path tells more than its beginning."""
    return text if len(text) <= characters else "…" + text[-(characters - 1) :]
