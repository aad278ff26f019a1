import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsig_hep.errors import InputError
from zsig_hep.fits import ChannelTemplates, ExportSettings, FitTemplates, Template, build_templates
from zsig_hep.fits.rules import usable_channel
from zsig_hep.fits.templates import fit_name
from zsig_hep.ntuples.table import EventTable
from zsig_hep.selection.varied_events import VariedEvents

ROLES = {"higgs": "signal", "dy": "background", "top": "background", "data": "data"}
ANY = ExportSettings(minimum_effective_background=1)
RNG = np.random.default_rng(4)
COUNT = 3000
PROCESS = RNG.choice(list(ROLES), COUNT, p=[0.3, 0.4, 0.2, 0.1])
WEIGHT = np.where(PROCESS == "data", 1.0, RNG.normal(1.0, 0.6, COUNT))
SCORE = RNG.random(COUNT)
MASS = RNG.normal(125.0, 10.0, COUNT).astype(np.float32)
CATEGORY = np.digitize(SCORE, [0.3, 0.6, 0.9]) - 1


def make_table(process=PROCESS, weight=WEIGHT, mass=MASS, roles=ROLES):
    return EventTable.from_arrays(
        {"dimuon_mass": mass, "pt": np.zeros_like(mass)},
        weight=weight,
        process=process,
        roles=roles,
        luminosity_ifb=140.0,
    )


def make_varied(table, name, direction, processes, *, factor=1.0, shift=0.0, kind="weight", score=SCORE):
    rows = [table.process_names.index(each) for each in processes]
    mask = np.isin(table.process, rows)
    features = table.features[mask].copy()
    features[:, 0] += shift
    return VariedEvents(
        name=name,
        kind=kind,
        direction=direction,
        processes=tuple(processes),
        score=score[mask],
        weight=table.weight[mask] * factor,
        process=table.process[mask].astype(np.int64),
        fold=table.fold[mask].astype(np.int64),
        features=features,
    )


def make_pair(table, name, processes, up=None, down=None, **options):
    sides = [
        make_varied(table, name, way, processes, **{**options, **(values or {})})
        for way, values in (("up", up), ("down", down))
    ]
    rows = [table.process_names.index(each) for each in processes]
    category = CATEGORY[np.isin(table.process, rows)]
    return tuple(sides), (category, category)


def channel_of(nominal, varied=None, data=None, variances=None):
    def template(values, variance=None):
        values = np.array(values, dtype=float)
        return Template(values, np.abs(values) / 100 if variance is None else np.array(variance, dtype=float))

    bins = len(next(iter(nominal.values())))
    return ChannelTemplates(
        "sr",
        "score",
        np.arange(bins + 1.0),
        {name: template(values, (variances or {}).get(name)) for name, values in nominal.items()},
        {
            name: {process: (template(up), template(down)) for process, (up, down) in pairs.items()}
            for name, pairs in (varied or {}).items()
        },
        None if data is None else np.array(data, dtype=float),
    )


