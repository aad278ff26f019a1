import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zsig_hep.presentation.rounding import percent, round_to_uncertainty, significant, with_uncertainty

THIN = "\u202f"


@pytest.mark.parametrize(
    ("value", "uncertainty", "expected"),
    [
        (0.827, 0.119, ("0.83", "0.12")),
        (0.827, 0.367, ("0.8", "0.4")),
        (0.827, 0.0961, ("0.83", "0.10")),
        (14827.0, 367.0, (f"14{THIN}800", "400")),
        (14827.0, 3.54, (f"14{THIN}827.0", "3.5")),
        (14827.0, 3.55, (f"14{THIN}827", "4")),
        (1482.7, 950.0, ("1500", "1000")),
        (1482.7, 949.0, ("1500", "900")),
        (-25.64, 0.2094, ("\u221225.64", "0.21")),
        (-0.001, 0.5, ("0.0", "0.5")),
        (12.3, 0.0, ("12.30", "0")),
        (12.3, math.nan, ("12.30", "–")),
        (math.nan, 1.0, ("–", "–")),
        (math.inf, 1.0, ("∞", "–")),
    ],
)
def test_rule_of_the_particle_data_group(value: float, uncertainty: float, expected: tuple[str, str]) -> None:
    assert round_to_uncertainty(value, uncertainty) == expected


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e6))
def test_rounding_moves_nothing_by_more_than_the_rule_allows(value: float, uncertainty: float) -> None:
    shown, spread = (
        float(text.replace(THIN, "").replace("\u2212", "-")) for text in round_to_uncertainty(value, uncertainty)
    )
    assert abs(shown - value) <= 0.145 * uncertainty + 1e-12 * abs(value)
    assert abs(spread - uncertainty) <= 0.145 * uncertainty


def test_absence_is_a_dash() -> None:
    assert with_uncertainty(None, None) == significant(None) == percent(None) == "–"
    assert with_uncertainty(1.5, None) == "1.500"
    assert percent(math.nan) == "–"


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [(0.0, 4, "0"), (9.9996, 4, "10.00"), (1.5e12, 3, "1.50 × 10^12"), (2e-7, 2, "2.0 × 10^\u22127"), (-3.0, 2, "\u22123.0")],
)  # fmt: skip
def test_significant_digits(value: float, digits: int, expected: str) -> None:
    assert significant(value, digits) == expected
