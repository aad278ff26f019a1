"""Values that stand for a missing one, such as -999, which a training would take for measurements."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# A share of events too small to matter in a training, and numbers that many events have by chance.
_SMALLEST_SHARE, _FEWEST_EVENTS = 0.001, 10
# No tail of a measured distribution has a gap of so many interquartile ranges before a value that many events share.
_FAR = 10


@dataclass(frozen=True)
class Sentinel:
    """A value of a feature that probably stands for a missing one.

    Attributes:
        feature: name of the feature.
        value: the smallest or largest value, far outside all others.
        share: of the events that have the feature, in (0, 1).
    """

    feature: str
    value: float
    share: float

    @property
    def note(self) -> str:
        """What was found and what to do."""
        return (
            f"feature {self.feature!r}: {100 * self.share:.3g} % of the events have the value {self.value:.6g}, far "
            "outside all others. If it stands for a missing value, return NaN instead in the columns."
        )


def find_sentinels(features: npt.NDArray[np.float32], feature_names: Sequence[str]) -> list[Sentinel]:
    """Find values that many events share and that lie ten interquartile ranges or more from all others.

    Only the smallest and the largest value of a feature are tried.  Where the interquartile range is zero, the standard
    deviation stands for it; features with fewer than three values have no sentinel.

    Args:
        features: shape (N, F), NaN where missing.
        feature_names: of length F.

    Returns:
        The sentinels, in the order of the features.

    Example:
        >>> mass = np.append(np.linspace(100, 140, 90), [-999] * 10)
        >>> [sentinel.value for sentinel in find_sentinels(mass[:, None], ["mass"])]
        [-999.0]
    """
    found = []
    for column, name in zip(features.T, feature_names, strict=True):
        values = column[np.isfinite(column)].astype(np.float64)
        for value in (values.min(), values.max()) if len(values) else ():
            count = int((values == value).sum())
            if count >= max(_FEWEST_EVENTS, _SMALLEST_SHARE * len(values)) and _is_far(value, values[values != value]):
                found.append(Sentinel(name, float(value), count / len(values)))
    return found


def _is_far(value: np.float64, others: npt.NDArray[np.float64]) -> bool:
    if not len(others):
        return False
    lower, upper = np.quantile(others, [0.25, 0.75])
    spread = upper - lower or others.std()
    return bool(spread > 0 and np.abs(others - value).min() >= _FAR * spread)
