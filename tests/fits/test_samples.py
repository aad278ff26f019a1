from dataclasses import replace

import numpy as np
import pytest

from tests.fits.scored import MASS, PROCESS, ROW, SCORE, WEIGHT, make_events, make_pair, make_varied
from zsig_hep.errors import InputError
from zsig_hep.fits import Channels
from zsig_hep.fits.samples import SampleReader
from zsig_hep.selection import ScoredEvents

CUT = Channels.of_cut([0.5] * 5)


def reader(*variations, observable=None, channels=CUT):
    return SampleReader(make_events(*variations), observable, channels)


class TestChannels:
    def test_of_a_cut(self):
        assert Channels.of_cut([0.5, None]) == Channels(("signal_region",), ((0.5,), None))

    def test_of_categories(self):
        edges = ((0.2, 0.5), None, (0.3, 0.6))
        assert Channels.of_categories(edges) == Channels(("category_0", "category_1"), edges)
        assert Channels.of_categories(edges, ["loose", "tight"]).names == ("loose", "tight")
        assert Channels.of_categories((None, None)) == Channels((), (None, None))

    def test_names_must_be_as_many_as_edges(self):
        with pytest.raises(InputError, match="1 channels are named, and fold 2 has edges of 2"):
            Channels(("a",), ((0.1,), None, (0.2, 0.3)))

    def test_the_channel_of_an_event_is_that_of_its_fold(self):
        events = ScoredEvents.from_arrays(
            [0.1, 0.2, 0.6, 0.6, 0.2], np.ones(5), [0] * 5, names=["dy"], roles=["background"],
            fold=[0, 0, 0, 1, 2], fold_count=3,
        )  # fmt: skip
        assert Channels.of_categories(((0.2, 0.5), None, (0.1, 0.2))).of(events).tolist() == [-1, 0, 1, -1, 1]


class TestNominal:
    @pytest.mark.parametrize(
        ("observable", "value"), [(None, np.zeros(len(SCORE))), ("score", SCORE), ("dimuon_mass", MASS)]
    )
    def test_simulated_events_and_data(self, observable, value):
        simulated, data = reader(observable=observable).nominal()
        for sample, mask in ((simulated, PROCESS != "data"), (data, PROCESS == "data")):
            np.testing.assert_array_equal(sample.weight, WEIGHT[mask])
            np.testing.assert_array_equal(sample.process, ROW[mask])
            np.testing.assert_array_equal(sample.channel, np.where(SCORE >= 0.5, 0, -1)[mask])
            np.testing.assert_array_equal(sample.value, value[mask])

    def test_the_events_of_a_channel(self):
        simulated, _ = reader(observable="score").nominal()
        inside = simulated.in_channel(0)
        expected = (PROCESS != "data") & (SCORE >= 0.5)
        np.testing.assert_array_equal(inside.value, SCORE[expected])
        np.testing.assert_array_equal(inside.process, ROW[expected])
        assert (inside.channel == 0).all()

    def test_an_unknown_observable_names_the_nearest(self):
        with pytest.raises(InputError, match=r"'dimuon_mas', which is neither .* Did you mean 'dimuon_mass'\?"):
            reader(observable="dimuon_mas")

    def test_channels_of_another_number_of_folds(self):
        with pytest.raises(InputError, match="channels of 3 folds for events of 5"):
            reader(channels=Channels.of_cut([0.5] * 3))


class TestVariations:
    def test_events_of_both_sides_and_the_processes_that_each_touches(self):
        up = make_varied("jes", "up", ["dy", "top"], factor=1.5, shift=2.0)
        down = make_varied("jes", "down", ["top"], factor=0.5, shift=-2.0)
        (found,) = reader((up, down), observable="dimuon_mass").variations()
        assert (found.name, found.kind, found.processes) == ("jes", "weight", ((1, 3), (3,)))
        for sample, names, factor, shift in zip(
            found.sides, (["dy", "top"], ["top"]), (1.5, 0.5), (2, -2), strict=True
        ):
            mask = np.isin(PROCESS, names)
            np.testing.assert_array_equal(sample.weight, factor * WEIGHT[mask])
            np.testing.assert_array_equal(sample.value, (MASS[mask] + np.float32(shift)).astype(float))
            np.testing.assert_array_equal(sample.channel, np.where(SCORE >= 0.5, 0, -1)[mask])

    def refused(self, *pairs, match):
        with pytest.raises(InputError, match=match):
            reader(*pairs).variations()

    def test_sides_that_are_no_pair(self):
        up, down = make_varied("jes", "up", ["dy"]), make_varied("jer", "down", ["dy"])
        self.refused((up, down), match="found weight 'jes' up with weight 'jer' down")
        up, down = make_pair("jes", ["dy"])
        self.refused((down, up), match="found weight 'jes' down with weight 'jes' up")
        self.refused((up, replace(down, kind="shape")), match="found weight 'jes' up with shape 'jes' down")

    def test_the_same_variation_twice(self):
        pair = make_pair("jes", ["dy"])
        self.refused(pair, pair, match="two variations 'jes'")

    @pytest.mark.parametrize("name", ["dyy", "data"])
    def test_a_process_that_cannot_be_varied(self, name):
        up, down = make_pair("jes", ["dy"])
        words = f"variation 'jes' up touches '{name}', which is no simulated process"
        self.refused((replace(up, touched=(name,)), down), match=words)

    def test_events_that_it_does_not_touch(self):
        up, down = make_pair("jes", ["dy", "top"])
        words = "variation 'jes' up hold top, which it does not touch"
        self.refused((replace(up, touched=("dy",)), down), match=words)

    def test_weights_that_are_not_finite(self):
        pair = make_pair("jes", ["dy"], {"factor": np.nan})
        self.refused(pair, match=r"events of variation 'jes' up cannot be used\. The weight of event 0 is nan")

    def test_other_features(self):
        up, down = make_pair("jes", ["dy"])
        words = "features of variation 'jes' down have shape"
        self.refused((up, replace(down, features=down.features[:, :1])), match=words)