class TestAgainstBruteForce:
    @pytest.mark.parametrize(
        ("observable", "edges"), [("score", (0.0, 0.5, 1.0)), ("dimuon_mass", (110.0, 120.0, 140.0))]
    )
    def test_every_bin_of_every_process_variation_and_channel(self, observable, edges):
        table = make_table()
        pair, categories = make_pair(
            table, "jes", ["dy"], {"factor": 1.3, "shift": 4.0}, {"factor": 0.8, "shift": -4.0}
        )
        settings = ExportSettings(observable=observable, binning=edges, minimum_effective_background=1)
        found = build_templates(
            SCORE,
            table,
            settings,
            category=CATEGORY,
            variations=[pair],
            variation_categories=[categories],
            unblinded=True,
        )
        assert [channel.name for channel in found.channels] == ["category_0", "category_1", "category_2"]
        assert found.kinds == {"jes": "weight"}
        value = SCORE if observable == "score" else MASS.astype(float)
        moved = 0.0 if observable == "score" else 4.0
        for index, channel in enumerate(found.channels):
            inside = index == CATEGORY
            bounds = channel.edges
            assert set(bounds) <= set(edges)
            for name in ("higgs", "dy", "top"):
                mask = inside & (name == PROCESS)
                expected, _ = np.histogram(value[mask], bounds, weights=WEIGHT[mask])
                variances, _ = np.histogram(value[mask], bounds, weights=WEIGHT[mask] ** 2)
                np.testing.assert_allclose(channel.nominal[name].values, expected, rtol=1e-12)
                np.testing.assert_allclose(channel.nominal[name].variances, variances, rtol=1e-12)
            mask = inside & (PROCESS == "dy")
            up, _ = np.histogram(value[mask] + moved, bounds, weights=1.3 * WEIGHT[mask])
            np.testing.assert_allclose(channel.varied["jes"]["dy"][0].values, up, rtol=1e-9)
            assert list(channel.varied["jes"]) == ["dy"]
            counts, _ = np.histogram(value[inside & (PROCESS == "data")], bounds)
            np.testing.assert_array_equal(channel.data, counts)
            np.testing.assert_array_equal(found.observed(channel), counts)

    def test_the_channel_of_a_working_point_holds_what_passes_the_cut_of_the_own_fold(self):
        table = make_table()
        thresholds = [0.2, 0.4, 0.6, 0.8, 0.5]
        pair, _ = make_pair(table, "jes", ["top"], {"factor": 1.2}, {"factor": 0.9})
        found = build_templates(SCORE, table, ANY, thresholds=thresholds, variations=[pair])
        (channel,) = found.channels
        assert (channel.name, channel.observable, channel.bins) == ("signal_region", "events", 1)
        passing = np.array(thresholds)[table.fold] <= SCORE
        for name in ("higgs", "dy", "top"):
            mask = passing & (name == PROCESS)
            assert channel.nominal[name].total == pytest.approx(WEIGHT[mask].sum(), rel=1e-12)
            assert channel.nominal[name].uncertainty == pytest.approx(np.sqrt((WEIGHT[mask] ** 2).sum()), rel=1e-12)
        assert channel.factors("jes", "top") == pytest.approx((1.2, 0.9))

    def test_blinded_by_default_with_the_background_as_observation(self):
        found = build_templates(SCORE, make_table(), ANY, category=CATEGORY)
        assert found.is_blinded
        for channel in found.channels:
            assert channel.data is None
            background = channel.nominal["dy"].values + channel.nominal["top"].values
            np.testing.assert_array_equal(found.observed(channel), background)

    def test_automatic_bins_lose_no_event_nominal_or_varied(self):
        table = make_table()
        pair, categories = make_pair(table, "jes", ["dy"], {"shift": 60.0}, {"shift": -60.0})
        settings = ExportSettings(observable="dimuon_mass", binning=7)
        found = build_templates(
            SCORE, table, settings, category=CATEGORY, variations=[pair], variation_categories=[categories]
        )
        for index, channel in enumerate(found.channels):
            yields = WEIGHT[(index == CATEGORY) & (PROCESS == "dy")].sum()
            for template in (channel.nominal["dy"], *channel.varied["jes"]["dy"]):
                assert template.total == pytest.approx(yields, rel=1e-9)

    def test_a_variation_touches_one_process_and_leaves_the_others(self):
        table = make_table()
        pair, categories = make_pair(table, "isr", ["higgs"], {"factor": 1.1}, {"factor": 0.9})
        found = build_templates(
            SCORE, table, ANY, category=CATEGORY, variations=[pair], variation_categories=[categories]
        )
        assert all(list(channel.varied["isr"]) == ["higgs"] for channel in found.channels)
        assert found.notes == ()

    def test_a_process_that_only_the_up_side_touches_is_nominal_down(self):
        table = make_table()
        up = make_varied(table, "isr", "up", ["higgs", "dy"], factor=1.1)
        down = make_varied(table, "isr", "down", ["higgs"], factor=0.9)
        found = build_templates(SCORE, table, ANY, thresholds=[0.5] * 5, variations=[(up, down)])
        assert found.channels[0].factors("isr", "higgs") == pytest.approx((1.1, 0.9))
        assert found.channels[0].factors("isr", "dy") == pytest.approx((1.1, 0.9))
        assert found.notes == (
            "channel 'signal_region': variation 'isr' of 'dy' changes nothing down; down is taken as the mirror of up",
        )


