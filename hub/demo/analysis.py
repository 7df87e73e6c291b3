"""From measured infrared lines of a diatomic molecule to its constants: a self-contained script that runs as a job.

    python analysis.py hcl_lines.csv [--out DIR] [--accepted constants.csv]

Two models are fitted by weighted least squares: the vibrating rotor to each band, in the line number m (J + 1 in the R
branch, -J in the P branch), and the anharmonic oscillator to all bands together. A residual bootstrap gives the
uncertainties; in every resample the Morse rotor with those constants is solved on a grid, which asks what the fits
cannot: does one potential explain the levels and the rotation together?

Only numpy and matplotlib are needed. All energies are wavenumbers in cm^-1; the formulas are in REPORT below.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import math
import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # For matrices of this size threads cost more than they give.

import matplotlib
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

COLUMNS = ("band", "branch", "J_lower", "wavenumber_cm1", "uncertainty_cm1")
FEWEST_LINES = 5  # Four constants and one degree of freedom.
MOST_LINES = 2_000
MOST_LEVELS = 200
SECOND_RADIATION_CM_K = 1.438776877  # h c / k_B
ROOM_TEMPERATURE_K = 296.0
PERCENT_BEFORE = (0, 1, 2, 3, 85, 86, 97, 100)  # Of the time, by step; the fourth is the bootstrap.


class BrokenInput(Exception):
    """The input cannot be analysed; the message names the file and the line."""


def say(text: str) -> None:
    """One line of progress, written through at once so that a reader of the live log sees it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def step(number: int, text: str) -> None:
    """The percentage is what a progress bar follows: steps are of very different lengths."""
    say(f"step {number}/{len(PERCENT_BEFORE)} {text} [{PERCENT_BEFORE[number - 1]} %]")


@dataclass(frozen=True)
class Band:
    """The lines of one vibrational band, sorted by line number m."""

    upper: int
    lower: int
    m: Array
    nu: Array
    sigma: Array

    @property
    def name(self) -> str:
        return f"{self.upper}-{self.lower}"


def levels_in(bands: Sequence[Band]) -> set[int]:
    return {v for b in bands for v in (b.upper, b.lower)}


def read_table(path: Path) -> list[tuple[int, list[str]]]:
    """The rows of a CSV file with their line numbers; blank lines and lines starting with # are skipped."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BrokenInput(f"{path.name}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BrokenInput(f"{path.name} line {line}: not UTF-8 text") from error
    reader = csv.reader(io.StringIO(text))
    rows: list[tuple[int, list[str]]] = []
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if any(cells) and not cells[0].startswith("#"):
                rows.append((reader.line_num, cells))
    except csv.Error as error:
        raise BrokenInput(f"{path.name} line {reader.line_num}: {error}") from error
    if not rows:
        raise BrokenInput(f"{path.name} line 1: the file is empty")
    return rows


def number(text: str, where: str, column: str, low: float = -1e9, high: float = 1e9) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise BrokenInput(f"{where}: {column} {text[:40]!r} is not a number")
    if not low <= value <= high:
        raise BrokenInput(f"{where}: {column} must be from {low:g} to {high:g}, not {text}")
    return value


def read_lines(path: Path) -> list[Band]:
    """Read measured lines; raises BrokenInput with the line number for anything that is not as it should be."""
    rows = read_table(path)
    header = rows[0][1]
    if missing := [name for name in COLUMNS if name not in header]:
        raise BrokenInput(f"{path.name} line {rows[0][0]}: the header lacks {', '.join(missing)}")
    if len(rows) > MOST_LINES:
        raise BrokenInput(f"{path.name}: more than {MOST_LINES} lines")
    found: dict[tuple[int, int], dict[int, tuple[float, float]]] = {}
    for line, cells in rows[1:]:
        where = f"{path.name} line {line}"
        if len(cells) < len(header):
            raise BrokenInput(f"{where}: {len(cells)} fields where the header has {len(header)}")
        field = dict(zip(header, cells, strict=False))
        band = re.fullmatch(r"([0-9]{1,3})-([0-9]{1,3})", field["band"])
        if not band or int(band[1]) <= int(band[2]):
            raise BrokenInput(f"{where}: band {field['band']!r} is not upper-lower, such as 1-0")
        if field["branch"] not in ("P", "R"):
            raise BrokenInput(f"{where}: branch {field['branch']!r} is neither P nor R")
        if not re.fullmatch(r"[0-9]{1,3}", field["J_lower"]):
            raise BrokenInput(f"{where}: J_lower {field['J_lower']!r} is not a whole number")
        j = int(field["J_lower"])
        if field["branch"] == "P" and j == 0:
            raise BrokenInput(f"{where}: P(0) does not exist")
        m = j + 1 if field["branch"] == "R" else -j
        lines = found.setdefault((int(band[1]), int(band[2])), {})
        if m in lines:
            raise BrokenInput(f"{where}: {field['branch']}({j}) of band {field['band']} is given twice")
        lines[m] = (
            number(field["wavenumber_cm1"], where, "wavenumber_cm1", 1, 1e5),
            number(field["uncertainty_cm1"], where, "uncertainty_cm1", 1e-9, 1e3),
        )
    if not found:
        raise BrokenInput(f"{path.name}: a header and no lines")
    bands = []
    for (upper, lower), lines in sorted(found.items()):
        if len(lines) < FEWEST_LINES:
            raise BrokenInput(f"{path.name}: band {upper}-{lower} has {len(lines)} lines, its fit needs {FEWEST_LINES}")
        table = np.array([(m, *lines[m]) for m in sorted(lines)], dtype=np.float64)
        bands.append(Band(upper, lower, *table.T))
    return bands


@dataclass(frozen=True)
class LeastSquares:
    """A weighted linear fit: parameters, their covariance, chi-squared and degrees of freedom."""

    value: Array
    covariance: Array
    chi2: float
    freedom: int


def solve(design: Array, data: Array, covariance: Array) -> LeastSquares:
    """Generalised least squares; raises LinAlgError when the data do not determine every parameter."""
    root = np.linalg.inv(np.linalg.cholesky(covariance))
    scale = np.abs(design).max(axis=0)
    weighted = root @ (design / scale)
    if np.linalg.matrix_rank(weighted) < design.shape[1]:
        raise np.linalg.LinAlgError("not determined")
    value = np.linalg.lstsq(weighted, root @ data, rcond=None)[0]
    chi2 = float(np.sum((root @ data - weighted @ value) ** 2))
    spread = np.linalg.inv(weighted.T @ weighted) / np.outer(scale, scale)
    return LeastSquares(value / scale, spread, chi2, len(data) - design.shape[1])


def rotor_design(m: Array) -> Array:
    """Columns of nu(m) for the parameters nu0, B', B'' and D."""
    return np.column_stack([np.ones_like(m), m + m**2, m - m**2, -4 * m**3])


