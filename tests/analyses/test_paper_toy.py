import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from analyses.paper_toy import published
from analyses.paper_toy.__main__ import main
from analyses.paper_toy.experiments import TOYS, published_bce_line, published_line
from analyses.paper_toy.landscape import landscape
from analyses.paper_toy.lines import Line, linear_cut_curve
from analyses.paper_toy.measures import background_efficiencies, peak, published_row
from analyses.paper_toy.population import minimum, outputs, population_loss, rise, valley
from analyses.paper_toy.training import (
    Samples,
    Schedule,
    linear_parameters,
    start_at,
    train,
    unweighted_bce,
)
from analyses.paper_toy.trajectories import Trajectory, closest_approach, distance
from analyses.toys import PAPER_CASE_1, PAPER_CASE_2
from zsig_hep.errors import TrainingError
from zsig_hep.learning import ZLoss

TINY = ["--seeds", "2", "--events", "600", "--effort", "0.01", "--points", "60"]
BALANCED = (2.0, -0.12, -5.14)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paper_toy") / "out"
    main(["--output", str(folder), *TINY])
    return folder


@pytest.mark.slow
def test_the_command_writes_figures_and_tables(output):
    names = ("boundaries", "landscapes", "efficiencies_case_1", "efficiencies_case_2", "collapse", "eps_working_point")
    for name in names:
        assert (output / f"{name}.png").stat().st_size > 5000
        assert (output / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    assert "BCE, as published | 4.22" in (output / "tables.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_numbers_of_the_command_are_sane(output):
    found = json.loads((output / "results.json").read_text(encoding="utf-8"))
    for toy in TOYS:
        rows = {row["label"]: row for row in found["selections"][toy.name]}
        limit = rows["likelihood ratio"]
        assert limit["significances"][2]["mean"] == pytest.approx({"1": 11.17, "2": 5.075}[toy.name[-1]], rel=2e-3)
        exact = ("linear, weighted BCE", "Z line of the paper, exact", "best linear cut")
        for best, name in ((best, name) for name in exact for best in (limit, rows["best linear cut"])):
            for mine, bound in zip(rows[name]["significances"], best["significances"], strict=True):
                assert 0 < mine["mean"] <= bound["mean"] * 1.002
        assert "MLP, weighted BCE" in rows
    assert found["minima"]["paper case 1"][-1]["loss"] == pytest.approx(1)
    assert found["corners"]["hinge"] == pytest.approx(published.CORNERS["hinge"])


def test_the_readme_shows_the_figure_of_the_command():
    folder = Path(__file__).parents[2] / "analyses" / "paper_toy"
    assert (folder / "eps_working_point.png").stat().st_size < 80_000
    assert "(eps_working_point.png)" in (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("error", published.CORNERS)
def test_golden_corners_of_the_landscapes(error):
    assert landscape(error, 5).corners == pytest.approx(published.CORNERS[error], rel=1e-5)


def test_landscape_between_the_corners():
    hinge = landscape("hinge", 5)
    # F1 = 0, F2 = -1: only the signal event errs, m = 1, and costs the whole loss.
    assert hinge.loss[2, 1] == pytest.approx(1)
    # F1 = 1, F2 = 0: only the background event errs, m = 1: 1 - 1 / sqrt(11).
    assert hinge.loss[3, 2] == pytest.approx(1 - 1 / math.sqrt(11))


def test_published_lines_are_drawn_where_the_paper_has_them():
    for toy in TOYS:
        line = published_line(toy)
        assert (line.slope, line.intercept) == pytest.approx(published.Z_LINES[toy.name])
        assert 0.4 < line.signal_efficiency(toy) < 0.5, "the signal lies across the boundary"
        heavy = int(np.argmax(toy.yields))
        assert toy.centres[heavy] @ line.normal < line.offset, "the large background lies behind the boundary"
    assert (published_bce_line().slope, published_bce_line().intercept) == pytest.approx(published.BCE_LINE)


def test_curves_of_lines_are_those_of_the_quadrature():
    line = published_line(PAPER_CASE_1)
    exact = line.curve(PAPER_CASE_1)
    grid = PAPER_CASE_1.curve_of(lambda points: points @ line.normal, 400)
    np.testing.assert_allclose(exact.significance_at([0.3, 0.7]), grid.significance_at([0.3, 0.7]), rtol=3e-3)
    total, true = background_efficiencies(PAPER_CASE_1, exact, published.ROC_EFFICIENCIES)
    np.testing.assert_allclose(total, published.TOTAL_BACKGROUND["Z loss"], rtol=0.04)
    np.testing.assert_allclose(true, published.TRUE_BACKGROUND["Z loss"], rtol=0.25)


def test_no_line_beats_the_curve_of_best_linear_cuts():
    best = linear_cut_curve(PAPER_CASE_2).significance_at([0.1, 0.5, 0.9])
    for angle in np.radians([-10, 13.9, 21.7, 40]):
        assert np.all(Line(angle, 0.0).curve(PAPER_CASE_2).significance_at([0.1, 0.5, 0.9]) <= best * 1.002)


def test_peak_demands_signal_and_background():
    point = peak(PAPER_CASE_1.likelihood_ratio_curve(1.0, 300))
    assert sum(point.background_yields) >= 5
    assert point.signal_efficiency >= 0.05


def test_population_loss_is_the_loss_of_many_events():
    parameters = torch.tensor(BALANCED, dtype=torch.float64)
    events = PAPER_CASE_1.draw(200_000, np.random.default_rng(0))
    scores = torch.tensor(events.features @ np.array(BALANCED[:2]) + BALANCED[2])
    loss = ZLoss(0.05)
    sampled = loss(scores, torch.tensor(events.is_signal), torch.tensor(events.weight))
    assert population_loss(PAPER_CASE_1, parameters, loss).item() == pytest.approx(sampled.item(), rel=5e-3)
    stacked = torch.stack([parameters, 2 * parameters])
    assert outputs(PAPER_CASE_1, stacked).shape[0] == 2
    assert population_loss(PAPER_CASE_1, stacked, loss)[0] == population_loss(PAPER_CASE_1, parameters, loss)


def test_eps_equal_to_the_signal_has_no_minimum_but_zero():
    found = minimum(PAPER_CASE_1, 300 / 303000, BALANCED)
    assert found.loss == pytest.approx(1, abs=1e-4)
    assert found.line is None
    for toy in TOYS:
        least = rise(toy, valley(toy, 300.0), 300.0)
        assert 0.3 < least < rise(toy, published_line(toy), 300.0)


def test_a_larger_eps_has_a_minimum():
    found = minimum(PAPER_CASE_1, 0.05, BALANCED)
    assert found.loss == pytest.approx(0.6331, abs=5e-4)
    assert found.line is not None
    assert math.degrees(found.line.angle) == pytest.approx(-42.0, abs=0.3)
    assert found.line.signal_efficiency(PAPER_CASE_1) == pytest.approx(0.876, abs=3e-3)


def test_linear_parameters_are_those_of_the_outputs():
    samples = Samples.draw(TOYS, 2, 50).standardised()
    network = samples.network((), 2)
    points = torch.tensor([[1.0, 2.0], [4.0, 7.0]])
    parameters = linear_parameters(network, samples)
    expected = parameters[:, :2] @ points.numpy().T + parameters[:, 2:]
    np.testing.assert_allclose(samples.scores(network, points).numpy(), expected, rtol=1e-4, atol=1e-5)
    raw = Samples.draw(TOYS, 2, 50)
    started = start_at(raw.network((), 2), parameters)
    np.testing.assert_allclose(linear_parameters(started, raw), parameters, rtol=1e-6)
    with pytest.raises(TrainingError, match="1 hidden layers"):
        linear_parameters(samples.network((3,), 2), samples)


def test_training_moves_a_copy_and_each_case_has_its_yields():
    samples = Samples.draw(TOYS, 1, 300).standardised()
    np.testing.assert_array_equal(samples.yields.numpy(), [[300, 3000, 300000], [300, 300000, 3000]])
    start = samples.network((), 1)
    before = linear_parameters(start, samples)
    steps: list[int] = []
    trained = train(start, samples, unweighted_bce, Schedule(5, 0.1, batch=60), lambda step, _: steps.append(step))
    np.testing.assert_array_equal(linear_parameters(start, samples), before)
    assert not np.allclose(linear_parameters(trained, samples), before)
    assert steps == [0, 1, 2, 3, 4]
    assert Schedule(10, 0.1).rate(10) == pytest.approx(0)
    assert Schedule(10, 0.1, decays=False).rate(9) == 0.1


def test_closest_approach_ignores_collapsed_outputs():
    target = published_line(PAPER_CASE_2)
    exact = np.array([*target.normal, -target.offset])
    other = np.array([1.0, 0.0, -4.0])
    steps = np.arange(3)
    found = closest_approach(PAPER_CASE_2, Trajectory(steps, np.stack([other, 0.5 * exact, 1e-3 * exact])), target)
    assert (found.step, found.passes) == (1, True)
    assert found.distance == pytest.approx(0, abs=1e-9)
    shrunk = closest_approach(
        PAPER_CASE_2, Trajectory(steps, np.stack([other, 1e-3 * exact, 0 * exact + 1e-6])), target
    )
    assert (shrunk.step, shrunk.passes) == (0, False)


def test_distance_counts_angle_and_position():
    line = Line(0.0, 4.0)
    assert distance(PAPER_CASE_1, line, Line(math.radians(10), 0.0)) >= 2
    assert distance(PAPER_CASE_1, line, Line(2 * math.pi, 4.0)) == pytest.approx(0, abs=1e-9)
    shifted = distance(PAPER_CASE_1, line, Line(0.0, 4.1))
    assert shifted == pytest.approx(0.0398 / 0.05, rel=1e-2), "a tenth of a standard deviation at the median"


def test_published_values_have_no_spread():
    row = published_row("BCE")
    assert (row.peak.mean, row.peak.deviation) == (4.216, None)