class TestOneSidedVariations:
    NOMINAL = (10.0, 20.0)

    def varied(self, up, down):
        channel, notes = usable_channel(channel_of({"dy": self.NOMINAL}, {"jes": {"dy": (up, down)}}), ["dy"], ANY)
        return channel.varied.get("jes", {}).get("dy"), notes

    def test_without_effect(self):
        pair, notes = self.varied(self.NOMINAL, self.NOMINAL)
        assert pair is None
        assert notes == ("channel 'sr': variation 'jes' of 'dy' has no effect and is dropped",)

    def test_only_up_is_mirrored(self):
        (up, down), notes = self.varied((12.0, 19.0), self.NOMINAL)
        np.testing.assert_allclose(up.values, [12.0, 19.0])
        np.testing.assert_allclose(down.values, [8.0, 21.0])
        assert "changes nothing down; down is taken as the mirror of up" in notes[0]

    def test_only_down_is_mirrored(self):
        (up, down), notes = self.varied(self.NOMINAL, (12.0, 19.0))
        np.testing.assert_allclose(up.values, [8.0, 21.0])
        np.testing.assert_allclose(down.values, [12.0, 19.0])
        assert "changes nothing up" in notes[0]

    def test_up_equal_to_down(self):
        (up, down), notes = self.varied((11.0, 22.0), (11.0, 22.0))
        np.testing.assert_allclose(up.values, [11.0, 22.0])
        np.testing.assert_allclose(down.values, [9.0, 18.0])
        assert "is the same up and down" in notes[0]

    def test_both_to_one_side_stay(self):
        (up, down), notes = self.varied((11.0, 22.0), (10.5, 21.0))
        np.testing.assert_allclose(up.values, [11.0, 22.0])
        np.testing.assert_allclose(down.values, [10.5, 21.0])
        assert "moves its yield to one side (+10 % up, +5 % down); kept as is" in notes[0]

    def test_a_pure_shape_is_two_sided(self):
        _, notes = self.varied((11.0, 19.0), (9.0, 21.0))
        assert notes == ()

    def test_a_side_that_leaves_nothing_is_mirrored(self):
        (up, down), notes = self.varied((12.0, 24.0), (0.0, 0.0))
        np.testing.assert_allclose(up.values, [12.0, 24.0])
        np.testing.assert_allclose(down.values, [8.0, 16.0])
        assert "leaves a yield of 0 +- 0 down" in notes[0]

    def test_a_variation_that_more_than_doubles_is_mirrored_by_its_ratio(self):
        (up, down), _ = self.varied((50.0, 70.0), self.NOMINAL)
        np.testing.assert_allclose(up.values, [50.0, 70.0])
        np.testing.assert_allclose(down.values, [10 * 30 / 120, 20 * 30 / 120])

    def test_nothing_on_either_side_is_dropped(self):
        pair, notes = self.varied((0.0, 0.0), (-1.0, 0.5))
        assert pair is None
        assert "which no fit can use, and is dropped" in notes[0]


