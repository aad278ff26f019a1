import numpy as np
import pytest

from zsig_hep.selection import ScoredEvents, WorkingPointSettings, evaluate_classifier, simulation_caveats
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
    settings = WorkingPointSettings(minimum_effective_background=20)
    (sentence, *_) = simulation_caveats(evaluated(0, settings), settings)
    assert sentence.startswith("Z loss: the working point is limited by the simulation of background 'top'")
    assert "0.0 effective entries of it, 20 being required" in sentence


@pytest.mark.parametrize("tail", [0, 1])
def test_a_background_that_hardly_passes_is_weighed(tail):
    settings = WorkingPointSettings(minimum_effective_background=20, dominant_background_fraction=0.9)
    evaluation = evaluated(tail, settings)
    point = evaluation.working_point
    assert point.yields["top"].entries == tail
    (sentence,) = simulation_caveats(evaluation, settings)
    worse = asimov(point.signal.value, point.background.value + 1000 / 300)
    assert f"simulated events of 'top' that pass the cuts: {tail}; one more, of mean weight 3.33," in sentence
    assert sentence.endswith(f"from {point.significance:.2f} to {worse:.2f}")


def test_ample_simulation_needs_no_caveat():
    settings = WorkingPointSettings(minimum_effective_background=5, dominant_background_fraction=0.9)
    assert simulation_caveats(evaluated(20, settings), settings) == ()


def test_without_a_working_point_its_status_says_why():
    settings = WorkingPointSettings(minimum_effective_background=1e6)
    evaluation = evaluated(5, settings)
    assert evaluation.working_point.status != "ok"
    assert simulation_caveats(evaluation, settings) == ()
