"""A formula for one column of a table by symbolic regression (gplearn): the program of a job.

`symbolic_regression.py TABLE OPTIONS` reads a CSV file and writes `symbolic_regression/result.json` (the formula, how
well it fits rows it has not seen, how it was found) and `symbolic_regression/fit.svg`. It imports nothing of the hub:
its text is what the job runs, and what its digest pins. OPTIONS is a JSON object, as `ml_tool.py` describes it.
"""

import csv
import hashlib
import json
import math
import pathlib
import platform
import sys
from importlib.metadata import version
from typing import Any

MOST_ROWS = 20_000
OUT = pathlib.Path("symbolic_regression")
INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/"}
# gplearn keeps its functions from failing; whoever uses the formula elsewhere has to know how.
GUARDS = {
    "div": "a / b is 1 where |b| <= 0.001",
    "sqrt": "sqrt(a) is the root of |a|",
    "log": "log(a) is the logarithm of |a|, and 0 where |a| <= 0.001",
    "inv": "inv(a) is 1 / a, and 0 where |a| <= 0.001",
}


def table(path: str) -> tuple[list[str], list[list[float]]]:
    """The names of the columns that hold numbers only, and the rows of those in which all of them are finite."""
    with pathlib.Path(path).open(newline="", encoding="utf-8") as file:
        reader = csv.reader(line for line in file if not line.startswith("#"))
        header = next(reader, None)
        if not header:
            sys.exit(f"{path} is empty")
        rows = [row for row in reader if len(row) == len(header)]
    numeric = [at for at in range(len(header)) if rows and all(is_number(row[at]) for row in rows)]
    if len(numeric) < 2:
        sys.exit(f"{path} has {len(numeric)} columns of numbers; at least two are needed, one of them the target")
    found = [[float(row[at]) for at in numeric] for row in rows]
    return [header[at] for at in numeric], [row for row in found if all(map(math.isfinite, row))]