def fit_oscillator(bands: Sequence[Band], origin: Array, variance: Array) -> LeastSquares | None:
    """w_e and w_e x_e from the origins G(v') - G(v''), or None where the bands cannot tell them apart."""
    upper, lower = np.array([b.upper + 0.5 for b in bands]), np.array([b.lower + 0.5 for b in bands])
    try:
        return solve(np.column_stack([upper - lower, lower**2 - upper**2]), origin, np.diag(variance))
    except np.linalg.LinAlgError:
        return None


def fit_rotation(bands: Sequence[Band], turning: Array, covariance: Array) -> LeastSquares:
    """B_e and alpha_e from B' and B'' of every band, in this order."""
    v = np.array([v + 0.5 for b in bands for v in (b.upper, b.lower)])
    return solve(np.column_stack([np.ones_like(v), -v]), turning, covariance)


@dataclass(frozen=True)
class Constants:
    """What one pass over the bands yields: the fit of each band, and every constant by name."""

    fits: list[LeastSquares]
    value: dict[str, float]

    @property
    def oscillator(self) -> tuple[float, float, float] | None:
        """w_e, w_e x_e and B_e, where they describe a bound anharmonic oscillator."""
        w, wx, b = (self.value.get(name, 0.0) for name in ("w_e", "w_e x_e", "B_e"))
        return (w, wx, b) if min(w, wx, b) > 0 and w > wx else None

    @property
    def bound(self) -> int:
        """How many levels of that oscillator lie below its dissociation limit."""
        return min(int(self.oscillator[0] / (2 * self.oscillator[1]) + 0.5), MOST_LEVELS) if self.oscillator else 0


