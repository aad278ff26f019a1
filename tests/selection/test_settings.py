import pytest
from pydantic import ValidationError

from zsig_hep.selection import WorkingPointSettings
from zsig_hep.statistics import FigureOfMerit, FigureParameters, Objective


def test_defaults():
    options = WorkingPointSettings()
    assert options.figure_of_merit is FigureOfMerit.ASIMOV
    assert (options.minimum_effective_background, options.minimum_signal_efficiency) == (3.0, 0.05)
    assert options.dominant_background_fraction == 1.0
    assert options.simulation_uncertainty_in_figure is None
    assert options.includes_simulation
    assert (options.sensitivity.relative_bandwidth, options.sensitivity.replicas) == (0.3, 200)
    assert options.objective == Objective(
        FigureOfMerit.ASIMOV_WITH_UNCERTAINTY, simulation_uncertainty_in_figure=True
    )  # fmt: skip


class TestObjective:
    def test_it_repeats_the_settings(self):
        options = WorkingPointSettings(
            figure_of_merit="asimov_with_uncertainty",
            background_uncertainties={"top": 0.3},
            relative_background_uncertainty=0.05,
            simulation_uncertainty_in_figure=True,
            signals="minimum",
        )
        assert options.objective == Objective(
            figure=FigureOfMerit.ASIMOV_WITH_UNCERTAINTY,
            background_uncertainties={"top": 0.3},
            relative_background_uncertainty=0.05,
            simulation_uncertainty_in_figure=True,
            signals="minimum",
        )

    @pytest.mark.parametrize(
        ("figure", "inside", "meant"),
        [
            ("asimov", None, "asimov_with_uncertainty"),
            ("asimov", True, "asimov_with_uncertainty"),
            ("asimov", False, "asimov"),
            ("s_over_sqrt_b", None, "s_over_sqrt_b_with_uncertainty"),
            ("poisson", None, "poisson_with_uncertainty"),
            ("poisson_with_uncertainty", None, "poisson_with_uncertainty"),
            ("poisson_with_uncertainty", False, "poisson_with_uncertainty"),
            ("ams", None, "ams"),
            ("punzi", None, "punzi"),
            ("punzi", False, "punzi"),
        ],
    )
    def test_the_simulation_is_in_every_figure_that_can_include_it(self, figure, inside, meant):
        options = WorkingPointSettings(figure_of_merit=figure, simulation_uncertainty_in_figure=inside)
        expected = inside is not False and figure not in {"ams", "punzi"}
        assert options.objective.figure == meant
        assert options.objective.simulation_uncertainty_in_figure is options.includes_simulation is expected
        # The name in the settings is the one that was given.
        assert options.figure_of_merit == figure

    @pytest.mark.parametrize(
        ("given", "meant"),
        [
            ({"figure_of_merit": "ams"}, FigureParameters(10.0, 3.0)),
            ({"figure_of_merit": "ams", "ams_regularisation": 0.0}, FigureParameters(0.0, 3.0)),
            ({"figure_of_merit": "punzi", "punzi_sigmas": 5.0}, FigureParameters(10.0, 5.0)),
        ],
    )
    def test_the_numbers_of_a_figure(self, given, meant):
        assert WorkingPointSettings.model_validate(given).objective.parameters == meant

    def test_settings_with_gradients_differ_in_the_figure_alone(self):
        exact = WorkingPointSettings(
            figure_of_merit="poisson_with_uncertainty", background_uncertainties={"top": 0.3}, signals="mean"
        )
        smooth = exact.model_copy(update={"figure_of_merit": FigureOfMerit.ASIMOV_WITH_UNCERTAINTY})
        assert exact.differentiable == smooth
        assert smooth.differentiable == smooth


@pytest.mark.parametrize(
    ("given", "uncertain"),
    [
        ({}, False),
        ({"simulation_uncertainty_in_figure": True}, False),
        ({"background_uncertainties": {"dy": 0.0}}, False),
        ({"background_uncertainties": {"dy": 0.0, "top": 0.1}}, True),
        ({"relative_background_uncertainty": 0.1}, True),
    ],
)
def test_what_makes_a_background_uncertain(given, uncertain):
    options = WorkingPointSettings(figure_of_merit="asimov_with_uncertainty", **given)
    assert options.has_systematic_uncertainty is uncertain


class TestRefusals:
    @pytest.mark.parametrize(
        "given",
        [
            {"relative_background_uncertainty": 0.1},
            {"background_uncertainties": {"dy": 0.0, "top": 0.1}},
            {"variations_in_figure": True},
        ],
    )
    def test_an_uncertainty_that_the_figure_would_ignore(self, given):
        usable = (
            "figure_of_merit 'punzi' has no background uncertainty; set it to 's_over_sqrt_b_with_uncertainty' or "
            "'asimov_with_uncertainty' or 'poisson_with_uncertainty'"
        )
        with pytest.raises(ValidationError, match=usable):
            WorkingPointSettings(figure_of_merit="punzi", **given)
        assert WorkingPointSettings(figure_of_merit="s_over_sqrt_b_with_uncertainty", **given)

    @pytest.mark.parametrize("figure", ["ams", "punzi"])
    def test_a_figure_that_cannot_include_the_simulation(self, figure):
        usable = (
            f"figure_of_merit '{figure}' cannot include the variance of the simulation; set it to one of 's_over_sqrt_b', "
            "'s_over_sqrt_b_with_uncertainty', 'asimov', 'asimov_with_uncertainty', 'poisson', "
            "'poisson_with_uncertainty', or remove simulation_uncertainty_in_figure"
        )
        with pytest.raises(ValidationError, match=usable):
            WorkingPointSettings(figure_of_merit=figure, simulation_uncertainty_in_figure=True)

    @pytest.mark.parametrize(
        ("given", "words"),
        [
            ({"ams_regularisation": 10.0}, "of the figure of merit 'ams', but figure_of_merit is 'asimov'"),
            ({"figure_of_merit": "ams", "punzi_sigmas": 3.0}, "set figure_of_merit to 'punzi', or remove punzi_sigmas"),
            ({"figure_of_merit": "ams", "ams_regularisation": -1.0}, "greater than or equal to 0"),
            ({"minimum_effective_background": 0}, "greater than or equal to 1"),
            ({"partitions": 0}, "greater than or equal to 1"),
            ({"partitions": 101}, "less than or equal to 100"),
            ({"partitions": 2.5}, "valid integer"),
            ({"minimum_signal_efficiency": 1.5}, "less than or equal to 1"),
            ({"relative_background_uncertainty": -0.1}, "greater than or equal to 0"),
            ({"background_uncertainties": {"dy": -0.1}}, "greater than or equal to 0"),
            ({"signals": "average"}, "'sum', 'mean' or 'minimum'"),
            ({"figure_of_merit": "best"}, "'asimov_with_uncertainty'"),
            ({"minimum_background": 10}, "Extra inputs"),
            ({"sensitivity": {"replicas": 1}}, "greater than or equal to 2"),
            ({"sensitivity": {"relative_bandwidth": 0}}, "greater than or equal to"),
        ],
    )
    def test_what_does_not_belong_or_is_out_of_range(self, given, words):
        with pytest.raises(ValidationError, match=words):
            WorkingPointSettings.model_validate(given)


def test_settings_survive_their_own_dump():
    for options in (WorkingPointSettings(), WorkingPointSettings(figure_of_merit="punzi", punzi_sigmas=5.0)):
        assert WorkingPointSettings.model_validate(options.model_dump(mode="json")) == options
