import numpy as np
import pytest

from tests.selection.exact_yields import exact_yields
from zsig_hep.selection import ScoredEvents, WorkingPointSettings, evaluate_classifier, simulation_caveats
from zsig_hep.selection.thresholds import caveats
from zsig_hep.statistics.significance import asimov


def evaluated(tail_of_top, settings, n=3000):
    """Signal high, Drell-Yan low in the score; top pairs of large weight low but for a few events."""
    generator = np.random.default_rng(0)
    top = np.concatenate([generator.uniform(0.0, 0.4, 300 - tail_of_top), generator.uniform(0.9, 1.0, tail_of_top)])
    score = np.concatenate([generator.beta(8, 2, n), generator.beta(2, 5, n), top])
    events = ScoredEvents.from_arrays(
        score,
        np.repeat([30 / n, 2000 / n, 1000 / 300], [n, n, 300]),
        np.repeat([0, 1, 2], [n, n, 300]),
        names=("signal", "dy", "top"),
        roles=("signal", "background", "background"),
        fold=generator.integers(0, 5, 2 * n + 300),
    )
    return evaluate_classifier("z", "Z loss", events, settings)


def test_a_dominant_background_that_runs_out_is_named_as_the_limit():
    settings = exact_yields(minimum_effective_background=20)
    (sentence, *_) = simulation_caveats(evaluated(0, settings), settings)
    assert sentence.startswith("Z loss: the working point is limited by the simulation of background 'top'")
    assert "0.0 effective entries of this background, and 20 are required" in sentence


def test_only_a_notable_gain_is_worth_a_sentence(monkeypatch):
    settings = exact_yields(minimum_effective_background=20)
    evaluation = evaluated(0, settings)
    scan = evaluation.scan
    # With 20 effective entries of the whole background, whatever is left of the top pairs.
    free = scan.significance[scan.effective_background >= 20].max()
    gain = free / scan.significance[scan.qualifies].max()
    for notable, said in ((gain * (1 - 1e-9), True), (gain * (1 + 1e-9), False)):
        monkeypatch.setattr(caveats, "NOTABLE_GAIN", notable)
        sentences = simulation_caveats(evaluation, settings)
        assert any("is limited by the simulation" in sentence for sentence in sentences) is said
        assert not said or f"Z = {free:.2f}" in sentences[0]


@pytest.mark.parametrize("tail", [0, 1, 2])
def test_a_background_that_hardly_passes_is_weighed(tail):
    settings = exact_yields(minimum_effective_background=20, dominant_background_fraction=0.9)
    evaluation = evaluated(tail, settings)
    point = evaluation.working_point
    assert point.yields["top"].entries == tail
    (sentence,) = simulation_caveats(evaluation, settings)
    worse = asimov(point.signal.value, point.background.value + 1000 / 300)
    assert f"simulated events of 'top' that pass the cuts: {tail}; one more, of mean weight 3.33," in sentence
    assert sentence.endswith(f"from {point.significance:.2f} to {worse:.2f}")


def test_ample_simulation_needs_no_caveat():
    settings = exact_yields(minimum_effective_background=20, dominant_background_fraction=0.9)
    evaluation = evaluated(3, settings)
    assert evaluation.working_point.yields["top"].entries == 3
    assert simulation_caveats(evaluation, settings) == ()


def test_one_more_event_adds_to_the_variance_too():
    settings = WorkingPointSettings(
        figure_of_merit="s_over_sqrt_b_with_uncertainty",
        simulation_uncertainty_in_figure=True,
        minimum_effective_background=20,
        dominant_background_fraction=0.9,
    )
    evaluation = evaluated(1, settings)
    point = evaluation.working_point
    s, b, weight = point.signal.value, point.background, 1000 / 300
    worse = s / np.sqrt(b.value + weight + b.variance + weight**2)
    assert simulation_caveats(evaluation, settings)[-1].endswith(f"to {worse:.2f}")


def test_without_a_working_point_its_status_says_why():
    settings = WorkingPointSettings(minimum_effective_background=1e6)
    evaluation = evaluated(5, settings)
    assert evaluation.working_point.status != "ok"
    assert simulation_caveats(evaluation, settings) == ()
