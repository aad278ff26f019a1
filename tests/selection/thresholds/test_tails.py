"""Tails of backgrounds for the choice of a cut: a power law in the signal efficiency, never below what was counted."""

import numpy as np
import pytest

from zsig_hep.selection import ScoredEvents, WorkingPointSettings, choose_working_point, scan_thresholds
from zsig_hep.selection.thresholds.tails import with_thick_tails
from zsig_hep.statistics import ProcessTable

PROCESSES = ProcessTable(("higgs", "dy", "top"), ("signal", "background", "background"))


def power_laws(*exponents, events=4000, seed=1, scale=1.0):
    """Yields above every score for backgrounds that fall as powers of the signal efficiency, and the efficiencies."""
    rng = np.random.default_rng(seed)
    share = [rng.random(20_000), *(rng.random(events) ** (1 / power) for power in exponents)]
    score = np.concatenate([1 - each for each in share])
    process = np.repeat(np.arange(len(share)), [len(each) for each in share])
    order = np.argsort(score)
    member = (process[order] == np.arange(len(share))[:, None]).astype(float)
    weight = np.array([0.01, 2.0, 5.0])[: len(share), None] * scale
    yields, variances = (np.cumsum((member * each)[:, ::-1], axis=1)[:, ::-1] for each in (weight, weight**2))
    return yields, variances


@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_a_power_law_is_continued(power):
    yields, variances = power_laws(power, 3.0)
    found = []
    for seed in range(40):
        yields, variances = power_laws(power, 3.0, seed=seed)
        raised, spread = with_thick_tails(yields, variances, PROCESSES, 30)
        anchor = np.flatnonzero(yields[1] >= 60)[-1]
        efficiency = yields[0] / yields[0, 0]
        at = np.flatnonzero(efficiency >= efficiency[anchor] / 3)[-1]
        found.append((raised[1, at], np.sqrt(spread[1, at]), 8000.0 * efficiency[at] ** power))
    value, error, truth = np.mean(found, axis=0)
    # The larger of what is continued and what was counted is above the truth on average.
    assert 0.95 * truth <= value <= 1.5 * truth
    assert np.std([one / exact for one, _, exact in found]) < 1.5 * error / truth


def test_before_the_anchor_and_of_signals_nothing_changes():
    yields, variances = power_laws(2.0, 3.0)
    raised, spread = with_thick_tails(yields, variances, PROCESSES, 30)
    for row, weight in ((1, 2.0), (2, 5.0)):
        before = yields[row] >= 30 * weight
        assert np.array_equal(raised[row, before], yields[row, before])
        assert np.array_equal(spread[row, before], variances[row, before])
        assert (raised[row, ~before] > 0).all()
    assert np.array_equal(raised[0], yields[0])


def test_what_was_counted_is_a_lower_limit():
    yields, variances = power_laws(2.0, 3.0)
    raised, spread = with_thick_tails(yields, variances, PROCESSES, 10)
    assert (raised >= yields).all()
    assert (spread >= variances).all()
    assert (np.diff(raised, axis=1) <= 1e-12).all()


def test_a_background_that_never_has_enough_is_left_as_it_is():
    yields, variances = power_laws(2.0, 3.0, events=8)
    raised, spread = with_thick_tails(yields, variances, PROCESSES, 10)
    assert np.array_equal(raised, yields)
    assert np.array_equal(spread, variances)


def test_units_of_yields_do_not_matter():
    yields, variances = power_laws(2.0, 3.0)
    raised, spread = with_thick_tails(yields, variances, PROCESSES, 10)
    scaled = with_thick_tails(7 * yields, 49 * variances, PROCESSES, 10)
    np.testing.assert_allclose(scaled[0], 7 * raised, rtol=1e-12)
    np.testing.assert_allclose(scaled[1], 49 * spread, rtol=1e-12)


def test_weights_that_cancel_are_continued_as_if_nothing_separated():
    yields = np.array([[8.0, 4.0, 2.0, 1.0], [16.0, 12.0, -2.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    raised, _ = with_thick_tails(yields, np.abs(yields), PROCESSES, 12)
    assert raised[1].tolist() == pytest.approx([16.0, 12.0, 6.0, 3.0])


def events_with_a_thin_background(seed=3):
    """Signal, a common background that is removed, and a thin one of large weight, part of which lies under the signal."""
    rng = np.random.default_rng(seed)
    process = np.repeat([0, 1, 2], [5000, 20_000, 300])
    centre = np.where(rng.random(process.size) < 0.01, 2.5, np.array([2.5, -0.5, -0.5])[process])
    weight = np.array([0.02, 0.5, 10.0])[process]
    return ScoredEvents.from_arrays(
        rng.normal(centre), weight, process, names=["higgs", "dy", "top"], roles=["signal", "background", "background"]
    )


def test_a_cut_claims_less_where_a_thin_background_happens_to_be_absent():
    claims = []
    for seed in range(20):
        events = events_with_a_thin_background(seed)
        counted, raised = (
            choose_working_point(scan_thresholds(events, settings), settings)
            for settings in (WorkingPointSettings(tail_entries=0), WorkingPointSettings())
        )
        assert counted.choosing_significance == counted.significance
        assert raised.choosing_significance <= min(raised.significance, counted.significance)
        claims.append((counted.choosing_significance, raised.choosing_significance))
    assert np.mean(claims, axis=0)[1] < 0.9 * np.mean(claims, axis=0)[0]


def test_without_a_loss_of_signal_nothing_is_extrapolated():
    yields = np.array([[8.0, 8.0, 8.0, 4.0], [20.0, 10.0, 1.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    raised, _ = with_thick_tails(yields, yields, PROCESSES, 10)
    assert raised[1].tolist() == [20.0, 10.0, 1.0, 0.0]


def test_without_the_simulation_in_the_figure_yields_are_counted():
    settings = WorkingPointSettings(simulation_uncertainty_in_figure=False)
    scan = scan_thresholds(events_with_a_thin_background(), settings)
    assert scan.choosing_significance is scan.significance
    assert scan.expected_yields is scan.yields