class TestUnusableBins:
    def test_zero_and_negative_background_is_merged_downwards(self):
        raw = channel_of({"higgs": (1, 2, 3, 4), "dy": (40, -1, 0, 3)}, data=(41, 1, 0, 4))
        channel, notes = usable_channel(raw, ["dy"], ANY)
        np.testing.assert_array_equal(channel.edges, [0, 3, 4])
        np.testing.assert_array_equal(channel.nominal["dy"].values, [39, 3])
        np.testing.assert_array_equal(channel.nominal["higgs"].values, [6, 4])
        np.testing.assert_allclose(channel.nominal["dy"].variances, [0.41, 0.03])
        np.testing.assert_array_equal(channel.data, [42, 4])
        assert "4 bins of score merged into 2" in notes[0]

    def test_the_lowest_bins_join_the_ones_above_until_these_are_usable(self):
        channel, _ = usable_channel(channel_of({"dy": (-10, 5, 20, 7)}), ["dy"], ANY)
        np.testing.assert_array_equal(channel.nominal["dy"].values, [15, 7])
        np.testing.assert_array_equal(channel.edges, [0, 3, 4])

    def test_a_variation_without_background_in_a_bin_counts_too(self):
        raw = channel_of({"dy": (10, 20, 5)}, {"jes": {"dy": ((11, 24, 0), (9, 16, 6))}})
        channel, _ = usable_channel(raw, ["dy"], ANY)
        np.testing.assert_array_equal(channel.edges, [0, 1, 3])
        np.testing.assert_array_equal(channel.varied["jes"]["dy"][0].values, [11, 24])
        np.testing.assert_array_equal(channel.varied["jes"]["dy"][1].values, [9, 22])

    def test_few_effective_entries_are_merged(self):
        raw = channel_of({"dy": (10, 20, 5)}, variances={"dy": (1, 4, 5)})
        for minimum, edges in ((5, [0, 1, 2, 3]), (6, [0, 1, 3]), (69, [0, 1, 3]), (70, [0, 3])):
            settings = ExportSettings(minimum_effective_background=minimum)
            np.testing.assert_array_equal(usable_channel(raw, ["dy"], settings)[0].edges, edges)

    def test_one_bin_of_few_entries_is_kept_and_noted(self):
        raw = channel_of({"dy": (5,)}, variances={"dy": (5,)})
        channel, notes = usable_channel(raw, ["dy"], ExportSettings())
        assert channel.bins == 1
        assert "only 5 effective entries of background" in notes[0]

    def test_refused_on_request(self):
        raw = channel_of({"dy": (5, 0, 3)})
        with pytest.raises(InputError, match=r"Bins 1 of score in channel 'sr' cannot be fitted"):
            usable_channel(raw, ["dy"], ExportSettings(minimum_effective_background=1, unusable_bins="refuse"))

    def test_a_channel_without_background_is_left_out(self):
        channel, notes = usable_channel(channel_of({"higgs": (1, 2), "dy": (1, -1)}), ["dy"], ANY)
        assert channel is None
        assert notes == ("channel 'sr' is left out of the fit: no background process has a positive yield in it",)

    def test_a_process_of_negative_yield_is_left_out(self):
        raw = channel_of({"higgs": (1, 2), "dy": (5, 6), "top": (-2, 1)}, {"jes": {"top": ((-1, 1), (-3, 1))}})
        channel, notes = usable_channel(raw, ["dy", "top"], ANY)
        assert list(channel.nominal) == ["higgs", "dy"]
        assert channel.varied == {}
        assert notes == ("channel 'sr': process 'top' is left out, since its yield is -1 +- 0.173",)


