import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsig_hep.errors import InputError
from zsig_hep.fits import ChannelTemplates, ExportSettings, FitTemplates, Template
from zsig_hep.fits.rules import usable_channel

ANY = ExportSettings(minimum_effective_background=1)


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
        assert "has shifts of the same sign (+10 % up, +5 % down); kept as is" in notes[0]

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
            "channel 'sr': negative bins of 'top' (1 of 3, down to -1) set to 0; its yield in the channel is unchanged",
            "channel 'sr': negative bins of top under variation 'jes' set to 0",
        )

    def test_or_only_the_bin_is_set_to_zero(self):
        settings = ANY.model_copy(update={"negative_bins": "floor"})
        channel, notes = usable_channel(self.RAW, ["dy", "top"], settings)
        np.testing.assert_allclose(channel.nominal["top"].values, [4, 0, 3])
        assert "its yield in the channel increases" in notes[0]

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
