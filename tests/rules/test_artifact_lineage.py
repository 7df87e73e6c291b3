"""The lineage picture: layers, no overlap, no markup from names, and the same said as a list."""

from __future__ import annotations

import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from hub.artifacts.lineage import BOX_HEIGHT, BOX_WIDTH, Edge, Graph, Node, as_list, drawing, layers, positions

NAMES = [f"n{i}" for i in range(8)]
EDGES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=20)


def node(name: str, **more: object) -> Node:
    return Node(id=name, kind="version", label=name, detail="v1", href=f"/artifacts/{name}", **more)  # type: ignore[arg-type]


def graph(edges: list[tuple[str, str]], names: list[str] = NAMES) -> Graph:
    return Graph(nodes=[node(name) for name in names], edges=[Edge(*edge) for edge in edges])


def test_each_thing_stands_right_of_everything_it_was_made_from() -> None:
    columns = layers("abcd", [("a", "b"), ("b", "c"), ("a", "c"), ("c", "d")])
    assert columns == {"a": 0, "b": 1, "c": 2, "d": 3}


@given(EDGES)
def test_without_circles_every_edge_points_right(pairs: list[tuple[str, str]]) -> None:
    forward = [(a, b) for a, b in pairs if a < b]
    columns = layers(NAMES, forward)
    assert all(columns[a] < columns[b] for a, b in forward)


@given(EDGES)
def test_bad_data_with_circles_is_drawn_all_the_same(pairs: list[tuple[str, str]]) -> None:
    drawn = graph(pairs)
    assert set(positions(drawn)) == set(NAMES)
    ElementTree.fromstring(drawing(drawn))


@given(EDGES)
def test_no_two_boxes_overlap(pairs: list[tuple[str, str]]) -> None:
    places = list(positions(graph(pairs)).values())
    for at, (x, y) in enumerate(places):
        for other_x, other_y in places[at + 1 :]:
            assert abs(x - other_x) >= BOX_WIDTH or abs(y - other_y) >= BOX_HEIGHT


def test_names_can_put_no_markup_into_the_picture() -> None:
    hostile = "\"><script>alert(1)</script>'&"
    picture = drawing(
        Graph(
            nodes=[
                Node(id="x", kind="version", label=hostile, detail=hostile, href=f"javascript:{hostile}", current=True)
            ],
            edges=[],
        )
    )
    assert "<script" not in picture
    tags = {element.tag.split("}")[-1] for element in ElementTree.fromstring(picture).iter()}
    assert tags == {"svg", "a", "title", "rect", "text"}


def test_the_picture_holds_no_inline_style_and_no_event_handler() -> None:
    picture = drawing(graph([("n0", "n1"), ("n1", "n2")]))
    assert "style=" not in picture
    assert not re.search(r"\son\w+=", picture)


def test_the_list_says_what_the_picture_says_in_order() -> None:
    said = as_list(graph([("c", "b"), ("b", "a")], ["a", "b", "c"]))
    assert [item.node.id for item in said] == ["c", "b", "a"]
    assert [n.id for n in said[1].made_from] == ["c"]
    assert [n.id for n in said[1].went_into] == ["a"]


def test_nothing_to_draw_is_an_empty_picture() -> None:
    assert drawing(Graph(nodes=[], edges=[])) == ""
    assert layers([], []) == {}
