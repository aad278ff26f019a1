import time

import numpy as np
import pytest

from tests.selection.family.exact_toys import OVERLAP_FIGURE, VARIATION_FIGURE, gaussian, moved_background, overlap
from zsig_hep.errors import InputError
from zsig_hep.selection import ScoredEvents, WorkingPointSettings
from zsig_hep.selection.family.choose import choose_coefficients, choose_for_events, optimal_score
from zsig_hep.selection.family.problem import Requirements
from zsig_hep.selection.ratios import LikelihoodRatios

NAMES, ROLES = ("signal", "known", "uncertain"), ("signal", "background", "background")
CENTRES = np.array([[3.0, 3.0], [1.5, 3.0], [3.0, 1.5]])
TOTALS = np.array([100.0, 1000.0, 1000.0])
SETTINGS = WorkingPointSettings(
    figure_of_merit="s_over_sqrt_b_with_uncertainty",
    background_uncertainties={"known": 0.02, "uncertain": 0.3},
    simulation_uncertainty_in_figure=False,
    minimum_signal_efficiency=0.02,
)


def drawn(events=4000, seed=1, shift=0.2):
    """Events of the overlap toy with exact ratios: logit, composition and the ratio of moved backgrounds, as arguments."""
    rng = np.random.default_rng(seed)
    process = np.repeat([0, 1, 2], events)
    x = rng.normal(CENTRES[process])
    s, *b = (total * gaussian(x, centre) for total, centre in zip(TOTALS, CENTRES, strict=True))
    up, down = (
        sum(
            total * gaussian(x, np.add(centre, [sign * shift, 0]))
            for total, centre in zip(TOTALS[1:], CENTRES[1:], strict=True)
        )
        for sign in (1, -1)
    )
    return {
        "logit": np.log(s / sum(b) * 20),
        "composition": np.stack(b, axis=1) / sum(b)[:, None],
        "ratios": {"move": np.stack([up, down], axis=1) / sum(b)[:, None]},
        "weight": (TOTALS / events)[process],
        "process": process,
        "names": NAMES,
        "roles": ROLES,
    }


def test_numbers_of_the_choice_belong_to_its_threshold():
    smooth = overlap(100.0, 10.0, 120)
    choice = choose_coefficients(smooth, OVERLAP_FIGURE)
    accepted = choice.coefficients.score(smooth.ratios) >= choice.threshold - 1e-9
    yields = (smooth.yields * smooth.scale)[accepted].sum(axis=0)
    np.testing.assert_allclose(list(choice.smooth_yields.values()), yields, rtol=1e-4)
    assert choice.signal_efficiency == pytest.approx(yields[0] / 100.0, rel=1e-4)
    assert choice.reason == ""
    assert choice.smooth_significance > choice.smooth_significance_unweighted


def test_shift_of_the_choice_is_that_of_the_variation():
    choice = choose_coefficients(moved_background(1.5, 0.3, 500, 50_000, 150), VARIATION_FIGURE, Requirements(0.02, 5))
    odd, even = choice.coefficients.variations["scale"]
    assert even == 0.0
    b, shift = choice.smooth_yields["background"], choice.smooth_shifts["scale"]
    assert choice.smooth_significance == pytest.approx(choice.smooth_yields["signal"] / np.sqrt(b + shift**2), rel=1e-9)
    assert odd == pytest.approx(2 * shift, rel=0.1)


def test_optimal_score_is_that_of_the_coefficients():
    arguments = drawn()
    found = optimal_score(**arguments, settings=SETTINGS)
    c = found.choice.coefficients.backgrounds
    bracket = arguments["composition"] @ np.array([c["known"], c["uncertain"]])
    np.testing.assert_allclose(found.score, arguments["logit"] - np.log(bracket), atol=1e-6)
    assert c["uncertain"] / c["known"] == pytest.approx(2.77, rel=0.15)


def test_variations_count_if_the_settings_say_so():
    without = optimal_score(**drawn(), settings=SETTINGS)
    with_them = optimal_score(**drawn(), settings=SETTINGS.model_copy(update={"variations_in_figure": True}))
    assert without.choice.coefficients.variations == {}
    assert with_them.choice.coefficients.variations["move"][0] != 0.0
    assert with_them.choice.smooth_significance < without.choice.smooth_significance


def test_a_variation_of_the_signal_only_is_not_in_the_score():
    arguments = drawn()
    arguments["ratios"] = {"signal_only": np.ones((arguments["logit"].size, 2))}
    found = optimal_score(**arguments, settings=SETTINGS.model_copy(update={"variations_in_figure": True}))
    reference = optimal_score(**drawn(), settings=SETTINGS)
    assert found.choice.coefficients.variations == {"signal_only": (0.0, 0.0)}
    assert found.choice.smooth_shifts == {"signal_only": 0.0}
    assert found.choice.coefficients.backgrounds == reference.choice.coefficients.backgrounds


