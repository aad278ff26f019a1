import numpy as np
import pytest

from tests.fits.scored import COUNT, MASS, PROCESS, SCORE, WEIGHT, make_events, make_pair
from zsig_hep.errors import InputError
from zsig_hep.fits import Channels, ExportSettings, build_templates
from zsig_hep.names import identifiers
from zsig_hep.selection import ScoredEvents
from zsig_hep.statistics import FigureOfMerit, Objective

ANY = ExportSettings(minimum_effective_background=1)
# The categories of the folds differ, so that an event that is looked up in the fold of another shows.
EDGES = ((0.3, 0.6, 0.9), (0.2, 0.5, 0.8), (0.35, 0.65, 0.85), (0.3, 0.55, 0.9), (0.25, 0.6, 0.95))
CATEGORIES = Channels.of_categories(EDGES)
CATEGORY = np.array([sum(score >= edge for edge in EDGES[index % 5]) - 1 for index, score in enumerate(SCORE.tolist())])
CUT = Channels.of_cut([0.5] * 5)


def built(events, channels=CATEGORIES, settings=ANY, **options):
    return build_templates(events, channels, settings, **{"luminosity_ifb": 140.0} | options)


class TestAgainstBruteForce:
    @pytest.mark.parametrize(
        ("observable", "edges"), [("score", (0.0, 0.5, 1.0)), ("dimuon_mass", (110.0, 120.0, 140.0))]
    )
    def test_every_bin_of_every_process_variation_and_channel(self, observable, edges):
        pair = make_pair("jes", ["dy"], {"factor": 1.3, "shift": 4.0}, {"factor": 0.8, "shift": -4.0})
        settings = ExportSettings(observable=observable, binning=edges, minimum_effective_background=1)
        found = built(make_events(pair), settings=settings, unblinded=True)
        assert [channel.name for channel in found.channels] == ["category_0", "category_1", "category_2"]
        assert (found.kinds, found.luminosity_ifb) == ({"jes": "weight"}, 140.0)
        value = SCORE if observable == "score" else MASS.astype(float)
        moved = 0.0 if observable == "score" else 4.0
        for index, channel in enumerate(found.channels):
            bounds = channel.edges
            assert set(bounds) <= set(edges)
            assert channel.observable == observable
            for name in ("higgs", "dy", "top"):
                mask = (index == CATEGORY) & (name == PROCESS)
                expected, _ = np.histogram(value[mask], bounds, weights=WEIGHT[mask])
                variances, _ = np.histogram(value[mask], bounds, weights=WEIGHT[mask] ** 2)
                np.testing.assert_allclose(channel.nominal[name].values, expected, rtol=1e-12)
                np.testing.assert_allclose(channel.nominal[name].variances, variances, rtol=1e-12)
            mask = (index == CATEGORY) & (PROCESS == "dy")
            for side, (factor, sign) in enumerate(((1.3, 1), (0.8, -1))):
                varied, _ = np.histogram(value[mask] + sign * moved, bounds, weights=factor * WEIGHT[mask])
                np.testing.assert_allclose(channel.varied["jes"]["dy"][side].values, varied, rtol=1e-9)
            assert list(channel.varied["jes"]) == ["dy"]
            counts, _ = np.histogram(value[(index == CATEGORY) & (PROCESS == "data")], bounds)
            np.testing.assert_array_equal(channel.data, counts)
            np.testing.assert_array_equal(found.observed(channel), counts)

    def test_the_channel_of_a_working_point_holds_what_passes_the_cut_of_the_own_fold(self):
        thresholds = [0.2, 0.4, 0.6, 0.8, 0.5]
        pair = make_pair("jes", ["top"], {"factor": 1.2}, {"factor": 0.9})
        (channel,) = built(make_events(pair), Channels.of_cut(thresholds)).channels
        assert (channel.name, channel.observable, channel.bins) == ("signal_region", "events", 1)
        passing = np.array(thresholds)[np.arange(COUNT) % 5] <= SCORE
        for name in ("higgs", "dy", "top"):
            mask = passing & (name == PROCESS)
            assert channel.nominal[name].total == pytest.approx(WEIGHT[mask].sum(), rel=1e-12)
            assert channel.nominal[name].uncertainty == pytest.approx(np.sqrt((WEIGHT[mask] ** 2).sum()), rel=1e-12)
        assert channel.factors("jes", "top") == pytest.approx((1.2, 0.9))

    def test_blinded_by_default_with_the_background_as_observation(self):
        found = built(make_events())
        assert found.is_blinded
        for channel in found.channels:
            assert channel.data is None
            background = channel.nominal["dy"].values + channel.nominal["top"].values
            np.testing.assert_array_equal(found.observed(channel), background)

    def test_automatic_bins_lose_no_event_nominal_or_varied(self):
        pair = make_pair("jes", ["dy"], {"shift": 60.0}, {"shift": -60.0})
        found = built(make_events(pair), settings=ExportSettings(observable="dimuon_mass", binning=7))
        for index, channel in enumerate(found.channels):
            yields = WEIGHT[(index == CATEGORY) & (PROCESS == "dy")].sum()
            for template in (channel.nominal["dy"], *channel.varied["jes"]["dy"]):
                assert template.total == pytest.approx(yields, rel=1e-9)

    def test_automatic_bins_are_of_equal_width_over_the_bulk(self):
        settings = ExportSettings(observable="dimuon_mass", binning=5, minimum_effective_background=1)
        (channel,) = built(make_events(), Channels.of_cut([0.0] * 5), settings).channels
        signal, background = (MASS[np.isin(PROCESS, names)].astype(float) for names in (["higgs"], ["dy", "top"]))
        low, high = (
            combine(np.quantile(group, tail) for group in (signal, background))
            for combine, tail in ((min, 0.005), (max, 0.995))
        )
        np.testing.assert_allclose(channel.edges[1:-1], np.linspace(low, high, 6)[1:-1], rtol=1e-12)
        both = np.concatenate([signal, background])
        np.testing.assert_array_equal(channel.edges[[0, -1]], [both.min(), both.max()])

    def test_a_variation_touches_one_process_and_leaves_the_others(self):
        found = built(make_events(make_pair("isr", ["higgs"], {"factor": 1.1}, {"factor": 0.9})))
        assert all(list(channel.varied["isr"]) == ["higgs"] for channel in found.channels)
        assert found.notes == ()

    def test_a_process_that_only_the_up_side_touches_is_nominal_down(self):
        up, _ = make_pair("isr", ["higgs", "dy"], {"factor": 1.1})
        _, down = make_pair("isr", ["higgs"], down={"factor": 0.9})
        found = built(make_events((up, down)), CUT)
        assert found.channels[0].factors("isr", "higgs") == pytest.approx((1.1, 0.9))
        assert found.channels[0].factors("isr", "dy") == pytest.approx((1.1, 0.9))
        assert found.notes == (
            "channel 'signal_region': variation 'isr' of 'dy' changes nothing down; down is taken as the mirror of up",
        )

    def test_events_at_the_outermost_edges_are_inside(self):
        events = ScoredEvents.from_arrays(
            [1.0, 2.0, 1.0, 2.0, 0.99], [1.0, 2.0, 4.0, 8.0, 16.0], [0, 0, 1, 1, 1],
            names=("higgs", "dy"), roles=("signal", "background"),
        )  # fmt: skip
        settings = ExportSettings(observable="score", binning=(1.0, 2.0), minimum_effective_background=1)
        found = built(events, Channels.of_cut([0.5] * 5), settings)
        assert [each.total for each in found.channels[0].nominal.values()] == [3.0, 12.0]
        assert found.notes[0].startswith("channel 'signal_region': 1 simulated events (16 in yield)")

    def test_each_of_two_variations_has_its_own_sides(self):
        first = make_pair("jes", ["dy"], {"factor": 1.1}, {"factor": 0.9})
        second = make_pair("isr", ["dy"], {"factor": 1.3}, {"factor": 0.6})
        (channel,) = built(make_events(first, second), CUT).channels
        assert channel.factors("jes", "dy") == pytest.approx((1.1, 0.9))
        assert channel.factors("isr", "dy") == pytest.approx((1.3, 0.6))

    def test_the_order_and_the_labels_are_those_of_the_table(self):
        found = built(make_events(), labels={"dy": "Z"})
        assert (found.process_names, found.roles) == (("higgs", "dy", "top"), ("signal", "background", "background"))
        assert found.labels == ("higgs", "Z", "top")


