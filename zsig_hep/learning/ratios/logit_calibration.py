"""Calibration of a logit, so that its exponential is a ratio of densities in the tails too.

A cut needs the order of events only, but smooth yields need the ratio of densities itself. Networks that are kept from
overfitting have logits that are too small where events are few, by a factor of two or three in the ratio.
"""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from zsig_hep.errors import TrainingError

Floats = npt.NDArray[np.float64]

LEVELS = (0.01, 0.05, 0.2, 0.5, 0.8, 0.95, 0.99)
"""Shares of the signal below the knots."""
_NEWTON_STEPS = 30


@dataclass(frozen=True, eq=False)
class LogitCalibration:
    """A calibrated logit l + beta_0 + beta_1 l + sum_j beta_j max(l - kappa_j, 0), linear beyond the last knot.

    Attributes:
        knots: kappa_j, quantiles of the signal.
        coefficients: beta.
    """

    knots: Floats
    coefficients: Floats

    @classmethod
    def fit(cls, logit: Floats, weight: Floats, is_signal: npt.NDArray[np.bool_]) -> "LogitCalibration":
        """Fit by cross entropy on events that the classifier was not trained on.

        Signal and background have the same total weight, that of the effective entries of the smaller one, and each
        coefficient a Gaussian prior of unit width around zero: with few events the logit stays as it is.

        Args:
            logit: shape [N].
            weight: not negative, shape [N].
            is_signal: shape [N].

        Raises:
            TrainingError: there is no signal or no background.
        """
        entries = [_entries(weight[mine]) for mine in (is_signal, ~is_signal)]
        if min(entries) == 0:
            message = "A calibration of the logit needs signal and background events with positive weights."
            raise TrainingError(message)
        sums = np.where(is_signal, weight[is_signal].sum(), weight[~is_signal].sum())
        scaled = weight / sums * min(entries)
        order = np.argsort(logit[is_signal], kind="stable")
        below = np.cumsum(weight[is_signal][order])
        knots = np.interp(np.multiply(LEVELS, below[-1]), below, logit[is_signal][order])
        columns = _columns(logit, knots)
        beta = np.zeros(columns.shape[1])
        for _ in range(_NEWTON_STEPS):
            share = expit(logit + columns @ beta)
            gradient = columns.T @ (scaled * (share - is_signal)) + beta
            curvature = (columns * (scaled * share * (1 - share))[:, None]).T @ columns + np.eye(beta.size)
            step = np.linalg.solve(curvature, gradient)
            beta = beta - step
            if np.abs(step).max() < 1e-9:
                break
        return cls(knots, beta)

    def __call__(self, logit: Floats) -> Floats:
        """Calibrated logits, any shape."""
        return np.asarray(logit + _columns(logit, self.knots) @ self.coefficients)

    def between(self, offset: float) -> "LogitCalibration":
        """The calibration of a logit l for classes whose totals have the ratio e^offset: that of l - offset, plus it."""
        # sum_j beta_j max(l - offset - kappa_j, 0) has its knots at kappa_j + offset.
        coefficients = self.coefficients.copy()
        coefficients[0] -= coefficients[1] * offset
        return replace(self, knots=self.knots + offset, coefficients=coefficients)


def _columns(logit: Floats, knots: Floats) -> Floats:
    hinges = [np.maximum(logit - knot, 0.0) for knot in knots]
    return np.stack([np.ones_like(logit), logit, *hinges], axis=-1)


def _entries(weight: Floats) -> float:
    total = float(weight.sum())
    return float(total**2 / (weight**2).sum()) if total > 0 else 0.0
