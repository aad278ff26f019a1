import dataclasses

import numpy as np
import pytest

from tests.fits.channels import make_fit
from zsig_hep.errors import InputError
from zsig_hep.fits import ChannelTemplates, ExportSettings, FitTemplates, Template
from zsig_hep.fits.templates import histogram_name


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
        assert ExportSettings.model_validate({"binning": [0, 1]}).binning == (0.0, 1.0)
        assert ExportSettings().minimum_effective_background == 10.0


class TestSums:
    LOW = make_fit().channels[0]

    def test_of_one_template(self):
        template = Template(np.array([3.0, 1.0]), np.array([9.0, 16.0]))
        assert (template.total, template.uncertainty) == (4.0, 5.0)

    def test_of_processes_that_are_in_the_channel(self):
        found = self.LOW.summed(["dy", "top", "absent"])
        np.testing.assert_allclose(found.values, [430.0, 220.0, 60.0])
        np.testing.assert_allclose(found.variances, [20**2 + 1.5**2, 10**2 + 1, 2.5**2 + 0.5**2])
        nothing = self.LOW.summed([])
        np.testing.assert_array_equal([nothing.values, nothing.variances], np.zeros((2, 3)))

    def test_factors_of_a_variation(self):
        assert self.LOW.factors("dy_rate", "dy") == pytest.approx((1.1, 0.92))
        assert self.LOW.factors("isr", "top") == pytest.approx((62 / 60, 58 / 60))

    def test_what_is_observed(self):
        blinded, fit = make_fit(), make_fit(data=True)
        assert (blinded.is_blinded, fit.is_blinded) == (True, False)
        np.testing.assert_allclose(blinded.observed(blinded.channels[0]), [430.0, 220.0, 60.0])
        np.testing.assert_array_equal(fit.observed(fit.channels[0]), [420, 230, 66])
        # One blinded channel blinds all.
        one = dataclasses.replace(fit, channels=(fit.channels[0], dataclasses.replace(fit.channels[1], data=None)))
        np.testing.assert_allclose(one.observed(one.channels[0]), [430.0, 220.0, 60.0])

    def test_roles(self):
        fit = make_fit()
        assert (fit.signals, fit.backgrounds) == (("higgs",), ("dy", "top"))


class TestNames:
    def test_of_histograms(self):
        assert [histogram_name("dy"), histogram_name("dy", "jes"), histogram_name("dy", "jes", "Down")] == [
            "dy", "dy_jesUp", "dy_jesDown",
        ]  # fmt: skip

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
        with pytest.raises(InputError, match=r"The channel name 's r' cannot be used in fits.*'s_r' would be valid"):
            FitTemplates((channel,), ("s", "dy"), ("signal", "background"), ("s", "dy"), {}, 1.0)


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

    def test_two_of_one_name(self):
        fit = make_fit()
        with pytest.raises(InputError, match="Two channel names are 'low'; each must be different"):
            dataclasses.replace(fit, channels=(fit.channels[0], fit.channels[0]))

    def test_a_channel_without_signal(self):
        with pytest.raises(InputError, match="No signal process has a positive yield in any channel"):
            self.fit(nominal={"dy": self.template(3, 4)})

    def test_negative_data(self):
        with pytest.raises(InputError, match="must be 2 numbers that are not negative"):
            self.fit(data=np.array([1.0, -1.0]))

    @pytest.mark.parametrize(
        ("uncertainties", "message"),
        [
            ({"jes": {"dy": 0.1}}, "A variation and a background uncertainty are both called 'jes'"),
            ({"rate": {"s": 0.1}}, "Parameter 'rate' gives 's' a relative uncertainty of 0.1; it must be a background"),
            ({"rate": {"dy": 0.0}}, "relative uncertainty of 0.0; it must be"),
            ({"a-b": {"dy": 0.1}}, "The parameter name 'a-b' cannot be used in fits"),
        ],
    )
    def test_background_uncertainties(self, uncertainties, message):
        with pytest.raises(InputError, match=message):
            dataclasses.replace(self.fit(), uncertainties=uncertainties)