class TestNegativeBins:
    RAW = channel_of({"dy": (10, 10, 10), "top": (4, -1, 3)}, {"jes": {"top": ((5, -2, 3), (3, 1, 2))}})

    def test_the_yield_of_the_process_stays(self):
        channel, notes = usable_channel(self.RAW, ["dy", "top"], ANY)
        top = channel.nominal["top"]
        np.testing.assert_allclose(top.values, [4 * 6 / 7, 0, 3 * 6 / 7])
        np.testing.assert_allclose(top.variances, [0.04 * (6 / 7) ** 2, 0.01, 0.03 * (6 / 7) ** 2])
        np.testing.assert_allclose(channel.varied["jes"]["top"][0].values, [5 * 6 / 8, 0, 3 * 6 / 8])
        np.testing.assert_array_equal(channel.varied["jes"]["top"][1].values, [3, 1, 2])
        assert notes == (
            "channel 'sr': 'top' is -1 in 1 of 3 bins, set to 0; its yield in the channel stays",
            "channel 'sr': negative bins of top under variation 'jes' set to 0",
        )

    def test_or_only_the_bin_is_set_to_zero(self):
        settings = ANY.model_copy(update={"negative_bins": "floor"})
        channel, notes = usable_channel(self.RAW, ["dy", "top"], settings)
        np.testing.assert_allclose(channel.nominal["top"].values, [4, 0, 3])
        assert "its yield in the channel grows" in notes[0]

    @given(st.lists(st.integers(-5, 8), min_size=6, max_size=6), st.integers(1, 4))
    def test_whatever_comes_out_is_taken_by_the_templates_and_keeps_the_yields(self, contents, split):
        dy, top = np.array(contents[:3], dtype=float), np.array(contents[3:], dtype=float)
        raw = channel_of(
            {"higgs": (1, 1, 1), "dy": dy, "top": top},
            {"jes": {"dy": (dy * 1.1, np.roll(dy, 1)), "top": (top - 1, top)}},
        )
        channel, _ = usable_channel(raw, ["dy", "top"], ExportSettings(minimum_effective_background=split * 100))
        if channel is None:
            assert dy.sum() <= 0
            assert top.sum() <= 0
            return
        FitTemplates(
            (channel,), ("higgs", "dy", "top"), ("signal", "background", "background"), ("",) * 3, {"jes": "shape"}, 1.0
        )
        for name, values in {"dy": dy, "top": top}.items():
            assert (name in channel.nominal) == (values.sum() > 0)
            if name in channel.nominal:
                assert channel.nominal[name].total == pytest.approx(values.sum())


class TestNames:
    def test_names_that_fits_cannot_take_are_replaced_and_noted(self):
        names = np.where(PROCESS == "dy", "Z->mumu", PROCESS)
        roles = {"higgs": "signal", "Z->mumu": "background", "top": "background", "data": "data"}
        found = build_templates(
            SCORE, make_table(names, roles=roles), ANY, category=CATEGORY, category_names=["1b", "x y", "c"]
        )
        assert found.process_names == ("higgs", "Z__mumu", "top")
        assert [channel.name for channel in found.channels] == ["_1b", "x_y", "c"]
        assert "process 'Z->mumu' is called 'Z__mumu' in the fit" in found.notes[2]

    def test_two_names_that_become_one(self):
        names = np.select([PROCESS == "dy", PROCESS == "top"], ["Z+j", "Z-j"], PROCESS)
        roles = {"higgs": "signal", "Z+j": "background", "Z-j": "background", "data": "data"}
        with pytest.raises(InputError, match=r"'Z\+j' and 'Z-j' would both be 'Z_j'"):
            build_templates(SCORE, make_table(names, roles=roles), ANY, category=CATEGORY)

    def test_the_name_of_the_data(self):
        names = np.where(PROCESS == "top", "data_obs", PROCESS)
        roles = {"higgs": "signal", "dy": "background", "data_obs": "background", "data": "data"}
        with pytest.raises(InputError, match="Two histograms would be called 'data_obs'"):
            build_templates(SCORE, make_table(names, roles=roles), ANY, category=CATEGORY)

    def test_a_process_and_a_variation_that_make_the_name_of_another(self):
        template = Template(np.array([3.0]), np.array([1.0]))
        channel = ChannelTemplates("sr", "events", np.array([0.0, 1.0]), {"s": template, "dy": template}, {}, None)
        kinds = {"jes_flavour": "shape", "flavour": "shape"}
        names = ("s", "dy", "dy_jes")
        with pytest.raises(InputError, match="Two histograms would be called 'dy_jes_flavourUp'"):
            FitTemplates((channel,), names, ("signal", "background", "background"), names, kinds, 1.0)

    def test_templates_made_by_hand_are_held_to_the_same_names(self):
        template = Template(np.array([3.0]), np.array([1.0]))
        channel = ChannelTemplates("s r", "events", np.array([0.0, 1.0]), {"s": template, "dy": template}, {}, None)
        with pytest.raises(InputError, match=r"The channel name 's r' cannot be used in fits.*'s_r' would do"):
            FitTemplates((channel,), ("s", "dy"), ("signal", "background"), ("s", "dy"), {}, 1.0)

    def test_fit_name(self):
        assert [fit_name(name) for name in ("dy", "t#bar{t}", "4l", "a/b c")] == ["dy", "t_bar_t_", "_4l", "a_b_c"]