class TestNames:
    def test_names_that_fits_cannot_take_are_replaced_and_noted(self):
        events = make_events(names=("higgs", "Z->mumu", "data", "top"))
        found = built(events, Channels.of_categories(EDGES, ["1b", "x y", "c"]))
        assert found.process_names == ("higgs", "Z__mumu", "top")
        assert [channel.name for channel in found.channels] == ["_1b", "x_y", "c"]
        assert "process 'Z->mumu' is called 'Z__mumu' in ROOT histograms and fit inputs" in found.notes[2]

    def test_a_variation_too(self):
        found = built(make_events(make_pair("jes 1", ["dy"], {"factor": 1.1}, {"factor": 0.9})), CUT)
        assert list(found.channels[0].varied) == list(found.kinds) == ["jes_1"]

    def test_two_names_that_become_one(self):
        found = built(make_events(names=("higgs", "Z+j", "data", "Z-j")))
        assert found.process_names == ("higgs", "Z_j", identifiers(["Z+j", "Z-j"])["Z-j"])
        assert len(set(found.process_names)) == 3

    def test_the_name_of_the_data(self):
        with pytest.raises(InputError, match="Two histograms would be called 'data_obs'"):
            built(make_events(names=("higgs", "dy", "data", "data_obs")))


class TestWhatCannotBeFitted:
    def test_an_empty_channel_is_left_out_and_noted(self):
        found = built(make_events(), Channels.of_categories(((0.3, 0.6, 0.6),) * 5))
        assert [channel.name for channel in found.channels] == ["category_0", "category_2"]
        assert "channel 'category_1' is left out of the fit" in found.notes[0]

    def test_no_channel_with_events(self):
        with pytest.raises(InputError, match=r"There is nothing to fit\. channel 'category_0' is left out"):
            built(make_events(), Channels.of_categories(((2.0,),) * 5))

    def test_a_working_point_without_cuts(self):
        with pytest.raises(InputError, match="There is nothing to fit"):
            built(make_events(), Channels.of_cut([None] * 5))

    def test_no_signal(self):
        events = make_events()
        with pytest.raises(InputError, match="No signal process has a positive yield"):
            built(events.select(events.process != 0))

    def test_a_process_that_is_in_no_channel_is_not_in_the_fit(self):
        events = make_events()
        found = built(events.select(events.process != 3))
        assert (found.process_names, found.roles) == (("higgs", "dy"), ("signal", "background"))

    def test_missing_values_and_events_outside_given_edges_are_noted(self):
        mass = MASS.copy()
        mass[0] = np.nan
        settings = ExportSettings(observable="dimuon_mass", binning=(100.0, 125.0, 200.0))
        found = built(make_events(mass=mass), Channels.of_cut([0.0] * 5), settings, unblinded=True)
        for what, note, data in (("simulated", found.notes[0], False), ("recorded", found.notes[1], True)):
            outside = ((PROCESS == "data") == data) & ~((mass >= 100) & (mass <= 200))
            assert f"{outside.sum()} {what} events ({WEIGHT[outside].sum():.3g} in yield)" in note
            assert "is outside 100 to 200, or missing, are left out" in note
        inside = (mass >= 100) & (mass <= 200)
        for name in ("higgs", "dy", "top"):
            expected = WEIGHT[inside & (name == PROCESS)].sum()
            assert found.channels[0].nominal[name].total == pytest.approx(expected, rel=1e-12)

    def test_weights_that_cancel_are_no_background(self):
        weight = [1e6, 0.1, 0.2, -0.1, -0.2, 1.0, 1.0, 1.0, 1e6]
        events = ScoredEvents.from_arrays(
            [0.5, 1.5, 1.5, 1.5, 1.5, 0.5, 1.5, 2.0, 0.5], weight, [1, 1, 1, 1, 1, 0, 0, 0, 1],
            names=("higgs", "dy"), roles=("signal", "background"),
        )  # fmt: skip
        settings = ExportSettings(observable="score", binning=(0.0, 1.0, 2.0), minimum_effective_background=1)
        (channel,) = built(events, Channels.of_cut([0.5] * 5), settings).channels
        np.testing.assert_array_equal(channel.edges, [0.0, 2.0])
        assert channel.nominal["higgs"].total == 3.0

    def test_one_value_only(self):
        settings = ExportSettings(observable="pt")
        found = built(make_events(), Channels.of_cut([0.0] * 5), settings)
        np.testing.assert_array_equal(found.channels[0].edges, [-0.5, 0.5])