def test_the_same_events_twice_with_half_the_weight_change_nothing():
    arguments = drawn(1000)
    twice = dict(arguments)
    for name in ("logit", "composition", "process"):
        twice[name] = np.repeat(arguments[name], 2, axis=0)
    twice["weight"] = np.repeat(arguments["weight"], 2) / 2
    twice["ratios"] = {}
    first, second = (optimal_score(**each, settings=SETTINGS).choice for each in (arguments, twice))
    assert first.smooth_significance == pytest.approx(second.smooth_significance, rel=1e-9)
    assert first.coefficients.backgrounds == pytest.approx(second.coefficients.backgrounds)


def test_the_variance_of_a_thin_simulation_makes_a_background_heavier():
    arguments = drawn(3000)
    thin = (arguments["process"] != 1) | (np.arange(9000) % 50 == 0)
    for name in ("logit", "composition", "process", "weight"):
        arguments[name] = arguments[name][thin]
    arguments["weight"] = np.where(arguments["process"] == 1, 50.0, 1.0) * arguments["weight"]
    arguments["ratios"] = {}
    settings = WorkingPointSettings(minimum_signal_efficiency=0.02, minimum_effective_background=1)
    c = optimal_score(**arguments, settings=settings).choice.coefficients.backgrounds
    assert c["known"] / c["uncertain"] > 2


def test_a_flat_figure_says_so():
    settings = WorkingPointSettings(simulation_uncertainty_in_figure=False)
    choice = optimal_score(**drawn(500), settings=settings).choice
    assert choice.status == "flat"
    assert "no coefficients are better" in choice.reason
    assert choice.coefficients.backgrounds == {"known": 1.0, "uncertain": 1.0}


def test_the_coefficient_at_the_edge_is_named():
    settings = SETTINGS.model_copy(update={"background_uncertainties": {"uncertain": 1e5}})
    arguments = drawn()
    arguments["weight"] = arguments["weight"] * 1e6
    choice = optimal_score(**arguments, settings=settings).choice
    assert choice.status == "at_edge"
    assert "of 'uncertain' (" in choice.reason or "of 'known' (" in choice.reason


def test_requirements_that_no_cut_meets():
    settings = SETTINGS.model_copy(update={"minimum_effective_background": 1e6})
    choice = optimal_score(**drawn(300), settings=settings).choice
    assert choice.status == "no_threshold_qualifies"
    assert choice.threshold is None
    assert "lower the requirements" in choice.reason


def test_data_are_left_out():
    arguments = drawn(1000)
    ratios = LikelihoodRatios.from_arrays(
        arguments["logit"], arguments["composition"], backgrounds=["known", "uncertain"]
    )
    process = np.where(np.arange(3000) % 10 == 0, 3, arguments["process"])
    events = ScoredEvents.from_arrays(
        arguments["logit"], arguments["weight"], process, names=[*NAMES, "data"], roles=[*ROLES, "data"], ratios=ratios
    )
    kept = process < 3
    without = ScoredEvents.from_arrays(
        arguments["logit"][kept], arguments["weight"][kept], process[kept], names=NAMES, roles=ROLES,
        ratios=ratios.select(kept),
    )  # fmt: skip
    assert choose_for_events(events, SETTINGS) == choose_for_events(without, SETTINGS)


def test_events_without_ratios():
    events = ScoredEvents.from_arrays([0.1, 0.2], [1, 1], [0, 1], names=["s", "b"], roles=["signal", "background"])
    with pytest.raises(InputError, match="no likelihood ratios: pass `ratios`"):
        choose_for_events(events, SETTINGS)


def test_ratios_of_other_events():
    with pytest.raises(InputError, match="2 scores, but likelihood ratios of 1 events"):
        ScoredEvents.from_arrays(
            [0.1, 0.2], [1, 1], [0, 1], names=["s", "b"], roles=["signal", "background"],
            ratios=LikelihoodRatios.from_arrays([0.1], None, backgrounds=["b"]),
        )  # fmt: skip


@pytest.mark.slow
def test_five_coefficients_of_1e5_events_take_less_than_20_seconds():
    rng = np.random.default_rng(3)
    arguments = drawn(33_334)
    move = arguments["ratios"]["move"][:, 0]
    arguments["ratios"] = {
        name: 1 + scale * (move - 1) + 0.01 * rng.normal(size=move.size)
        for name, scale in {"a": 0.5, "b": -0.7, "c": 1.0, "d": 0.2}.items()
    }
    start = time.process_time()
    choice = optimal_score(**arguments, settings=SETTINGS.model_copy(update={"variations_in_figure": True})).choice
    assert time.process_time() - start < 20
    assert choice.smooth_significance > choice.smooth_significance_unweighted
