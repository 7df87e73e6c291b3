"""The Merkle tree against RFC 6962's recursive definition and its published vectors."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from hub.ledger import rules

# The eight inputs and the tree heads of the Certificate Transparency reference tests.
INPUTS = [
    b"",
    b"\x00",
    b"\x10",
    b"\x20\x21",
    b"\x30\x31",
    b"\x40\x41\x42\x43",
    bytes(range(0x50, 0x58)),
    bytes(range(0x60, 0x70)),
]
HEADS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]

sizes = st.integers(0, 130)


def leaves(n: int) -> list[bytes]:
    return [rules.leaf(i.to_bytes(4, "big")) for i in range(n)]


def test_published_tree_heads_come_out() -> None:
    for n, head in enumerate(HEADS, start=1):
        _, frontier = rules.append(0, [], [rules.leaf(entry) for entry in INPUTS[:n]])
        assert rules.root(frontier).hex() == head


@given(sizes, sizes)
def test_appending_in_parts_gives_the_root_of_the_whole(first: int, second: int) -> None:
    every = leaves(first + second)
    size, frontier = rules.append(0, [], every[:first])
    size, frontier = rules.append(size, frontier, every[first:])
    assert size == len(every)
    assert rules.root(frontier) == rules.tree_root(every)
    assert len(frontier) == size.bit_count()


@given(st.data(), st.integers(1, 70))
def test_every_leaf_can_be_proved_and_no_other_place_or_leaf_passes(data: st.DataObject, size: int) -> None:
    every = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    head, proof = rules.tree_root(every), rules.inclusion_proof(index, every)
    assert rules.proves_inclusion(every[index], index, size, proof, head)
    assert not rules.proves_inclusion(rules.leaf(b"other"), index, size, proof, head)
    for wrong in range(-1, size + 1):
        if wrong != index:
            assert not rules.proves_inclusion(every[index], wrong, size, proof, head)