class TestBackgroundUncertainties:
    def test_parameters_by_process_and_for_all(self):
        objective = Objective(
            FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties={"top": 0.3, "dy": 0.0},
            relative_background_uncertainty=0.1,
        )  # fmt: skip
        assert built(make_events(), CUT, objective=objective).uncertainties == {
            "background_uncertainty_top": {"top": 0.3},
            "background_uncertainty": {"dy": 0.1, "top": 0.1},
        }
        assert built(make_events(), CUT).uncertainties == {}

    def test_names_that_fits_cannot_use(self):
        events = make_events(names=("higgs", "Z/gamma*", "data", "top"))
        objective = Objective(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties={"Z/gamma*": 0.2})
        found = built(events, CUT, objective=objective).uncertainties
        assert found == {"background_uncertainty_Z_gamma_": {"Z_gamma_": 0.2}}

    def test_names_that_are_taken(self):
        names = ("higgs", "dy", "data", "dy_")
        pair = make_pair("background_uncertainty_dy", ["dy"], {"factor": 1.1}, {"factor": 0.9})
        objective = Objective(
            FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties={"dy": 0.1, "dy_": 0.2},
            relative_background_uncertainty=0.3,
        )  # fmt: skip
        settings = ANY.model_copy(update={"signal_strength": "background_uncertainty"})
        found = built(make_events(pair, names=names), CUT, settings, objective=objective).uncertainties
        assert found == {
            "background_uncertainty_dy__": {"dy": 0.1},
            "background_uncertainty_dy_": {"dy_": 0.2},
            "background_uncertainty_": {"dy": 0.3, "dy_": 0.3},
        }

    @pytest.mark.parametrize(("kind", "is_noted"), [("normalisation", True), ("weight", False)])
    def test_a_normalisation_variation_of_the_same_process_is_noted(self, kind, is_noted):
        pair = make_pair("rate", ["dy"], {"factor": 1.1, "kind": kind}, {"factor": 0.9, "kind": kind})
        objective = Objective(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties={"dy": 0.1, "top": 0.2})
        notes = [note for note in built(make_events(pair), CUT, objective=objective).notes if "counted twice" in note]
        assert [note.startswith("process 'dy' has the background uncertainty") for note in notes] == [True] * is_noted

    def test_an_uncertainty_of_no_background(self):
        objective = Objective(FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, background_uncertainties={"dyy": 0.2})
        with pytest.raises(InputError, match="'dyy', which is no background process"):
            built(make_events(), CUT, objective=objective)
