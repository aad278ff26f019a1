"""Events under variations, their yields above cuts, and the uncertainty of a background that follows."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.selection.varied_toy import (
    NAMES,
    ROLES,
    VARIATIONS,
    every_kind,
    make_table,
    score_of,
    varied_toy,
    with_variations,
)
from zsig_hep.errors import InputError
from zsig_hep.ntuples.datasets import Process
from zsig_hep.ntuples.variations import NormalisationVariation, ShapeVariation, expand_variations
from zsig_hep.selection import ScoredEvents, VariedEvents
from zsig_hep.selection.ratios import LikelihoodRatios
from zsig_hep.selection.varied_events import (
    VariedYield,
    background_uncertainty,
    background_uncertainty_above,
    sum_above,
    symmetrised,
    varied_events,
    varied_yields,
)
from zsig_hep.statistics import Yield


def yield_of(value):
    return Yield(value, 1.0, 10)


@pytest.fixture(scope="module")
def made():
    """A table, the tables under its shape variations, and the pairs of events by variation."""
    table, shapes = every_kind()
    events = with_variations(table, VARIATIONS, **shapes)
    return SimpleNamespace(table=table, shapes=shapes, pairs={pair[0].name: pair for pair in events.variations})


class TestVariedEvents:
    def test_every_variation_is_a_pair_in_its_order(self, made):
        assert list(made.pairs) == list(VARIATIONS)
        for name, (up, down) in made.pairs.items():
            assert (up.name, up.direction, down.name, down.direction) == (name, "up", name, "down")
            assert up.kind == down.kind == VARIATIONS[name].kind
            assert up.touched == down.touched == tuple(VARIATIONS[name].processes)

    @pytest.mark.parametrize(("name", "factors"), [("lumi", (1.02, 1 / 1.02)), ("xs", (1.2, 0.9))])
    def test_yields_are_scaled_by_factors(self, made, name, factors):
        touched = np.isin(made.table.process, [NAMES.index(each) for each in VARIATIONS[name].processes])
        for events, factor in zip(made.pairs[name], factors, strict=True):
            np.testing.assert_allclose(events.weight, factor * made.table.weight[touched], rtol=1e-15)
            np.testing.assert_array_equal(events.score, score_of(made.table)[touched])
            np.testing.assert_array_equal(events.process, made.table.process[touched])
            np.testing.assert_array_equal(events.fold, made.table.fold[touched])

    def test_other_weights_for_the_same_events(self, made):
        touched = made.table.process > 0
        for events, weight in zip(made.pairs["tilt"], made.table.weight_variations["tilt"], strict=True):
            np.testing.assert_array_equal(events.weight, weight[touched])

    def test_a_shape_has_events_of_its_own(self, made):
        for events, name in zip(made.pairs["jes"], ("jesUp", "jesDown"), strict=True):
            np.testing.assert_array_equal(events.score, score_of(made.shapes[name]))
            np.testing.assert_array_equal(events.features, made.shapes[name].features)
            np.testing.assert_array_equal(events.weight, made.shapes[name].weight)

    def test_a_one_sided_shape_is_mirrored_in_any_histogram(self, made):
        up, down = made.pairs["half"]
        edges, dy = np.linspace(0, 1, 6), made.table.process == 1
        nominal = np.histogram(score_of(made.table)[dy], edges, weights=made.table.weight[dy])[0]
        raised, lowered = (np.histogram(each.score, edges, weights=each.weight)[0] for each in (up, down))
        np.testing.assert_allclose(lowered, 2 * nominal - raised, rtol=1e-12)
        for fold in range(4):
            inside = dy & (made.table.fold == fold)
            total = 2 * made.table.weight[inside].sum() - up.weight[up.fold == fold].sum()
            assert down.weight[down.fold == fold].sum() == pytest.approx(total, rel=1e-12)
            assert (down.fold == fold).sum() == inside.sum() + (up.fold == fold).sum()
        assert len(down.features) == len(down)


class TestRatiosOfVariedEvents:
    @pytest.fixture
    def pairs(self, made):
        def ratios(table):
            score = score_of(table)
            return LikelihoodRatios.from_arrays(score, np.full((len(score), 2), 0.5), backgrounds=["dy", "top"])

        shapes = {name: score_of(each) for name, each in made.shapes.items()}
        of_shapes = {name: ratios(each) for name, each in made.shapes.items()}
        found = varied_events(
            made.table, VARIATIONS, score_of(made.table), made.shapes, shapes,
            ratios=ratios(made.table), shape_ratios=of_shapes,
        )  # fmt: skip
        return {pair[0].name: pair for pair in found}

    def test_every_event_has_the_ratios_of_its_features(self, pairs):
        for pair in pairs.values():
            for varied in pair:
                np.testing.assert_array_equal(varied.ratios.logit, varied.score)

    def test_none_without_those_of_the_shape(self, made):
        shapes = {name: score_of(each) for name, each in made.shapes.items()}
        found = varied_events(made.table, VARIATIONS, score_of(made.table), made.shapes, shapes)
        assert all(varied.ratios is None for pair in found for varied in pair)


class TestYields:
    def test_of_the_processes_that_a_variation_touches(self):
        table, shapes = every_kind()
        events = with_variations(table, VARIATIONS, **shapes)
        nominal = events.yields(events.score > 0.4)
        selections = [(up.score > 0.4, down.score > 0.4) for up, down in events.variations]
        found = varied_yields(events, selections, nominal)
        for up, down in events.variations:
            assert list(found[up.name]) == list(up.touched)
            for name in up.touched:
                each = found[up.name][name]
                for side, of in ((each.up, up), (each.down, down)):
                    weight = of.weight[(of.score > 0.4) & (of.process == NAMES.index(name))]
                    assert side.value == pytest.approx(weight.sum(), rel=1e-12)
                    assert side.entries == weight.size
                assert each.nominal == nominal[name]

    @pytest.mark.parametrize(
        ("up", "down", "note"),
        [
            (13.0, 9.0, ""),
            (9.0, 13.0, ""),
            (13.0, 11.0, "up and down have the same sign"),
            (8.0, 7.0, "up and down have the same sign"),
            (12.0, 12.0, "up equals down"),
            (10.0, 10.0, "no effect"),
            (14.0, 10.0, ""),
            (10.0, 6.0, ""),
        ],
    )
    def test_the_shifts_in_two_directions_and_what_is_unusual(self, up, down, note):
        found = VariedYield(yield_of(10.0), yield_of(up), yield_of(down))
        assert (found.shifts, found.note) == ((up - 10, down - 10), note)


class TestSymmetrised:
    @pytest.mark.parametrize(
        ("up", "down", "expected"), [(2, -2, 2), (-2, 2, 2), (3, 3, 3), (3, -1, 5**0.5), (0, -20, 200**0.5), (0, 0, 0)]
    )
    def test_the_root_mean_square_by_hand(self, up, down, expected):
        assert float(symmetrised(up, down)) == pytest.approx(expected, rel=1e-15)

    def test_it_is_that_of_a_gaussian_nuisance_parameter(self):
        theta = np.random.default_rng(0).normal(size=200_000)
        shift = np.where(theta > 0, 4.0 * theta, -1.0 * -theta)
        assert np.sqrt(np.mean(shift**2)) == pytest.approx(float(symmetrised(4.0, -1.0)), rel=0.01)

    @given(st.floats(-10, 10), st.floats(-10, 10), st.floats(-1e-9, 1e-9))
    def test_it_is_continuous_and_lies_between_the_two(self, up, down, step):
        shift = float(symmetrised(up, down))
        sizes = sorted([abs(up), abs(down)])
        assert sizes[0] * (1 - 1e-12) <= shift <= sizes[1] * (1 + 1e-12)
        for moved in ((up + step, down), (up, down + step)):
            assert abs(float(symmetrised(*moved)) - shift) <= abs(step) + 1e-14

    def test_no_jump_where_one_direction_changes_its_sign(self):
        assert float(symmetrised(1e-13, -20.0)) == pytest.approx(float(symmetrised(0.0, -20.0)), rel=1e-12)


class TestBackgroundUncertainty:
    def test_processes_add_linearly_within_a_variation_and_variations_in_quadrature(self):
        def shifted(by):
            return VariedYield(yield_of(10.0), yield_of(10.0 + by), yield_of(10.0 - by))

        yields = {
            "a": {"dy": shifted(2.0), "top": shifted(1.0)},
            "b": {"dy": shifted(-3.0), "top": shifted(-1.0), "hmumu": shifted(50.0)},
        }
        assert background_uncertainty(yields, ("dy", "top")) == pytest.approx(5.0, rel=1e-15)
        assert background_uncertainty(yields, ("top",)) == pytest.approx(np.sqrt(2), rel=1e-15)
        assert background_uncertainty({}, ("dy", "top")) == 0.0

    def test_the_shifts_of_one_variation_cancel_between_processes(self):
        # Ten events move from one process to the other: the background is the same, up and down.
        migration = {
            "dy": VariedYield(yield_of(50.0), yield_of(60.0), yield_of(40.0)),
            "top": VariedYield(yield_of(50.0), yield_of(40.0), yield_of(60.0)),
        }
        assert background_uncertainty({"a": migration}, ("dy", "top")) == 0.0
        assert background_uncertainty({"a": migration}, ("dy",)) == pytest.approx(10.0)

    def test_up_and_down_are_combined_after_the_sum_over_processes_in_the_scan_too(self):
        # +10 and -10 of one process, -10 and -10 of the other: together 0 up and -20 down.
        yields = {
            "dy": VariedYield(yield_of(50.0), yield_of(60.0), yield_of(40.0)),
            "top": VariedYield(yield_of(30.0), yield_of(20.0), yield_of(20.0)),
        }
        assert background_uncertainty({"a": yields}, ("dy", "top")) == pytest.approx(np.sqrt(200), rel=1e-14)
        one, at = np.zeros(3), np.array([0.0])
        features = np.empty((2, 0), dtype=np.float32)
        up, down = (
            VariedEvents("a", "weight", side, ("dy", "top"), one[:2], weight, np.array([1, 2]), np.arange(2), features)
            for side, weight in (("up", np.array([60.0, 20.0])), ("down", np.array([40.0, 20.0])))
        )
        events = ScoredEvents.from_arrays(one, [1.0, 50.0, 30.0], [0, 1, 2], names=NAMES, roles=ROLES)
        events = replace(events, variations=((up, down),))
        nominal = np.array([[1.0], [50.0], [30.0]])
        assert background_uncertainty_above(events, at, nominal)[0] == pytest.approx(np.sqrt(200), rel=1e-14)

    @pytest.mark.parametrize("unusual", [False, True])
    def test_what_is_scanned_is_what_is_quoted(self, unusual):
        # A shape that moves one process up in both directions: its shifts must be added to the other before squaring.
        events = varied_toy()
        if unusual:
            (up, down) = events.variations[3]
            down = replace(down, weight=np.where(down.process == 1, 1.4, 1.0) * down.weight)
            events = replace(events, variations=(*events.variations[:3], (up, down)))
        cuts = np.array([0.3, 0.6])
        nominal = np.array(
            [[events.weight[(events.process == p) & (events.score >= cut)].sum() for cut in cuts] for p in range(3)]
        )
        scanned = background_uncertainty_above(events, cuts, nominal)
        for cut, found in zip(cuts, scanned, strict=True):
            selections = [(up.score >= cut, down.score >= cut) for up, down in events.variations]
            yields = varied_yields(events, selections, events.yields(events.score >= cut))
            assert background_uncertainty(yields, ("dy", "top")) == pytest.approx(found, rel=1e-12)

    @pytest.mark.parametrize("correlated", [True, False])
    def test_uncorrelated_processes_have_a_variation_each(self, correlated):
        table, at = make_table(), np.array([0.5])
        processes = {
            name: Process(role=role, datasets={name: {"files": ["a.root"], "cross_section_pb": 1.0}})
            for name, role in zip(NAMES, ROLES, strict=True)
        }
        xs = NormalisationVariation(
            kind="normalisation", up=1.1, down=0.9, processes=["dy", "top"], correlated=correlated
        )
        events = with_variations(table, expand_variations({"xs": xs}, processes))
        above = np.array([[table.weight[(table.process == p) & (score_of(table) >= 0.5)].sum()] for p in range(3)])
        sigma = background_uncertainty_above(events, at, above)[0]
        assert sigma == pytest.approx(0.1 * (above[1:].sum() if correlated else np.hypot(*above[1:, 0])))

    def test_above_every_threshold_against_a_loop(self):
        events = varied_toy()
        cuts = np.quantile(events.score, [0.0, 0.02, 0.5, 0.97])
        nominal = np.array(
            [[events.weight[(events.process == p) & (events.score >= cut)].sum() for cut in cuts] for p in range(3)]
        )
        found = background_uncertainty_above(events, cuts, nominal)
        for column, cut in enumerate(cuts):
            variance = 0.0
            for pair in events.variations:
                touched = [NAMES.index(name) for name in pair[0].touched if name != "hmumu"]
                up, down = (
                    each.weight[np.isin(each.process, touched) & (each.score >= cut)].sum()
                    - nominal[touched, column].sum()
                    for each in pair
                )
                variance += (up**2 + down**2) / 2
            assert found[column] == pytest.approx(np.sqrt(variance), rel=1e-12)

    def test_scores_that_are_not_finite_are_refused_by_the_name_of_the_variation(self):
        jes = {"jes": ShapeVariation(kind="shape", processes=list(NAMES))}
        events = with_variations(make_table(90), jes, jesUp=make_table(90), jesDown=make_table(90))
        up, down = events.variations[0]
        bad = replace(down, score=np.where(np.arange(90) == 7, np.nan, down.score))
        with pytest.raises(InputError, match="Scores under variation 'jesDown' are not all finite"):
            background_uncertainty_above(replace(events, variations=((up, bad),)), np.zeros(1), np.ones((3, 1)))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-4, 9)), max_size=12), st.integers(-1, 6))
def test_sums_at_or_above_thresholds_against_masks(events, lowest):
    score, weight = (np.array([each[index] for each in events], dtype=float) for index in (0, 1))
    thresholds = lowest + np.arange(3.0)
    expected = [weight[score >= threshold].sum() for threshold in thresholds]
    np.testing.assert_array_equal(sum_above(score, weight, thresholds), expected)
