import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsig_hep.errors import InputError
from zsig_hep.selection.family.coefficients import CERTAIN, FamilyCoefficients, family_score
from zsig_hep.selection.ratios import LikelihoodRatios

RATIOS = LikelihoodRatios.from_arrays(
    [2.0, -1.0, 0.5],
    [[0.9, 0.1], [0.3, 0.7], [0.5, 0.5]],
    {"jes": [[1.2, 0.9], [0.8, 1.1], [1.0, 1.0]]},
    backgrounds=["dy", "top"],
    signal_composition=[[0.2, 0.8], [0.6, 0.4], [0.5, 0.5]],
    signals=["ggh", "vbf"],
)


def test_neutral_coefficients_give_the_logit():
    neutral = FamilyCoefficients({"dy": 1.0, "top": 1.0}, {"ggh": 1.0, "vbf": 1.0}, {"jes": (0.0, 0.0)})
    np.testing.assert_allclose(neutral.score(RATIOS), RATIOS.logit, atol=1e-12)


def test_score_is_the_equation_by_hand():
    score = FamilyCoefficients({"top": 2.0, "dy": 0.5}, {"ggh": 3.0, "vbf": 0.5}, {"jes": (0.4, 0.7)}).score(RATIOS)
    bracket = 0.5 * 0.9 + 2.0 * 0.1 + 0.4 * (1.2 - 0.9) / 2 + 0.7 * ((1.2 + 0.9) / 2 - 1)
    assert score[0] == pytest.approx(2.0 + np.log(3.0 * 0.2 + 0.5 * 0.8) - np.log(bracket), abs=1e-9)


def test_coefficients_belong_to_names_and_not_to_places():
    first = FamilyCoefficients({"dy": 0.5, "top": 2.0}).score(RATIOS)
    second = FamilyCoefficients({"top": 2.0, "dy": 0.5}).score(RATIOS)
    np.testing.assert_array_equal(first, second)


def test_a_negative_bracket_is_above_all_others_and_finite():
    # The size of bracket e^-logit is 1e-3, e^-25, 1e-9 e^400, 1e9 e^-700 and 1.
    score = family_score([0.0, 25.0, -400.0, 700.0, 0.0], [1e-3, 1.0, -1e-9, -1e9, -1.0])
    assert np.isfinite(score).all()
    assert score[:2].max() < CERTAIN
    assert score[3] == pytest.approx(CERTAIN)
    assert score[2] > score[4] > CERTAIN


@given(
    st.lists(
        st.tuples(st.floats(-30, 30), st.floats(-1e3, 1e3).filter(lambda b: abs(b) > 1e-6)), min_size=2, max_size=20
    )
)
def test_order_is_that_of_the_inverse_ratio(events):
    logit, bracket = np.array(events).T
    key = bracket * np.exp(-logit)
    score = family_score(logit, bracket)
    order = np.argsort(key)
    # Scores round near T, where ratios of e^-30 and smaller cannot be told apart.
    assert (np.diff(score[order]) <= 1e-12 * np.abs(score).max()).all()


@given(st.floats(-50, 12), st.floats(1e-3, 1e3))
def test_score_of_a_positive_bracket_is_the_logit_minus_its_logarithm(logit, bracket):
    expected = logit - np.log(bracket)
    correction = np.exp(2 * (expected - CERTAIN))
    assert float(family_score(logit, bracket)) == pytest.approx(expected, abs=1e-9 + 2 * correction)


@pytest.mark.parametrize(
    ("coefficients", "message"),
    [
        (FamilyCoefficients({"dy": 1.0}), "'top'"),
        (FamilyCoefficients({"dy": 1.0, "top": 1.0}, variations={"jer": (1.0, 0.0)}), "'jer'.* Did you mean 'jes'"),
        (FamilyCoefficients({"dy": 1.0, "top": 1.0}, {"ggh": 2.0, "wh": 1.0}), "'vbf'"),
    ],
)
def test_missing_names(coefficients, message):
    with pytest.raises(InputError, match=message):
        coefficients.score(RATIOS)


def test_different_signals_need_their_composition():
    ratios = LikelihoodRatios.from_arrays([1.0], None, backgrounds=["dy"])
    with pytest.raises(InputError, match="no signal composition"):
        FamilyCoefficients({"dy": 1.0}, {"ggh": 2.0, "vbf": 1.0}).score(ratios)