def constants_of(bands: Sequence[Band], lines: Sequence[Array] | None = None) -> Constants:
    fits: list[LeastSquares] = []
    value: dict[str, float] = {}
    for i, band in enumerate(bands):
        try:
            fit = solve(rotor_design(band.m), lines[i] if lines else band.nu, np.diag(band.sigma**2))
        except np.linalg.LinAlgError as error:
            raise BrokenInput(f"band {band.name}: its lines do not determine nu0, B', B'' and D") from error
        fits.append(fit)
        per_band = (f"{name} {band.name}" for name in ("nu0", f"B{band.upper}", f"B{band.lower}", "D"))
        value |= dict(zip(per_band, map(float, fit.value), strict=True))
    each, variance = np.array([f.value for f in fits]), np.array([np.diag(f.covariance) for f in fits])
    if oscillator := fit_oscillator(bands, each[:, 0], variance[:, 0]):
        value |= dict(zip(("w_e", "w_e x_e"), map(float, oscillator.value), strict=True))
    within = np.zeros((2 * len(fits), 2 * len(fits)))  # The covariance that B' and B'' have inside their band.
    for i, fit in enumerate(fits):
        within[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = fit.covariance[1:3, 1:3]
    rotation = fit_rotation(bands, each[:, 1:3].ravel(), within)
    value |= dict(zip(("B_e", "alpha_e"), map(float, rotation.value), strict=True))
    value["D"] = float(np.average(each[:, 3], weights=1 / variance[:, 3]))
    return Constants(fits, value)


def levels_of(w: float, wx: float, count: int) -> Array:
    return np.array([w * (n + 0.5) - wx * (n + 0.5) ** 2 for n in range(count)])


def morse(x: Array, w: float, wx: float, b: float) -> Array:
    return np.asarray(w**2 / (4 * wx) * (1 - np.exp(-math.sqrt(wx / b) * (x - 1))) ** 2, dtype=np.float64)


class MorseGrid:
    """A sinc grid over x = r / r_e on which the Morse rotor is diagonalised; its kinetic part is made once.

    With lengths in r_e no mass is needed: H = -B_e d2/dx2 + D (1 - exp(-a (x - 1)))^2 + B_e J (J + 1) / x^2,
    D = w_e^2 / (4 w_e x_e), a = sqrt(w_e x_e / B_e). Method: Colbert and Miller 1992 (doi:10.1063/1.462100).
    """

    def __init__(self, points: int, start: float = 0.45, end: float = 2.4) -> None:
        self.x: Array = np.linspace(start, end, points)
        distance = np.subtract.outer(np.arange(points), np.arange(points)).astype(np.float64)
        sign = np.where(distance % 2 == 0, 1.0, -1.0)
        np.fill_diagonal(distance, 1.0)
        self.kinetic: Array = 2 * sign / distance**2
        np.fill_diagonal(self.kinetic, math.pi**2 / 3)
        self.kinetic /= (self.x[1] - self.x[0]) ** 2

    def hamiltonian(self, w: float, wx: float, b: float, turning: float) -> Array:
        h = b * self.kinetic
        h[np.diag_indices_from(h)] += morse(self.x, w, wx, b) + b * turning / self.x**2
        return h

    def rotor(self, w: float, wx: float, b: float, count: int) -> Array:
        """B_v and D_v, shape (2, count): the levels at J = 0, 2, 4, 6 fitted to B J(J+1) - D (J(J+1))^2."""
        turning = np.array([0.0, 6.0, 20.0, 42.0])
        energy = np.array([np.linalg.eigvalsh(self.hamiltonian(w, wx, b, t))[:count] for t in turning])
        design = np.column_stack([turning, -(turning**2)])[1:]
        return np.asarray(np.linalg.lstsq(design, energy[1:] - energy[0], rcond=None)[0])


@dataclass(frozen=True)
class Spread:
    """Standard deviations over the resamples; of the Morse rotor's (B_v, D_v), shape (2, v), the means too."""

    constants: dict[str, float]
    levels: Array
    rotor: Array
    rotor_mean: Array


def resample(bands: Sequence[Band], fits: Sequence[LeastSquares], rng: np.random.Generator) -> list[Array]:
    """New lines for every band: the fitted curve plus its own residuals, drawn again.

    A residual is smaller than the error behind it because the curve bent towards its point; dividing by
    sqrt(1 - leverage) undoes that. Residuals are drawn in units of their line's uncertainty.
    """
    lines = []
    for band, fit in zip(bands, fits, strict=True):
        design = rotor_design(band.m)
        leverage = np.einsum("ij,jk,ik->i", design, fit.covariance, design) / band.sigma**2
        reduced = (band.nu - design @ fit.value) / band.sigma / np.sqrt(np.clip(1 - leverage, 0.05, None))
        lines.append(design @ fit.value + band.sigma * rng.choice(reduced - reduced.mean(), len(band.m)))
    return lines


def bootstrap(bands: Sequence[Band], best: Constants, count: int, seed: int) -> Spread:
    rng, grid, highest = np.random.default_rng(seed), MorseGrid(180), max(levels_in(bands)) + 1
    constants, levels, rotors = [], [], []
    for k in range(1, count + 1):
        one = constants_of(bands, resample(bands, best.fits, rng))
        constants.append(list(one.value.values()))
        if best.oscillator and one.oscillator:
            levels.append(levels_of(*one.oscillator[:2], best.bound))
            rotors.append(grid.rotor(*one.oscillator, highest))
        if k % max(1, count // 40) == 0 or k == count:
            percent = PERCENT_BEFORE[3] + (PERCENT_BEFORE[4] - PERCENT_BEFORE[3]) * k / count
            say(f"bootstrap {k}/{count} [{percent:.0f} %]")
    rotor = np.array(rotors if len(rotors) > 1 else np.zeros((2, 2, 0)))
    return Spread(
        dict(zip(best.value, map(float, np.std(constants, axis=0, ddof=1)), strict=True)),
        np.std(levels, axis=0, ddof=1) if len(levels) > 1 else np.zeros(0),
        rotor.std(axis=0, ddof=1),
        rotor.mean(axis=0),
    )


@dataclass(frozen=True)
class Accepted:
    """Published constants of a molecule, and how far this input may honestly be from each."""

    molecule: str
    source: str
    value: dict[str, float]
    tolerance: dict[str, float]

    def comparable(self, bands: Sequence[Band]) -> dict[str, float]:
        """What our formulas, cut where they are cut, would give on lines without error.

        The published series have more terms than two or three bands determine. A fit cut after the quadratic
        term absorbs them into w_e and w_e x_e, so only numbers cut in the same way may be compared.
        """
        out = dict(self.value)

        def series(constants: Sequence[str], first: int, v: int) -> float:
            return sum(out.get(name, 0.0) * (v + 0.5) ** (k + first) for k, name in enumerate(constants))

        if {"w_e", "w_e x_e"} <= out.keys():
            vibration = {v: series(VIBRATION, 1, v) - 2 * out["w_e x_e"] * (v + 0.5) ** 2 for v in levels_in(bands)}
            origin = np.array([vibration[b.upper] - vibration[b.lower] for b in bands])
            out |= {f"nu0 {b.name}": float(o) for b, o in zip(bands, origin, strict=True)}
            if cut := fit_oscillator(bands, origin, np.ones(len(bands))):
                out |= dict(zip(("w_e", "w_e x_e"), map(float, cut.value), strict=True))
        if {"B_e", "alpha_e"} <= out.keys():
            rotation = {v: series(ROTATION, 0, v) - 2 * out["alpha_e"] * (v + 0.5) for v in levels_in(bands)}
            turning = np.array([rotation[v] for b in bands for v in (b.upper, b.lower)])
            cut = fit_rotation(bands, turning, np.eye(len(turning)))
            out |= dict(zip(("B_e", "alpha_e"), map(float, cut.value), strict=True))
            out |= {f"B{v} {b.name}": rotation[v] for b in bands for v in (b.upper, b.lower)}
        return out


VIBRATION = ("w_e", "w_e x_e", "w_e y_e", "w_e z_e")  # By convention the second term of each series is
ROTATION = ("B_e", "alpha_e", "gamma_e", "delta_e")  # subtracted, all others are added.
KNOWN = {
    "hcl": Accepted(
        "H35Cl",
        "Huber and Herzberg 1979 (NIST WebBook), D for v = 0; allowed: what the calibration bias of the lines explains",
        {"w_e": 2990.9463, "w_e x_e": 52.8186, "w_e y_e": 0.22437, "w_e z_e": -0.01218, "B_e": 10.593416,
         "alpha_e": 0.307181, "gamma_e": 0.0017724, "delta_e": -0.00012, "D": 5.24e-4},
        {"nu0 1-0": 0.30, "nu0 2-0": 0.90, "w_e": 0.50, "w_e x_e": 0.25, "B_e": 0.010, "alpha_e": 0.003, "D": 1.6e-5},
    )
}  # fmt: skip


def read_accepted(path: Path) -> Accepted:
    """Accepted constants from a CSV file with the columns constant, value, tolerance (may be empty) and source."""
    rows = read_table(path)
    if rows[0][1][:3] != ["constant", "value", "tolerance"]:
        raise BrokenInput(f"{path.name} line {rows[0][0]}: the header must begin with constant,value,tolerance")
    accepted = Accepted(path.stem, path.name, {}, {})
    for line, cells in rows[1:]:
        where = f"{path.name} line {line}"
        if len(cells) < 3:
            raise BrokenInput(f"{where}: {len(cells)} fields where three are needed")
        accepted.value[cells[0]] = number(cells[1], where, "value")
        if cells[2]:
            accepted.tolerance[cells[0]] = number(cells[2], where, "tolerance", 0)
    return accepted


Row = dict[str, Any]
COMPARED = ("w_e", "w_e x_e", "B_e", "alpha_e", "D")  # The B of single levels are judged by B_e and alpha_e.
OUTPUTS = ("constants.csv", "fit.png", "levels.csv", "report.md", "results.json", "spectrum.png")


@dataclass(frozen=True)
class Result:
    """Everything that is known at the end; what follows only puts it into words, tables and pictures."""

    source: Path
    bands: Sequence[Band]
    best: Constants
    spread: Spread
    accepted: Accepted | None

    @property
    def title(self) -> str:
        return self.accepted.molecule if self.accepted else self.source.stem

    def table(self) -> list[Row]:
        """One row a constant, with the accepted value cut in the same way and the verdict where there is one."""
        fair = self.accepted.comparable(self.bands) if self.accepted else {}
        rows: list[Row] = []
        for name, value in self.best.value.items():
            row: Row = {"constant": name, "value_cm1": value, "uncertainty_cm1": self.spread.constants[name]}
            row |= dict.fromkeys(("published_cm1", "comparable_cm1", "difference_cm1", "allowed_cm1", "verdict"))
            if self.accepted and name in fair:
                row |= {"published_cm1": self.accepted.value.get(name), "comparable_cm1": fair[name]}
                row["difference_cm1"] = value - fair[name]
                if name in COMPARED or name.startswith("nu0"):
                    row["allowed_cm1"] = self.accepted.tolerance.get(name, 3 * row["uncertainty_cm1"])
                    row["verdict"] = "pass" if abs(row["difference_cm1"]) <= row["allowed_cm1"] else "fail"
            rows.append(row)
        return rows

    def residuals(self, i: int) -> Array:
        return np.asarray(self.bands[i].nu - rotor_design(self.bands[i].m) @ self.best.fits[i].value)

    def quality(self) -> list[Row]:
        """How well each cubic fits. Neighbouring residuals that are alike (near 1) betray a systematic error."""
        rows: list[Row] = []
        for i, (band, fit) in enumerate(zip(self.bands, self.best.fits, strict=True)):
            left = self.residuals(i)
            likeness = float(left[1:] @ left[:-1]) / max(float(left @ left), 1e-300)
            rows.append({"band": band.name, "lines": len(band.m), "chi2": fit.chi2, "degrees_of_freedom": fit.freedom,
                         "rms_cm1": float(np.sqrt(np.mean(left**2))), "neighbour_likeness": likeness})  # fmt: skip
        return rows

    def levels(self) -> list[Row]:
        """E_n up to the last bound one of this model; only those that a measured band touches are not extrapolated."""
        if not (constants := self.best.oscillator):
            return []
        energy, seen = levels_of(*constants[:2], len(self.spread.levels)), levels_in(self.bands)
        return [{"n": n, "energy_cm1": float(e), "uncertainty_cm1": float(self.spread.levels[n]),
                 "above_ground_cm1": float(e - energy[0]), "measured": "yes" if n in seen else "extrapolated"}
                for n, e in enumerate(energy)]  # fmt: skip


INK, PAPER, GREY, BLUE, RED, GREEN = "#1d2733", "#ffffff", "#8a94a3", "#2458c5", "#d1495b", "#0f8b72"
STYLE: Any = {
    "figure.facecolor": PAPER, "axes.facecolor": PAPER, "savefig.facecolor": PAPER, "text.color": INK, "font.size": 12,
    "axes.labelcolor": INK, "axes.edgecolor": GREY, "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False,
    "axes.spines.right": False, "axes.titlesize": 13, "axes.titleweight": "bold", "axes.titlelocation": "left",
    "axes.grid": True, "grid.color": "#d9dee5", "grid.linewidth": 0.7, "axes.axisbelow": True, "savefig.dpi": 150,
}  # fmt: skip
UNDERLAY = {"fc": PAPER, "ec": "none", "pad": 1.5}


def draw_well(axes: Any, result: Result) -> None:
    """The Morse potential with its levels, their waves, and an arrow for every measured band."""
    axes.set_title("Levels in the well")
    if not (constants := result.best.oscillator):
        axes.text(
            0.5, 0.5, "these bands do not determine\nan anharmonic oscillator", ha="center", transform=axes.transAxes
        )
        return
    grid, seen = MorseGrid(300), levels_in(result.bands)
    energy, wave = np.linalg.eigh(grid.hamiltonian(*constants, 0.0))
    top = max(2, min(max(seen) + 2, len(result.spread.levels)))
    ceiling, well = 1.75 * energy[top - 1] - 0.75 * energy[top - 2], morse(grid.x, *constants)
    left, right = grid.x[well < ceiling][[0, -1]]
    for v in range(top):
        colour = GREEN if v in seen else GREY
        swing = wave[:, v] / wave[np.argmax(np.abs(wave[:, v])), v] * 0.3 * constants[0]
        axes.fill_between(grid.x, energy[v], energy[v] + swing, color=colour, alpha=0.22, lw=0)
        axes.hlines(energy[v], *grid.x[well < energy[v]][[0, -1]], color=colour, lw=2)
        axes.text(right + 0.05, energy[v], f"$E_{{{v}}}$ = {energy[v]:,.0f}", va="center", color=colour, fontsize=11,
                  bbox=UNDERLAY)  # fmt: skip
    axes.plot(grid.x[well < ceiling], well[well < ceiling], color=INK, lw=2.6)
    for i, (band, fit) in enumerate(zip(result.bands, result.best.fits, strict=True)):
        place, ends = 1.0 + 0.08 * (i - (len(result.bands) - 1) / 2), (energy[band.lower], energy[band.upper])
        axes.annotate("", (place, ends[1]), (place, ends[0]), arrowprops={"arrowstyle": "-|>", "color": RED, "lw": 2.4})
        axes.text(place, sum(ends) / 2, f"{fit.value[0]:.1f}", color=RED, rotation=90, va="center", ha="center",
                  fontsize=11, fontweight="bold", bbox=UNDERLAY)  # fmt: skip
    axes.set(xlim=(left - 0.06, right + 0.27), ylim=(0, ceiling), xlabel="$r\\,/\\,r_e$", ylabel="energy, cm$^{-1}$")


def draw_band(axes: Any, band: Band, fit: LeastSquares) -> None:
    """The measured positions as sticks; their heights are Boltzmann's at room temperature, not measured."""
    j = np.where(band.m > 0, band.m - 1, -band.m)
    height = np.abs(band.m) * np.exp(-SECOND_RADIATION_CM_K * fit.value[2] * j * (j + 1) / ROOM_TEMPERATURE_K)
    for branch, colour, side in (("P", BLUE, band.m < 0), ("R", RED, band.m > 0)):
        axes.vlines(band.nu[side], 0, height[side] / height.max(), color=colour, lw=3, label=branch)
    axes.axvline(fit.value[0], color=GREEN, lw=1.6, ls=(0, (4, 3)))
    axes.text(
        fit.value[0], 1.15, f"$\\nu_0$ = {fit.value[0]:.2f}", color=GREEN, ha="center", fontsize=11, bbox=UNDERLAY
    )
    axes.set(ylim=(0, 1.32), yticks=[], xlabel="wavenumber, cm$^{-1}$")
    axes.set_title(f"Band {band.name}: {len(band.m)} lines")
    axes.legend(loc="upper left", frameon=False, ncols=2, handlelength=0.9, columnspacing=0.9)


def draw_fit(axes: Any, result: Result) -> None:
    """Above, the cubic through the lines of each band; below, what it leaves over."""
    for i, (band, fit) in enumerate(zip(result.bands, result.best.fits, strict=True)):
        colour, marker = (BLUE, RED, GREEN, "#b7791f")[i % 4], "osD^"[i % 4]
        m = np.linspace(band.m.min() - 0.5, band.m.max() + 0.5, 300)
        axes[0].plot(m, rotor_design(m) @ fit.value - fit.value[0], color=colour, lw=2)
        axes[0].plot(band.m, band.nu - fit.value[0], marker, color=colour, ms=7, mec=PAPER, label=f"band {band.name}")
        axes[1].errorbar(band.m + 0.12 * i, result.residuals(i), band.sigma, fmt=marker, color=colour, ms=6, mec=PAPER)
    axes[1].axhline(0, color=INK, lw=1)
    axes[0].set(ylabel="$\\nu(m) - \\nu_0$, cm$^{-1}$")
    axes[0].set_title(f"{result.title}: lines and the cubic in m")
    axes[0].legend(frameon=False)
    axes[1].set(xlabel="line number m  (P: m = $-J$,  R: m = $J+1$)", ylabel="residual, cm$^{-1}$")


def draw(result: Result, out: Path) -> None:
    """spectrum.png (the well and up to four bands) and fit.png (the curves and their residuals)."""
    matplotlib.use("Agg")
    from matplotlib import pyplot

    with pyplot.rc_context(STYLE):
        shown = list(range(min(4, len(result.bands))))
        places: Any = [["well", i] for i in shown]
        figure, panels = pyplot.subplot_mosaic(places, figsize=(12, 7), width_ratios=[1, 1.15])
        draw_well(panels["well"], result)
        for i in shown:
            draw_band(panels[i], result.bands[i], result.best.fits[i])
        figure.suptitle(f"{result.title}: a vibrating rotor, measured", x=0.01, ha="left", fontsize=17, weight="bold")
        figure.text(0.99, 0.955, "heights: Boltzmann at 296 K", ha="right", fontsize=10, color=GREY)
        figure.tight_layout()
        figure.savefig(out / "spectrum.png")
        pyplot.close(figure)
        figure, axes = pyplot.subplots(2, 1, figsize=(11, 7.4), sharex=True, height_ratios=[2.1, 1])
        draw_fit(axes, result)
        figure.tight_layout()
        figure.savefig(out / "fit.png")
        pyplot.close(figure)


def digits(value: float, uncertainty: float) -> str:
    """The value with its uncertainty in the last two digits: 10.59118(55)."""
    if not uncertainty > 0:
        return f"{value:.6g}"
    places = max(0, 1 - math.floor(math.log10(uncertainty)))
    return f"{value:.{places}f}({round(uncertainty * 10**places)})"


def own(row: Row) -> str:
    return digits(row["value_cm1"], row["uncertainty_cm1"])


REPORT = r"""# {title}: constants from {file}

{lines} lines in {bands} bands. Each band was fitted to $\nu(m) = \nu_0 + (B' + B'')\,m + (B' - B'')\,m^2 - 4Dm^3$,
the bands together to $G(v) = \omega_e (v + \tfrac12) - \omega_e x_e (v + \tfrac12)^2$ and
$B_v = B_e - \alpha_e (v + \tfrac12)$.

| constant | this work, cm-1 | comparable | published | difference | allowed | |
|---|---|---|---|---|---|---|
{constants}

| band | lines | chi-squared / degrees of freedom | rms residual, cm-1 | likeness of neighbouring residuals |
|---|---|---|---|---|
{quality}

![The potential well with its levels, and the lines of each band as sticks](spectrum.png)

![The lines of each band against m with their cubic, and the residuals below](fit.png)

## How far to trust this

* Uncertainties are one standard deviation over a residual bootstrap. They are *relative*: they hold the scatter of the
  lines, not an error of the wavenumber scale, which moves every line together. Where neighbouring residuals are alike
  (last column well above zero) errors are not independent, and these uncertainties are too small.
* The formulas stop after the quadratic term of G and the linear term of B and absorb what follows. *Comparable* holds
  the accepted constants pushed through the same cut formulas; only it may be compared with this work.
* One D for both levels of a band is assumed, which biases B' - B''. Bands of this extent test alpha_e to 1 % at best.
{rest}
{source}
"""


def report(result: Result) -> str:
    """What was found, how far it can be trusted, and why, in words for a notebook."""
    rows, spread, rest = result.table(), result.spread, ""
    forms = {
        "comparable_cm1": ".7g",
        "published_cm1": ".7g",
        "difference_cm1": "+.2g",
        "allowed_cm1": ".2g",
        "verdict": "",
    }
    table = [[r["constant"], own(r), *(format(r[k], f) if r[k] else "" for k, f in forms.items())] for r in rows]
    fit = "{band} | {lines} | {chi2:.1f} / {degrees_of_freedom} | {rms_cm1:.4f} | {neighbour_likeness:.2f}"
    origins = [r for r in rows if r["verdict"] and r["constant"].startswith("nu0")]
    if origins:
        shifts = ", ".join(f"{r['difference_cm1']:+.2f} cm-1 at {r['constant'][4:]}" for r in origins)
        rest += f"* Scale: against the accepted origins these lines lie at {shifts}. A shift far above the\n"
        rest += (
            "  uncertainty that grows with the wavenumber is a calibration bias. It is stated and bounds *allowed*.\n"
        )
    if (constants := result.best.oscillator) and spread.rotor.size:
        (b, d), limit = spread.rotor_mean, constants[0] ** 2 / (4 * constants[1])
        rest += f"* Levels beyond the bands are extrapolated; the limit {limit:,.0f} cm-1 is usually far too high.\n\n"
        rest += (
            "## Does one Morse potential explain it all?\n\nMade from w_e, w_e x_e and B_e alone, solved on a grid, "
        )
        rest += (
            f"it has D_0 = {digits(d[0], spread.rotor[1, 0])} and B_0 - B_1 = {b[0] - b[1]:.4f} cm-1;\nthe lines say "
        )
        rest += f"D = {own(rows[-1])}, alpha_e = {own(rows[-2])}. Where these differ, the well is not quite Morse's.\n"
    return REPORT.format(
        title=result.title,
        file=result.source.name,
        lines=sum(len(b.m) for b in result.bands),
        bands=len(result.bands),
        constants="\n".join(f"| {' | '.join(row)} |" for row in table),
        quality="\n".join(f"| {fit.format(**row)} |" for row in result.quality()),
        rest=rest,
        source=f"Accepted values: {result.accepted.source}." if result.accepted else "No accepted values given.",
    )


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.8g}" if isinstance(v, float) else v for k, v in r.items()} for r in rows)


def write(result: Result, out: Path) -> None:
    rows, levels = result.table(), result.levels()
    write_csv(out / "constants.csv", rows)
    if levels:
        write_csv(out / "levels.csv", levels)
    (out / "report.md").write_text(report(result), encoding="utf-8")
    verdicts = {r["verdict"] for r in rows}
    data = {
        "molecule": result.accepted.molecule if result.accepted else None,
        "input": {"file": result.source.name, "sha256": hashlib.sha256(result.source.read_bytes()).hexdigest()},
        "verdict": "fail" if "fail" in verdicts else "pass" if "pass" in verdicts else "no accepted values given",
        "accepted_source": result.accepted.source if result.accepted else None,
        "constants": rows, "fits": result.quality(), "levels": levels,
               "morse_rotor": dict(zip(("B_v_cm1", "D_v_cm1"), result.spread.rotor_mean.tolist(), strict=True)),
        "made_with": {"python": platform.python_version(), "numpy": np.__version__},
    }  # fmt: skip
    (out / "results.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def find(name: str) -> Path:
    """An input as given, or beside this script, where a job's inputs may lie."""
    beside = Path(__file__).resolve().parent
    return next((p for p in (Path(name), beside / name, beside / "data" / name) if p.is_file()), Path(name))


def analyse(source: Path, out: Path, accepted: Accepted | None, resamples: int, seed: int) -> None:
    step(1, f"reading {source.name}")
    bands = read_lines(source)
    step(2, "fitting the vibrating rotor to each band")
    best = constants_of(bands)
    for band, fit in zip(bands, best.fits, strict=True):
        say(f"  {band.name}: {len(band.m)} lines, nu0 = {fit.value[0]:.3f} cm-1, chi2 = {fit.chi2:.1f} / {fit.freedom}")
    step(3, f"fitting the anharmonic oscillator over {len(bands)} bands")
    for name in (name for name in COMPARED if name in best.value):
        say(f"  {name} = {best.value[name]:.6g} cm-1")
    if not best.bound:
        say("  no bound anharmonic oscillator follows from these bands: no levels, no potential")
    step(4, f"{resamples} bootstrap resamples, the Morse rotor solved in each")
    result = Result(source, bands, best, bootstrap(bands, best, resamples, seed), accepted)
    step(5, f"comparing with {accepted.molecule if accepted else 'nothing: no accepted values given'}")
    for row in (row for row in result.table() if row["verdict"]):
        say(f"  {row['verdict']}  {row['constant']} = {own(row)}, comparable {row['comparable_cm1']:.7g}, off by "
            f"{row['difference_cm1']:+.2g} (allowed {row['allowed_cm1']:.2g}) cm-1")  # fmt: skip
    out.mkdir(parents=True, exist_ok=True)
    step(6, "drawing")
    draw(result, out)
    step(7, "writing tables and the report")
    write(result, out)
    step(8, f"done: {', '.join(name for name in OUTPUTS if (out / name).exists())}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when the analysis was carried out, whatever it found; 2 when the input is broken."""
    parser = argparse.ArgumentParser(prog="analysis.py", description="Constants of a diatomic molecule from its lines")
    parser.add_argument("lines", nargs="?", default="hcl_lines.csv", help=f"CSV with {', '.join(COLUMNS)}")
    parser.add_argument("--out", default=".", help="where the results go (default: here)")
    parser.add_argument("--accepted", help="CSV of accepted constants: constant,value,tolerance")
    parser.add_argument("--bootstrap", type=int, default=600, metavar="N", help="resamples, 2 to 100000 (default 600)")
    parser.add_argument("--seed", type=int, default=1, help="of the resampling (default 1)")
    options = parser.parse_args(arguments)
    if not 2 <= options.bootstrap <= 100_000 or options.seed < 0:
        parser.error("--bootstrap must be from 2 to 100000 and --seed at least 0")
    try:
        source = find(options.lines)
        known = KNOWN.get(source.stem.lower().split("_")[0])
        accepted = read_accepted(find(options.accepted)) if options.accepted else known
        analyse(source, Path(options.out), accepted, options.bootstrap, options.seed)
    except BrokenInput as error:
        sys.stderr.write(f"analysis.py: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