class TestBadInput:
    def test_unknown_observable_names_the_nearest(self):
        with pytest.raises(InputError, match=r"'dimuon_mas', which is neither .* Did you mean 'dimuon_mass'\?"):
            build_templates(SCORE, make_table(), ExportSettings(observable="dimuon_mas"), category=CATEGORY)

    def test_an_empty_category_is_left_out_and_noted(self):
        category = np.where(CATEGORY == 1, -1, CATEGORY)
        found = build_templates(SCORE, make_table(), ANY, category=category)
        assert [channel.name for channel in found.channels] == ["category_0", "category_2"]
        assert "channel 'category_1' is left out of the fit" in found.notes[0]

    def test_no_category_with_events(self):
        with pytest.raises(InputError, match=r"There is nothing to fit\. channel 'category_0' is left out"):
            build_templates(SCORE, make_table(), ANY, category=np.full(COUNT, -1), category_names=["category_0"])

    def test_a_working_point_without_cuts(self):
        with pytest.raises(InputError, match="There is nothing to fit"):
            build_templates(SCORE, make_table(), ANY, thresholds=[None] * 5)

    def test_no_signal(self):
        signal = PROCESS == "higgs"
        with pytest.raises(InputError, match="No signal process has a positive yield"):
            build_templates(SCORE, make_table(), ANY, category=np.where(signal, -1, CATEGORY))

    def test_neither_categories_nor_thresholds(self):
        with pytest.raises(InputError, match="give one of the two"):
            build_templates(SCORE, make_table(), ANY)

    def test_thresholds_of_another_number_of_folds(self):
        with pytest.raises(InputError, match="3 thresholds for 5 folds"):
            build_templates(SCORE, make_table(), ANY, thresholds=[0.5] * 3)

    def test_more_categories_than_names(self):
        with pytest.raises(InputError, match="run up to 2, but 2 are named"):
            build_templates(SCORE, make_table(), ANY, category=CATEGORY, category_names=["a", "b"])

    def test_categories_of_another_length(self):
        with pytest.raises(InputError, match="categories of the events must be integers of shape"):
            build_templates(SCORE, make_table(), ANY, category=CATEGORY[1:])

    def test_missing_values_and_events_outside_given_edges_are_noted(self):
        mass = MASS.copy()
        mass[0] = np.nan
        settings = ExportSettings(observable="dimuon_mass", binning=(100.0, 125.0, 200.0))
        found = build_templates(SCORE, make_table(mass=mass), settings, thresholds=[0.0] * 5)
        outside = (PROCESS != "data") & ~((mass >= 100) & (mass <= 200))
        assert f"{outside.sum()} simulated events ({WEIGHT[outside].sum():.3g} in yield)" in found.notes[0]
        assert "is outside 100 to 200, or missing, are left out" in found.notes[0]
        for name in ("higgs", "dy", "top"):
            expected = WEIGHT[~outside & (name == PROCESS)].sum()
            assert found.channels[0].nominal[name].total == pytest.approx(expected, rel=1e-12)

    def test_weights_that_cancel_are_no_background(self):
        weight = np.array([1e6, 0.1, 0.2, -0.1, -0.2, 1.0, 1.0, 1.0, 1e6])
        process = np.array(["dy"] * 5 + ["higgs"] * 3 + ["dy"])
        table = EventTable.from_arrays(
            {"mass": np.array([0.5, 1.5, 1.5, 1.5, 1.5, 0.5, 1.5, 2.0, 0.5], dtype=np.float32)},
            weight=weight,
            process=process,
            roles={"higgs": "signal", "dy": "background"},
            luminosity_ifb=1.0,
            folds=3,
        )
        settings = ExportSettings(observable="mass", binning=(0.0, 1.0, 2.0), minimum_effective_background=1)
        (channel,) = build_templates(np.ones(9), table, settings, thresholds=[0.5] * 3).channels
        np.testing.assert_array_equal(channel.edges, [0.0, 2.0])
        assert channel.nominal["higgs"].total == 3.0

    def test_one_value_only(self):
        settings = ExportSettings(observable="pt")
        found = build_templates(SCORE, make_table(), settings, thresholds=[0.0] * 5)
        np.testing.assert_array_equal(found.channels[0].edges, [-0.5, 0.5])

    def test_categories_of_the_varied_events_are_needed(self):
        table = make_table()
        pair, _ = make_pair(table, "jes", ["dy"], {"factor": 1.1}, {"factor": 0.9})
        with pytest.raises(InputError, match="There are 1 variations, but categories of the events of 0"):
            build_templates(SCORE, table, ANY, category=CATEGORY, variations=[pair])

    def test_sides_that_are_no_pair(self):
        table = make_table()
        up = make_varied(table, "jes", "up", ["dy"])
        down = make_varied(table, "jer", "down", ["dy"])
        with pytest.raises(InputError, match="found weight 'jes' up with weight 'jer' down"):
            build_templates(SCORE, table, ANY, thresholds=[0.5] * 5, variations=[(up, down)])

    def test_the_same_variation_twice(self):
        table = make_table()
        pair, _ = make_pair(table, "jes", ["dy"], {"factor": 1.1}, {"factor": 0.9})
        with pytest.raises(InputError, match="two variations 'jes'"):
            build_templates(SCORE, table, ANY, thresholds=[0.5] * 5, variations=[pair, pair])

    def test_a_variation_of_an_unknown_process(self):
        table = make_table()
        (up, down), _ = make_pair(table, "jes", ["dy"], {"factor": 1.1}, {"factor": 0.9})
        renamed = VariedEvents(**{**vars(up), "processes": ("dyy",)})
        with pytest.raises(InputError, match=r"variation 'jes' up touches 'dyy', .* Did you mean 'dy'"):
            build_templates(SCORE, table, ANY, thresholds=[0.5] * 5, variations=[(renamed, down)])

    def test_a_variation_with_events_that_it_does_not_touch(self):
        table = make_table()
        (up, down), _ = make_pair(table, "jes", ["dy", "top"], {"factor": 1.1}, {"factor": 0.9})
        renamed = VariedEvents(**{**vars(up), "processes": ("dy",)})
        with pytest.raises(InputError, match="variation 'jes' up hold top, which it does not touch"):
            build_templates(SCORE, table, ANY, thresholds=[0.5] * 5, variations=[(renamed, down)])

    def test_a_variation_with_weights_that_are_not_finite(self):
        table = make_table()
        pair, _ = make_pair(table, "jes", ["dy"], {"factor": np.nan}, {"factor": 0.9})
        with pytest.raises(
            InputError, match=r"events of variation 'jes' up cannot be used\. The weight of event 0 is nan"
        ):
            build_templates(SCORE, table, ANY, thresholds=[0.5] * 5, variations=[pair])

    def test_a_variation_with_other_features(self):
        table = make_table()
        (up, down), _ = make_pair(table, "jes", ["dy"], {"factor": 1.1}, {"factor": 0.9})
        narrow = VariedEvents(**{**vars(up), "features": up.features[:, :1]})
        with pytest.raises(InputError, match="features of variation 'jes' up have shape"):
            build_templates(SCORE, table, ANY, thresholds=[0.5] * 5, variations=[(narrow, down)])


