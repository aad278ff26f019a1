"""Stacks: what is scaled, and by how much."""

import hist
import pytest

from zsig_hep.presentation.figures.stacks import scale_factor, stack_of


@pytest.mark.parametrize(
    ("peak", "reference", "logarithmic", "factor"),
    [(0.0, 10.0, False, 1.0), (3.0, 10.0, False, 1.0), (1.0, 10.0, False, 5.0), (1e-6, 1.0, False, 5e5), (2.0, 0.1, True, 1.0),
     (0.01, 0.1, True, 200.0)],
)  # fmt: skip
def test_scale_factor(peak: float, reference: float, logarithmic: bool, factor: float) -> None:
    assert scale_factor(peak, reference, logarithmic=logarithmic) == pytest.approx(factor)


def test_a_name_that_hist_takes_for_a_pattern_is_one_process() -> None:
    process = hist.axis.StrCategory(["ZZ", "ZZ*", "h"], name="process")
    histogram = hist.Hist(process, hist.axis.Regular(2, 0, 1, name="x"), storage=hist.storage.Weight())
    for weight, name in enumerate(("ZZ", "ZZ*", "h"), start=1):
        histogram.fill(name, [0.2], weight=weight)
    stack = stack_of(histogram, {"ZZ": "background", "ZZ*": "background", "h": "signal"})
    assert {name: values[0] for name, values in stack.backgrounds.items()} == {"ZZ": 1.0, "ZZ*": 2.0}
