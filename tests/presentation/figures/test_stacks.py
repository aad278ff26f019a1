"""Stacks: what is scaled, and by how much."""

import pytest

from zsig_hep.presentation.figures.stacks import scale_factor


@pytest.mark.parametrize(
    ("peak", "reference", "logarithmic", "factor"),
    [(0.0, 10.0, False, 1.0), (3.0, 10.0, False, 1.0), (1.0, 10.0, False, 5.0), (1e-6, 1.0, False, 5e5), (2.0, 0.1, True, 1.0),
     (0.01, 0.1, True, 200.0)],
)  # fmt: skip
def test_scale_factor(peak: float, reference: float, logarithmic: bool, factor: float) -> None:
    assert scale_factor(peak, reference, logarithmic=logarithmic) == pytest.approx(factor)
