from dataclasses import replace

import numpy as np
import pytest

from tests.selection.exact_yields import exact_yields
from zsig_hep.selection import ScoredEvents, WorkingPointSettings, evaluate_classifier, simulation_caveats
from zsig_hep.selection.thresholds import caveats
from zsig_hep.selection.thresholds.uncertainties import SignificanceUncertainties
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


def test_what_the_signal_efficiency_excludes_is_not_blamed_on_the_simulation():
    # The figure of merit prefers a much tighter cut, above which there is enough simulation.
    settings = exact_yields(minimum_signal_efficiency=0.97, dominant_background_fraction=1)
    evaluation = evaluated(5, settings)
    scan = evaluation.scan
    free = scan.significance[scan.effective_background >= 10].max()
    assert free > 1.1 * scan.significance[scan.qualifies].max()
    assert simulation_caveats(evaluation, settings) == ()


class TestSimulationInTheFigure:
    def test_what_the_requirement_on_the_whole_background_costs(self):
        # The figure of merit itself is careful, so that all that one entry supports is compared.
        settings = WorkingPointSettings(minimum_effective_background=100)
        evaluation = evaluated(0, settings)
        scan = evaluation.scan
        allowed = (scan.effective_background >= 1) & (scan.signal_efficiency >= 0.05)
        free = scan.significance[allowed].max()
        assert free > 1.1 * scan.significance[scan.qualifies].max()
        sentence = simulation_caveats(evaluation, settings)[0]
        assert "is limited by the simulation of the whole background: a tighter cut reaches" in sentence
        assert f"Z = {free:.2f} on the events" in sentence
        assert "100 are required" in sentence

    def test_what_the_simulation_costs_and_of_which_background(self):
        settings = WorkingPointSettings()
        evaluation = evaluated(3, settings)
        point = evaluation.working_point
        assert point.significance_without_simulation > 1.1 * point.significance
        entries = point.yields["top"].effective_entries
        expected = (
            f"Z loss: the finite simulation lowers Z from {point.significance_without_simulation:.2f} to "
            f"{point.significance:.2f}, mostly that of 'top', of which {entries:.3g} effective entries pass the cuts; "
            "simulate more of it"
        )
        assert expected in simulation_caveats(evaluation, settings)

    def test_one_more_event_is_weighed_where_it_changes_z_notably(self, monkeypatch):
        settings = WorkingPointSettings()
        evaluation = evaluated(8, settings)
        found = evaluation.one_more_event
        assert found.process == "top"
        assert found.entries >= caveats.FEW_ENTRIES
        change = evaluation.working_point.exported_significance / found.significance
        for notable, said in ((change * (1 - 1e-9), True), (change * (1 + 1e-9), False)):
            monkeypatch.setattr(caveats, "NOTABLE_GAIN", notable)
            sentences = [each for each in simulation_caveats(evaluation, settings) if "one more" in each]
            assert len(sentences) == said
            assert not said or f"to {found.significance:.2f}" in sentences[0]

    def test_ample_simulation_needs_no_caveat(self):
        settings = WorkingPointSettings()
        assert simulation_caveats(ample(settings), settings) == ()


def ample(settings):
    rng = np.random.default_rng(1)
    process = np.repeat([0, 1], 20_000)
    events = ScoredEvents.from_arrays(
        rng.normal(1.5 * (process == 0)), np.where(process == 0, 0.001, 0.01), process, names=("signal", "dy"),
        roles=("signal", "background"), fold=rng.integers(0, 4, 40_000), fold_count=4,
    )  # fmt: skip
    return evaluate_classifier("z", "Z loss", events, settings)


class TestDoubtfulChoice:
    @pytest.fixture
    def evaluation(self):
        return ample(WorkingPointSettings())

    def said(self, evaluation, uncertainties=None, **changes):
        changed = replace(evaluation, working_point=replace(evaluation.working_point, **changes))
        return simulation_caveats(changed, WorkingPointSettings(), uncertainties)

    def test_optimism_beyond_the_error_of_the_significance(self, evaluation):
        numbers = {"optimism": 0.4, "optimism_uncertainty": 0.15, "significance_uncertainty": 0.3}
        (sentence,) = self.said(evaluation, **numbers, optimism_status="exceeds_error")
        assert sentence.startswith(
            "Z loss: on the events that choose the cut Z is higher by 0.40 +- 0.15, more than the error 0.30 of the held-out Z"
        )
        assert self.said(evaluation, **numbers, optimism_status="ok") == ()

    def test_the_optimism_of_a_cut_that_follows_fluctuations_is_noticed(self):
        # Yields are taken as exact, and the best cut leaves a handful of the 60 background events.
        rng = np.random.default_rng(0)
        process = np.repeat([0, 1], [2000, 60])
        score = np.concatenate([rng.beta(10, 1, 2000), rng.uniform(size=60)])
        events = ScoredEvents.from_arrays(
            score, np.where(process == 0, 0.01, 4.0), process, names=("signal", "dy"),
            roles=("signal", "background"), fold=rng.integers(0, 5, 2060), fold_count=5,
        )  # fmt: skip
        settings = exact_yields(minimum_effective_background=1, minimum_signal_efficiency=0.01)
        evaluation = evaluate_classifier("z", "Z loss", events, settings)
        point = evaluation.working_point
        assert point.optimism > point.significance_uncertainty
        assert any("the cut follows fluctuations" in each for each in simulation_caveats(evaluation, settings))

    def test_partitions_without_a_cut(self, evaluation):
        first, *others = evaluation.working_point.partitions
        failed = replace(first, significance=None)
        (sentence,) = self.said(evaluation, partitions=(failed, *others))
        assert "in 1 of 5 partitions of the events no cut could be chosen" in sentence

    def test_a_jackknife_that_disagrees(self, evaluation):
        apart = SignificanceUncertainties(1.0, 0.1, 0.1, 0.25, replicas=1000, folds=5)
        (sentence,) = self.said(evaluation, apart)
        assert (
            "from a jackknife over folds, 0.250, disagrees with the propagated one, 0.100 (chi2 25.0 for 4" in sentence
        )
        alike = SignificanceUncertainties(1.0, 0.1, 0.1, 0.12, replicas=1000, folds=5)
        assert self.said(evaluation, alike) == ()


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
