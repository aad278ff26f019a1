"""Markdown tables of numbers that were measured with several seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NOTHING = "–"
"""Stands where a seed has no number."""


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds; the deviation of a single value is None.

    Example:
        >>> str(Spread.of([1.0, 2.0, 3.0])), str(Spread.of([4.216], digits=3)), str(Spread.of([1.0, float("nan")]))
        ('2.00 ± 1.00', '4.216', '–')
    """

    mean: float
    deviation: float | None
    digits: int = 2

    @classmethod
    def of(cls, values: Sequence[float] | npt.NDArray[np.float64], digits: int = 2) -> "Spread":
        """Spread of values, one per seed; its mean is NaN where there are none, or one is not finite."""
        if not len(values) or not np.isfinite(values).all():
            return cls(np.nan, None, digits)
        deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return cls(float(np.mean(values)), deviation, digits)

    def __str__(self) -> str:
        """Mean ± deviation."""
        return _rounded(self.mean, self.deviation, f".{self.digits}f")


def paired_difference(values: npt.ArrayLike, baseline: npt.ArrayLike, digits: int = 3) -> str:
    """Mean difference of values and a baseline of the same seeds, with the error of the mean.

    Example:
        >>> paired_difference([1.1, 2.2, 3.3], [1.0, 2.0, 3.0]), paired_difference([1.1], [1.0])
        ('+0.200 ± 0.058', '+0.100')
    """
    with np.errstate(invalid="ignore"):  # inf - inf, which is shown as a dash
        found = np.subtract(values, baseline, dtype=np.float64)
    spread = Spread.of(found)
    error = None if spread.deviation is None else spread.deviation / len(found) ** 0.5
    return _rounded(spread.mean, error, f"+.{digits}f")


def table(heads: Sequence[object], lines: Iterable[Sequence[object]]) -> str:
    """A markdown table.

    Example:
        >>> print(table(["a", "b"], [[1, 2]]))
        | a | b |
        |---|---|
        | 1 | 2 |
    """
    rows = ["| " + " | ".join(map(str, cells)) + " |" for cells in (heads, *lines)]
    return "\n".join([rows[0], "|" + "---|" * len(heads), *rows[1:]])


def _rounded(mean: float, error: float | None, form: str) -> str:
    if not np.isfinite(mean):
        return NOTHING
    return f"{mean:{form}}" if error is None else f"{mean:{form}} ± {error:{form.removeprefix('+')}}"