def is_number(cell: str) -> bool:
    """Whether a cell reads as a number; an empty one does not."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def chosen(columns: list[str], options: dict[str, Any]) -> tuple[str, list[str]]:
    """The target (as named, else `y` or `target` or the last column) and what it is to be computed from."""
    target = options.get("target") or next((name for name in ("y", "target") if name in columns), columns[-1])
    features = options.get("features") or [name for name in columns if name != target]
    unknown = [name for name in [target, *features] if name not in columns]
    if unknown:
        sys.exit(f"there are no columns of numbers called {', '.join(unknown)}; there are {', '.join(columns)}")
    if target in features:
        sys.exit(f"{target} cannot be computed from itself")
    return target, features


def infix(program: list[Any], features: list[str]) -> str:
    """A gplearn program (functions before what they take) as people write formulas."""

    def read(at: int) -> tuple[str, int]:
        node = program[at]
        if isinstance(node, int):
            return features[node], at + 1
        if isinstance(node, float):
            return f"{node:.6g}", at + 1
        taken, at = list[str](), at + 1
        for _ in range(node.arity):
            text, at = read(at)
            taken.append(text)
        if node.name in INFIX:
            return f"({taken[0]} {INFIX[node.name]} {taken[1]})", at
        return f"{node.name}({', '.join(taken)})", at

    text, _ = read(0)
    return text[1:-1] if text.startswith("(") and closes_last(text) else text


def closes_last(text: str) -> bool:
    """Whether the first bracket is closed by the last one."""
    depth = 0
    for at, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if depth == 0:
            return at == len(text) - 1
    return False


def fitted(known: Any, target: Any, options: dict[str, Any], features: list[str]) -> Any:
    """The best program after all generations, told as they pass."""
    from gplearn.genetic import SymbolicRegressor

    generations = options["generations"]
    model = SymbolicRegressor(
        population_size=options["population_size"],
        generations=1,
        function_set=tuple(options["functions"]),
        parsimony_coefficient=options["parsimony"],
        random_state=options["seed"],
        stopping_criteria=1e-9,
        feature_names=list(features),
        warm_start=True,
    )
    for generation in range(1, generations + 1):
        model.set_params(generations=generation)
        model.fit(known, target)
        best = model.run_details_["best_fitness"][-1]
        print(f"generation {generation} of {generations}: mean absolute error {best:.6g}")
        if best <= 1e-9:
            break
    return model


def r2(measured: list[float], computed: list[float]) -> float | None:
    """The share of the variance that is explained; None where nothing varies."""
    mean = sum(measured) / len(measured)
    whole = sum((each - mean) ** 2 for each in measured)
    rest = sum((a - b) ** 2 for a, b in zip(measured, computed, strict=True))
    return None if whole == 0 else 1 - rest / whole


def picture(measured: list[float], computed: list[float], target: str) -> str:
    """Computed over measured as SVG, with the line on which they are equal."""
    points = list(zip(measured, computed, strict=True))[:1000]
    values = [each for point in points for each in point if math.isfinite(each)]
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def at(value: float) -> float:
        return 60 + 380 * (value - low) / span

    dots = "".join(
        f'<circle cx="{at(a):.1f}" cy="{480 - at(b):.1f}" r="3" fill="#1f5fa8" fill-opacity="0.6"/>'
        for a, b in points
        if math.isfinite(b)
    )
    name = target.replace("&", "&amp;").replace("<", "&lt;")[:60]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 480 480" font-family="sans-serif" font-size="14">'
        '<rect width="480" height="480" fill="#fff"/><path d="M60 40V420H440" fill="none" stroke="#444"/>'
        '<path d="M60 420L440 40" stroke="#999" stroke-dasharray="5 4"/>'
        f'{dots}<text x="60" y="442">{low:.4g}</text><text x="440" y="442" text-anchor="end">{high:.4g}</text>'
        f'<text x="250" y="462" text-anchor="middle">{name}, measured</text>'
        f'<text transform="translate(34 230) rotate(-90)" text-anchor="middle">{name}, by the formula</text></svg>\n'
    )


def main(path: str, options: dict[str, Any]) -> None:
    """Read, search, tell."""
    import numpy as np

    columns, rows = table(path)
    target, features = chosen(columns, options)
    if len(rows) < 10:
        sys.exit(f"{path} has {len(rows)} complete rows of numbers; at least 10 are needed")
    order = np.random.default_rng(options["seed"]).permutation(len(rows))[:MOST_ROWS]
    data = np.array(rows)[order]
    known = data[:, [columns.index(name) for name in features]]
    wanted = data[:, columns.index(target)]
    held_out = max(2, len(data) // 5)
    model = fitted(known[held_out:], wanted[held_out:], options, features)
    best = model._program
    seen, unseen = model.predict(known[held_out:]), model.predict(known[:held_out])
    used = sorted({node.name for node in best.program if hasattr(node, "arity")})
    result = {
        "target": target,
        "features": features,
        "formula": f"{target} = {infix(best.program, features)}",
        "program": str(best),
        "guards": {name: GUARDS[name] for name in used if name in GUARDS},
        "score": {
            "r2_held_out": r2(wanted[:held_out].tolist(), unseen.tolist()),
            "r2_trained_on": r2(wanted[held_out:].tolist(), seen.tolist()),
            "root_mean_square_error_held_out": float(np.sqrt(np.mean((wanted[:held_out] - unseen) ** 2))),
        },
        "rows": {"in_table": len(rows), "trained_on": len(data) - held_out, "held_out": held_out},
        "generations": len(model.run_details_["generation"]),
        "options": options,
        "data": {"path": path, "digest": "sha256:" + hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()},
        "software": {"python": platform.python_version(), "gplearn": version("gplearn"), "numpy": version("numpy")},
    }
    OUT.mkdir(exist_ok=True)
    (OUT / "result.json").write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (OUT / "fit.svg").write_text(picture(wanted[:held_out].tolist(), unseen.tolist(), target), encoding="utf-8")
    print(result["formula"])


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
