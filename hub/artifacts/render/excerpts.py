"""The beginning of a table or of a text."""

from __future__ import annotations

import csv
import io

ROWS, COLUMNS, CELL_CHARACTERS = 50, 30, 200
_DELIMITERS = ",;\t|"


def text(content: bytes, truncated: bool) -> str:
    """UTF-8 (or UTF-16 with a mark) with what cannot be decoded or shown replaced; whole lines only when cut."""
    decoded = _decoded(content)
    if truncated and "\n" in decoded:
        decoded = decoded[: decoded.rindex("\n") + 1]
    return "".join(c if c.isprintable() or c in "\n\t\r" else "�" for c in decoded)


def table(content: bytes, truncated: bool) -> dict[str, object]:
    """Header, first rows and leading comment lines of delimited text."""
    lines = text(content, truncated).splitlines(keepends=True)
    at = 0
    while at < len(lines) and lines[at].startswith("#"):
        at += 1
    body = lines[at:]
    delimiter = _delimiter(body[:20])
    reader = csv.reader(io.StringIO("".join(body)), delimiter=delimiter)
    rows: list[list[str]] = []
    more = truncated
    try:
        for row in reader:
            if len(rows) > ROWS:
                more = True
                break
            if row:
                rows.append([cell.strip()[:CELL_CHARACTERS] for cell in row[:COLUMNS]])
                more = more or len(row) > COLUMNS
    except csv.Error:
        more = True
    header = rows.pop(0) if rows and not any(map(_is_number, rows[0])) else []
    width = max(map(len, [header, *rows]), default=0)
    padded = [row + [""] * (width - len(row)) for row in rows[:ROWS]]
    return {
        "header": header + [""] * (width - len(header)) if header else [],
        "rows": padded,
        "numeric": [at for at in range(width) if _all_numbers([row[at] for row in padded])],
        "comments": [line.strip()[:CELL_CHARACTERS] for line in lines[:at]][:20],
        "more": more or len(rows) > ROWS,
    }


def _decoded(content: bytes) -> str:
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    return content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")


def _delimiter(lines: list[str]) -> str:
    """The one that splits the most lines into the same number of cells, above one."""

    def agreement(delimiter: str) -> tuple[int, int]:
        counts = [line.count(delimiter) for line in lines if line.strip()]
        if not counts or counts[0] == 0:
            return 0, 0
        return counts.count(counts[0]), counts[0]

    return max(_DELIMITERS, key=agreement)


def _all_numbers(cells: list[str]) -> bool:
    filled = [cell for cell in cells if cell]
    return bool(filled) and all(map(_is_number, filled))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