class TestSettings:
    @pytest.mark.parametrize("binning", [0, -3, (1.0,), (0.0, 0.0, 1.0), (1.0, 0.5)])
    def test_unusable_binning(self, binning):
        with pytest.raises(ValueError, match="bin"):
            ExportSettings(binning=binning)

    def test_the_signal_strength_needs_a_usable_name(self):
        with pytest.raises(ValueError, match="signal_strength"):
            ExportSettings(signal_strength="my mu")

    def test_of_a_file(self):
        assert ExportSettings.model_validate({"binning": [0, 0.5, 1]}).binning == (0.0, 0.5, 1.0)


class TestHandMade:
    def template(self, *values):
        return Template(np.array(values, dtype=float), np.ones(len(values)))

    def fit(self, **changes):
        options = {
            "name": "sr",
            "observable": "score",
            "edges": np.array([0.0, 1.0, 2.0]),
            "nominal": {"s": self.template(1, 1), "dy": self.template(3, 4)},
            "varied": {},
            "data": None,
        }
        channel = ChannelTemplates(**{**options, **changes})
        return FitTemplates((channel,), ("s", "dy"), ("signal", "background"), ("S", "Z"), {"jes": "shape"}, 1.0)

    def test_a_bin_without_background(self):
        with pytest.raises(InputError, match="Bin 1 of channel 'sr' has a background of 0 events"):
            self.fit(nominal={"s": self.template(1, 1), "dy": self.template(3, 0)})

    def test_a_negative_bin(self):
        with pytest.raises(InputError, match="Template 'dy' in channel 'sr' must be finite, nowhere negative"):
            self.fit(nominal={"s": self.template(1, 1), "dy": self.template(3, -1)})

    def test_a_varied_template_of_other_bins(self):
        with pytest.raises(InputError, match="Template 'dy_jesUp' in channel 'sr' has values and variances of shape"):
            self.fit(varied={"jes": {"dy": (self.template(1), self.template(1, 2))}})

    def test_an_unknown_variation_and_process(self):
        with pytest.raises(InputError, match="varies dy by 'jer'"):
            self.fit(varied={"jer": {"dy": (self.template(1, 2), self.template(1, 2))}})
        with pytest.raises(InputError, match="has a process 'top' that the templates do not list"):
            self.fit(nominal={"top": self.template(1, 1)})

    def test_data_of_other_bins(self):
        with pytest.raises(InputError, match="The data of channel 'sr' must be 2 numbers"):
            self.fit(data=np.array([1.0]))

    def test_no_channel(self):
        with pytest.raises(InputError, match="no channel to fit"):
            FitTemplates((), ("s",), ("signal",), ("S",), {}, 1.0)

    def test_one_of_several_signal_hypotheses(self):
        nominal = {"s": self.template(1, 1), "s2": self.template(2, 2), "dy": self.template(3, 4)}
        pair = (self.template(2, 3), self.template(1, 1))
        varied = {"jes": {"s": pair, "dy": pair}, "scale": {"s": pair}}
        channel = ChannelTemplates("sr", "score", np.array([0.0, 1.0, 2.0]), nominal, varied, None)
        kinds = {"jes": "shape", "scale": "shape"}
        every = FitTemplates(
            (channel,), ("s", "s2", "dy"), ("signal", "signal", "background"), ("S", "S2", "Z"), kinds, 1.0
        )
        found = every.with_signals(["s2"])
        assert found.process_names == ("s2", "dy")
        assert found.labels == ("S2", "Z")
        assert found.roles == ("signal", "background")
        assert found.kinds == {"jes": "shape"}
        assert list(found.channels[0].nominal) == ["s2", "dy"]
        assert list(found.channels[0].varied["jes"]) == ["dy"]
        with pytest.raises(InputError, match=r"'s3' is no signal process of the templates. Did you mean 's'"):
            every.with_signals(["s3"])
