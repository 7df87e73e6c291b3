"""The Merkle tree of RFC 6962 and what a ledger line commits to; pure.

A line's commitment is `0x01 || SHA-256(nonce32 || body)`: it hides the body, so the body can be erased lawfully while
every proof stands. The leaf is RFC 6962's `SHA-256(0x00 || entry)` with the commitment as the entry. The *frontier* of
a tree is the roots of its perfect subtrees from left to right; a leaf is appended in O(log n).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()
COMMITMENT = b"\x01"


def commitment(nonce: bytes, body: bytes) -> bytes:
    """What stands in the ledger for a body: 33 bytes."""
    if len(nonce) != 32:
        raise ValueError("a nonce has 32 bytes")
    return COMMITMENT + hashlib.sha256(nonce + body).digest()


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def append(size: int, frontier: Sequence[bytes], leaves: Iterable[bytes]) -> tuple[int, list[bytes]]:
    """The size and frontier after appending leaf hashes to a tree of `size` leaves."""
    hashes = list(frontier)
    for digest in leaves:
        hashes.append(digest)
        size += 1
        # Two perfect subtrees of one height become one, as often as the new size has trailing zero bits.
        for _ in range((size & -size).bit_length() - 1):
            right = hashes.pop()
            hashes[-1] = node(hashes[-1], right)
    return size, hashes


def root(frontier: Sequence[bytes]) -> bytes:
    """The tree head of RFC 6962 section 2.1, from the frontier."""
    if not frontier:
        return EMPTY_ROOT
    digest = frontier[-1]
    for left in reversed(frontier[:-1]):
        digest = node(left, digest)
    return digest


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """The tree head straight from RFC 6962's recursive definition; the slow twin that tests compare with."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return node(tree_root(leaves[:split]), tree_root(leaves[split:]))


def inclusion_proof(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """The audit path of RFC 6962 section 2.1.1 for the leaf at `index`."""
    if len(leaves) <= 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    if index < split:
        return [*inclusion_proof(index, leaves[:split]), tree_root(leaves[split:])]
    return [*inclusion_proof(index - split, leaves[split:]), tree_root(leaves[:split])]


def proves_inclusion(leaf_hash: bytes, index: int, size: int, proof: Sequence[bytes], head: bytes) -> bool:
    """Whether the path leads from the leaf to the head (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    first, last, digest = index, size - 1, leaf_hash
    for sibling in proof:
        if last == 0:
            return False
        if first & 1 or first == last:
            digest = node(sibling, digest)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            digest = node(digest, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and digest == head
