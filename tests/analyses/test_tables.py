import numpy as np
import pytest

from analyses.tables import Spread, paired_difference, table


@pytest.mark.parametrize(
    ("values", "digits", "expected"),
    [
        ([1.0, 3.0], 1, "2.0 ± 1.4"),
        ([4.2161], 3, "4.216"),
        ([1.0, np.nan], 2, "–"),
        ([2.0, np.inf], 2, "–"),
        ([], 2, "–"),
    ],
)
def test_spread_is_mean_and_standard_deviation_over_seeds(values, digits, expected):
    assert str(Spread.of(values, digits)) == expected


def test_difference_is_paired_by_seed():
    baseline = np.array([1.0, 2.0, 3.0])
    # Unpaired, the error of the mean would be 0.8.
    assert paired_difference(baseline + np.array([0.1, 0.2, 0.3]), baseline) == "+0.200 ± 0.058"
    assert paired_difference(baseline, baseline + 0.25, digits=2) == "-0.25 ± 0.00"
    assert paired_difference([1.0], [0.5]) == "+0.500"
    assert paired_difference([1.0, np.inf], [1.0, np.inf]) == paired_difference([], []) == "–"


def test_table():
    assert table(["a", 0.5], [[1, Spread(2.0, None)], ["b", ""]]) == "| a | 0.5 |\n|---|---|\n| 1 | 2.00 |\n| b |  |"
