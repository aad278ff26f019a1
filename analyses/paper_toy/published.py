"""What arXiv:2412.09500 shows of its toy: lines, curves read off its figures, and the landscapes of the error measures."""

from collections.abc import Mapping

EFFICIENCIES = (0.9, 0.7, 0.5, 0.3, 0.2)
"""Signal efficiencies at which significances are compared."""

ROC_EFFICIENCIES = (0.5, 0.7, 0.9)
"""Signal efficiencies at which background efficiencies are compared."""

MINIMUM_SIGNAL_EFFICIENCY = 0.05
MINIMUM_BACKGROUND = 5.0
"""The paper's scan keeps thresholds with eps_sig >= 0.05 and N_B >= 5; N_B is taken as the expected yield here."""

BCE_LINE = (6.100, -10.875)
"""Slope and intercept of the published BCE boundary x2 = slope x1 + intercept, the same in both cases."""

Z_LINES: Mapping[str, tuple[float, float]] = {"paper case 1": (1.508, 0.781), "paper case 2": (-2.511, 17.633)}
"""Slope and intercept of the published Z boundary."""

PEAK: Mapping[str, tuple[float, float]] = {"BCE": (4.216, 0.184), "Z loss": (4.516, 0.51)}
"""Largest significance of case 1 and its signal efficiency."""

SIGNIFICANCES: Mapping[str, tuple[float, ...]] = {
    "BCE": (1.379, 2.265, 3.153, 3.932, 4.193),
    "Z loss": (2.810, 4.194, 4.515, 4.159, 3.696),
}
"""Significances of case 1 at `EFFICIENCIES`."""

TOTAL_BACKGROUND: Mapping[str, tuple[float, ...]] = {"BCE": (0.029, 0.082, 0.249), "Z loss": (0.148, 0.250, 0.403)}
"""Background efficiency of case 1 at `ROC_EFFICIENCIES` counting events, whatever their cross section."""

TRUE_BACKGROUND: Mapping[str, tuple[float, ...]] = {
    "BCE": (0.0081, 0.0297, 0.130),
    "Z loss": (0.0039, 0.0089, 0.036),
}
"""The same weighted with cross sections."""

CORNERS: Mapping[str, tuple[float, float, float, float]] = {
    "hinge": (3.0, 3.0, 0.0, 2.0954659),
    "sigmoid": (1.0, 1.0, 0.0, 0.6984887),
    "cross_entropy": (0.6931472, 1.1262912, 0.5786075, 1.0117511),
    "focal": (0.3465754, 0.7750951, 0.2674819, 0.6960015),
}
"""Loss at (lo, lo), (lo, hi), (hi, lo), (hi, hi) of (F1, F2) for the error measures of the paper's figure 3."""
