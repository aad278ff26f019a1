import numpy as np
import pytest

from zsig_hep.errors import InputError
from zsig_hep.selection.ratios import LikelihoodRatios

LOGIT, COMPOSITION, NAMES = [2.0, -1.0], [[0.9, 0.1], [0.3, 0.7]], ("dy", "top")


def make(logit=LOGIT, composition=COMPOSITION, ratios=None, **options):
    return LikelihoodRatios.from_arrays(logit, composition, ratios, **{"backgrounds": NAMES, **options})


def test_one_direction_is_mirrored():
    ratios = make(ratios={"jes": [1.1, 0.7], "jer": [[1.2, 1.1], [0.9, 0.8]]})
    np.testing.assert_allclose(ratios.variations[:, 0], [[1.1, 0.9], [0.7, 1.3]])
    np.testing.assert_allclose(ratios.odd_shifts, [[0.1, 0.05], [-0.3, 0.05]])
    np.testing.assert_allclose(ratios.even_shifts, [[0.0, 0.15], [0.0, -0.15]], atol=1e-15)


def test_squares_of_both_shifts_are_the_variance_of_the_symmetrised_variation():
    ratios = make(ratios={"jes": [[1.3, 0.9], [1.1, 1.2]]})
    expected = ((ratios.variations - 1) ** 2).mean(axis=-1)
    np.testing.assert_allclose(ratios.odd_shifts**2 + ratios.even_shifts**2, expected)


def test_a_single_background_needs_no_composition():
    assert make(composition=None, backgrounds=["dy"]).composition.tolist() == [[1.0], [1.0]]


def test_selected_events_keep_all_columns():
    ratios = make(ratios={"jes": [1.1, 0.7]}, signal_composition=[[0.5, 0.5], [0.2, 0.8]], signals=["ggh", "vbf"])
    chosen = ratios.select(np.array([False, True]))
    assert len(chosen) == 1
    assert chosen.composition.tolist() == [[0.3, 0.7]]
    assert chosen.signal_composition.tolist() == [[0.2, 0.8]]
    assert chosen.variations[0, 0].tolist() == [0.7, 1.3]
    assert chosen.only([]).variations.shape == (1, 0, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"logit": [[1.0, 2.0]]}, "one axis"),
        ({"logit": [1.0, np.nan]}, "logit of event 1 is nan"),
        ({"composition": [[1.0], [1.0]]}, r"shape \(2, 2\), one column for each of dy, top"),
        ({"composition": None}, r"shape \(2, 2\)"),
        ({"composition": [[0.9, 0.1], [0.9, 0.7]]}, r"event 1 is \[0.9, 0.7\] \(1 such"),
        ({"composition": [[1.1, -0.1], [0.3, 0.7]]}, "must not be negative"),
        ({"composition": [[np.inf, 0.1], [0.3, 0.7]]}, "must be finite"),
        ({"signal_composition": [[0.5, 0.5]] * 2, "signals": ["ggh"]}, "signal composition must have shape"),
        ({"ratios": {"jes": [1.0, 1.0, 1.0]}}, "variation 'jes' must have shape"),
        (
            {"ratios": {"jes": [1.0, np.inf]}},
            "'jes' is inf in event 1 .* infinite where the nominal background is empty",
        ),
        ({"ratios": {"jes": [[1.0, 1.0], [1.0, np.nan]]}}, "nan"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(InputError, match=message):
        make(**arguments)
