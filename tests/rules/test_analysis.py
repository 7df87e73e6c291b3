"""The bundled analysis: against published constants, against a molecule of our own making, and on bad input."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from hub.demo import analysis
from hub.jobs import progress

pytestmark = pytest.mark.slow

SCRIPT = Path(analysis.__file__)
HCL = SCRIPT.parent / "data" / "hcl_lines.csv"
HEADER = "band,branch,J_lower,wavenumber_cm1,uncertainty_cm1\n"
CO = {"w_e": 2169.8136, "w_e x_e": 13.28831, "B_e": 1.931281, "alpha_e": 0.01750441, "D": 6.1215e-6}


def carbon_monoxide(bands: Sequence[tuple[int, int]] = ((1, 0), (2, 0), (2, 1)), noise: float = 0.0) -> str:
    """Lines of a molecule that obeys our formulas exactly, with CO's constants."""
    rng = np.random.default_rng(7)

    def term(v: int, j: int) -> float:
        b, n = CO["B_e"] - CO["alpha_e"] * (v + 0.5), j * (j + 1)
        return CO["w_e"] * (v + 0.5) - CO["w_e x_e"] * (v + 0.5) ** 2 + b * n - CO["D"] * n**2

    rows = []
    for upper, lower in bands:
        for branch, step in (("P", -1), ("R", +1)):
            for j in range(1 if branch == "P" else 0, 21):
                nu = term(upper, j + step) - term(lower, j) + noise * rng.standard_normal()
                rows.append(f"{upper}-{lower},{branch},{j},{nu:.8f},0.0005")
    return HEADER + "\n".join(rows) + "\n"


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests are about numbers, and drawing takes a second."""
    monkeypatch.setattr(analysis, "draw", lambda *_: None)


def run(folder: Path, text: str | bytes, *options: str, name: str = "co_lines.csv") -> dict[str, Any]:
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    out = folder / "out"
    assert analysis.main([str(folder / name), "--out", str(out), "--bootstrap", "6", *options]) == 0
    found: dict[str, Any] = json.loads((out / "results.json").read_text())
    return found


def constants(results: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["constant"]: row for row in results["constants"]}


@pytest.fixture(scope="module")
def hcl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The outputs of the job as it is run: a plain file and its input in a folder of their own."""
    folder = tmp_path_factory.mktemp("job")
    for source in (SCRIPT, HCL):
        (folder / source.name).write_bytes(source.read_bytes())
    done = subprocess.run(
        [sys.executable, "-I", "analysis.py", "hcl_lines.csv", "--bootstrap", "20"],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    (folder / "log").write_text(done.stdout)
    return folder


def test_hydrogen_chloride_agrees_with_the_accepted_constants_within_the_stated_bias(hcl: Path) -> None:
    results = json.loads((hcl / "results.json").read_text())
    found = constants(results)
    assert results["verdict"] == "pass"
    assert found["nu0 1-0"]["value_cm1"] == pytest.approx(2886.207, abs=0.002)
    assert found["nu0 2-0"]["value_cm1"] == pytest.approx(5668.740, abs=0.002)
    assert found["w_e"]["value_cm1"] == pytest.approx(2989.88, abs=0.01)
    assert found["w_e x_e"]["value_cm1"] == pytest.approx(51.84, abs=0.01)
    assert found["B_e"]["value_cm1"] == pytest.approx(10.593416, abs=0.005)
    assert found["alpha_e"]["value_cm1"] == pytest.approx(found["alpha_e"]["comparable_cm1"], rel=0.01)
    assert found["D"]["value_cm1"] == pytest.approx(5.16e-4, abs=3e-6)
    assert all(fit["rms_cm1"] < 0.02 for fit in results["fits"])


def test_the_bias_of_the_scale_is_named_and_not_corrected_away(hcl: Path) -> None:
    found = constants(json.loads((hcl / "results.json").read_text()))
    assert found["nu0 1-0"]["difference_cm1"] == pytest.approx(0.23, abs=0.01)
    assert found["nu0 2-0"]["difference_cm1"] == pytest.approx(0.76, abs=0.01)
    report = (hcl / "report.md").read_text()
    for words in (
        "calibration bias",
        "*relative*",
        "+0.23 cm-1 at 1-0",
        "+0.76 cm-1 at 2-0",
        "1 % at best",
        "quadratic term",
    ):
        assert words in report


def test_accepted_constants_are_cut_like_ours_before_they_are_compared(hcl: Path) -> None:
    found = constants(json.loads((hcl / "results.json").read_text()))
    assert found["w_e"]["published_cm1"] == 2990.9463
    assert found["w_e"]["comparable_cm1"] == pytest.approx(2989.947, abs=0.002)
    assert found["w_e x_e"]["comparable_cm1"] == pytest.approx(51.985, abs=0.001)


def test_the_job_leaves_tables_figures_and_a_log_with_progress(hcl: Path) -> None:
    log = (hcl / "log").read_text()
    assert [int(n) for n in re.findall(r"^step (\d)/8 ", log, re.M)] == list(range(1, 9))
    assert log.count("bootstrap ") >= 10
    assert "bootstrap 20/20" in log
    bar = [seen.fraction for line in log.splitlines() if (seen := progress.read(line.encode()))]
    assert bar == sorted(bar)
    assert bar[-1] == 1
    with (hcl / "levels.csv").open() as file:
        levels = list(csv.DictReader(file))
    assert [row["measured"] for row in levels[:4]] == ["yes", "yes", "yes", "extrapolated"]
    assert float(levels[1]["above_ground_cm1"]) == pytest.approx(2886.2076, abs=0.001)
    energies = [float(row["energy_cm1"]) for row in levels]
    assert energies == sorted(energies)
    for figure in ("spectrum.png", "fit.png"):
        with Image.open(hcl / figure) as image:
            assert image.width >= 1600
            assert image.convert("L").resize((64, 64)).getpixel((63, 63)) > 240


@pytest.mark.usefixtures("undrawn")
def test_the_same_seed_gives_the_same_numbers(tmp_path: Path) -> None:
    first = run(tmp_path, HCL.read_bytes(), name="hcl_lines.csv")
    again = run(tmp_path, HCL.read_bytes(), name="hcl_lines.csv")
    other = run(tmp_path, HCL.read_bytes(), "--seed", "2", name="hcl_lines.csv")
    assert first == again
    assert first["constants"][0]["uncertainty_cm1"] != other["constants"][0]["uncertainty_cm1"]


@pytest.mark.usefixtures("undrawn")
def test_another_molecule_gives_back_the_constants_its_lines_were_made_from(tmp_path: Path) -> None:
    results = run(tmp_path, carbon_monoxide())
    found = constants(results)
    assert results["verdict"] == "no accepted values given"
    assert "No accepted values given" in (tmp_path / "out" / "report.md").read_text()
    for name, value in CO.items():
        assert found[name]["value_cm1"] == pytest.approx(value, rel=1e-5), name
    assert {fit["band"] for fit in results["fits"]} == {"1-0", "2-0", "2-1"}


def test_noise_gives_an_uncertainty_of_its_own_size(tmp_path: Path) -> None:
    (tmp_path / "co_lines.csv").write_text(carbon_monoxide(noise=0.0005))
    bands = analysis.read_lines(tmp_path / "co_lines.csv")
    best = analysis.constants_of(bands)
    spread = analysis.bootstrap(bands, best, 24, 1)
    for name, true in CO.items():
        sigma = spread.constants[name]
        assert abs(best.value[name] - true) < 6 * sigma, name
        assert sigma < 0.01 * abs(true)


@pytest.mark.usefixtures("undrawn")
def test_accepted_constants_of_another_molecule_come_from_a_file(tmp_path: Path) -> None:
    accepted = tmp_path / "carbon monoxide.csv"
    rows = [f"{name},{value},{abs(value) * 1e-4}" for name, value in CO.items()]
    accepted.write_text("constant,value,tolerance\n" + "\n".join(rows) + "\n")
    assert run(tmp_path, carbon_monoxide(), "--accepted", str(accepted))["verdict"] == "pass"
    accepted.write_text("constant,value,tolerance\n" + "\n".join(rows).replace("2169.8136", "2170.9") + "\n")
    results = run(tmp_path, carbon_monoxide(), "--accepted", str(accepted))
    assert results["verdict"] == "fail"
    assert constants(results)["B_e"]["verdict"] == "pass"


def test_one_band_gives_what_one_band_can_give(tmp_path: Path) -> None:
    results = run(tmp_path, carbon_monoxide([(1, 0)]))
    found = constants(results)
    assert "w_e" not in found
    assert found["B_e"]["value_cm1"] == pytest.approx(CO["B_e"], rel=1e-6)
    assert results["levels"] == []
    assert not (tmp_path / "out" / "levels.csv").exists()


def test_the_grid_knows_the_exact_levels_of_the_morse_oscillator() -> None:
    w, wx, b = 2989.88, 51.84, 10.59
    energy = np.linalg.eigvalsh(analysis.MorseGrid(180).hamiltonian(w, wx, b, 0.0))[:6]
    assert energy == pytest.approx(analysis.levels_of(w, wx, 6), abs=1e-6)
    b0, d0 = analysis.MorseGrid(180).rotor(w, wx, b, 1)[:, 0]
    assert b0 == pytest.approx(b - 0.5 * (6 * (wx * b**3) ** 0.5 / w - 6 * b**2 / w), abs=0.01)  # Pekeris
    assert d0 == pytest.approx(4 * b**3 / w**2, rel=0.02)  # Kratzer


GOOD = carbon_monoxide([(1, 0)])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "line 1: the file is empty"),
        ("band,branch\n", "line 1: the header lacks J_lower, wavenumber_cm1, uncertainty_cm1"),
        (HEADER, "a header and no lines"),
        (HEADER + "1-0,R,0,2147.1\n", "line 2: 4 fields where the header has 5"),
        (HEADER + "0-1,R,0,2147.1,0.1\n", "line 2: band '0-1' is not upper-lower"),
        (HEADER + "1-0,Q,0,2147.1,0.1\n", "line 2: branch 'Q' is neither P nor R"),
        (HEADER + "1-0,P,0,2147.1,0.1\n", "line 2: P(0) does not exist"),
        (HEADER + "1-0,R,1.5,2147.1,0.1\n", "line 2: J_lower '1.5' is not a whole number"),
        (HEADER + "1-0,R,0,fast,0.1\n", "line 2: wavenumber_cm1 'fast' is not a number"),
        (HEADER + "1-0,R,0,nan,0.1\n", "line 2: wavenumber_cm1 'nan' is not a number"),
        (HEADER + "1-0,R,0,1e300,0.1\n", "line 2: wavenumber_cm1 must be from 1 to 100000"),
        (HEADER + "1-0,R,0,2147.1,0\n", "line 2: uncertainty_cm1 must be from"),
        (HEADER + "\n# note\n1-0,R,0,2147.1,0.1\n1-0,R,0,2147.1,0.1\n", "line 5: R(0) of band 1-0 is given twice"),
        ("\n".join(GOOD.splitlines()[:4]), "band 1-0 has 3 lines, its fit needs 5"),
        (HEADER.encode() + b"1-0,R,0,\xff,0.1\n", "line 2: not UTF-8 text"),
        (HEADER + '1-0,R,0,"' + "9" * 200_000 + '",0.1\n', "line 2: field larger than field limit"),
    ],
)  # fmt: skip
def test_broken_input_is_refused_with_its_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | bytes, complaint: str
) -> None:
    path = tmp_path / "lines.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    assert analysis.main([str(path), "--out", str(tmp_path / "out"), "--bootstrap", "2"]) == 2
    assert f"analysis.py: lines.csv {complaint}".replace("csv a", "csv: a").replace("csv band", "csv: band") in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert analysis.main(["nowhere.csv"]) == 2
    assert "nowhere.csv: cannot be read (No such file or directory)" in capsys.readouterr().err


@given(
    st.binary(max_size=400)
    | st.text(alphabet=",-0123456789PRx.\n\"'", max_size=400).map(lambda t: (HEADER + t).encode())
)
def test_any_bytes_are_read_or_refused_in_words(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.csv"
    path.write_bytes(data)
    try:
        analysis.read_lines(path)
    except analysis.BrokenInput as broken:
        assert str(broken).startswith("any.csv")
