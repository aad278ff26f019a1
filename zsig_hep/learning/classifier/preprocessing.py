"""Imputation and robust standardisation of features, fitted to each member's training events."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from zsig_hep.errors import TrainingError, nearest_name
from zsig_hep.representation import ShortRepr
from zsig_hep.settings import FeatureValue

ImputationRule = Literal["mean", "median"] | FeatureValue

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


LIMIT = 3.0
"""Bound of standardised features, which values far outside approach."""

# Beyond it, z / sqrt(1 + (z / 3)^2) is 3 in float32 and float64, while the square overflows in float32.
LARGEST = 1e10

_SMALLEST_SCALE, _LARGEST_SCALE = np.finfo(np.float32).tiny, np.finfo(np.float32).max


@dataclass(frozen=True, repr=False)
class Preprocessing(ShortRepr):
    """x -> z / sqrt(1 + (z / 3)^2) with z = (x - centre) / scale, after missing values are replaced by `fill`.

    The bounded form keeps single values far outside from dominating a network, and loses nothing of the order of events.

    Attributes:
        feature_names: the features, in the order of the network's inputs.
        fill: value that replaces NaN, shape (M, F); NaN for a feature that may not be missing.
        centre: median of each feature, shape (M, F).
        scale: interquartile range of each feature, or its standard deviation or one where that is zero, shape (M, F).
        indicated: features whose absence, 0 or 1, is a further input of the network, in their order.
        is_bounded: False for a linear model, x -> z.
    """

    feature_names: tuple[str, ...]
    fill: Float32Array
    centre: Float32Array
    scale: Float32Array
    indicated: tuple[str, ...] = ()
    is_bounded: bool = True

    @property
    def indicated_columns(self) -> tuple[int, ...]:
        """Indices of the indicated features."""
        return tuple(self.feature_names.index(name) for name in self.indicated)

    def require_known_missing(self, features: Float32Array) -> None:
        """Refuse features that are infinite, or missing without a rule.

        Args:
            features: shape (N, F).

        Raises:
            TrainingError: names the features and what to do.
        """
        has_rule: npt.NDArray[np.bool_] = ~np.any(np.isnan(self.fill), axis=0)
        require_known_missing(features, self.feature_names, has_rule)

    def require_usable(self) -> None:
        """Refuse arrays that are not the result of a fit, such as those of a damaged file.

        Raises:
            ValueError: says what is wrong.
        """
        unfilled = np.isnan(self.fill)
        if np.isinf(self.fill).any() or (unfilled.any(axis=0) != unfilled.all(axis=0)).any():
            message = "fill must be finite, or NaN for all members for a feature that may not be missing"
            raise ValueError(message)
        if unfilled[:, self.indicated_columns].any():
            message = "indicated has a feature without a value in fill"
            raise ValueError(message)
        if not np.isfinite(self.centre).all():
            message = "centre has values that are not finite"
            raise ValueError(message)
        # The smallest float32 has an infinite reciprocal, by which features are multiplied.
        if not (np.isfinite(self.scale) & (self.scale >= _SMALLEST_SCALE)).all():
            message = "scale has values that are not finite and positive"
            raise ValueError(message)


class Standardisation(nn.Module):
    """Preprocessing as the first layer of the M networks; maps features (M, n, F) to (M, n, F + I), I indicators last."""

    fill: Tensor
    centre: Tensor
    inverse_scale: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.may_be_missing = not bool(np.isnan(preprocessing.fill).all())
        self.indicated, self.is_bounded = preprocessing.indicated_columns, preprocessing.is_bounded
        self.register_buffer("fill", torch.from_numpy(preprocessing.fill).unsqueeze(1))
        self.register_buffer("centre", torch.from_numpy(preprocessing.centre).unsqueeze(1))
        self.register_buffer("inverse_scale", torch.from_numpy(1 / preprocessing.scale).unsqueeze(1))

    def forward(self, features: Tensor) -> Tensor:
        """Replace missing values, standardise, and append the indicators."""
        absent = torch.isnan(features) if self.may_be_missing else None
        if absent is not None:
            features = torch.where(absent, self.fill, features)
        z = (features - self.centre) * self.inverse_scale
        if self.is_bounded:
            z = z.clamp(-LARGEST, LARGEST)
            z = z / torch.sqrt(1 + (z / LIMIT) ** 2)
        if absent is None or not self.indicated:
            return z
        indicators = torch.stack([absent[..., column] for column in self.indicated], dim=-1)
        return torch.cat([z, indicators.to(z.dtype)], dim=-1)


def require_known_missing(
    features: Float32Array, feature_names: Sequence[str], has_rule: npt.NDArray[np.bool_]
) -> None:
    """Refuse infinite features, and missing ones without a rule; see `Preprocessing.require_known_missing`."""
    infinite: npt.NDArray[np.bool_] = np.any(np.isinf(features), axis=0)
    ruleless: npt.NDArray[np.bool_] = np.any(np.isnan(features), axis=0) & ~has_rule
    if infinite.any():
        message = f"Infinite values in {_names(feature_names, infinite)}: cap or transform in columns.py."
        raise TrainingError(message)
    if ruleless.any():
        message = (
            f"Missing values (NaN) in {_names(feature_names, ruleless)}, of which no event of the training had one. "
            "Give a rule in the analysis file under `training: {missing: {NAME: mean | median | a number}}` and train "
            "again, or fill the feature in columns.py."
        )
        raise TrainingError(message)


def require_rules_of_features(missing: Mapping[str, ImputationRule], feature_names: Sequence[str]) -> None:
    """Refuse a rule for missing values of a feature that does not exist.

    Raises:
        TrainingError: names the nearest feature.
    """
    for name in missing:
        if name not in feature_names:
            message = (
                f"A rule for missing values names the unknown feature {name!r}.{nearest_name(name, feature_names)}"
            )
            raise TrainingError(message)


def fit_preprocessing(
    features: Float32Array,
    weights: Float64Array,
    is_signal: npt.NDArray[np.bool_],
    training_events: Sequence[npt.NDArray[np.int64]],
    feature_names: Sequence[str],
    missing: Mapping[str, ImputationRule],
    *,
    is_bounded: bool = True,
) -> Preprocessing:
    """Fit imputation and standardisation for each member.

    Signal and background have the same total weight, as in the cross entropy.  A feature that is missing in an event of
    the sample and has no rule is replaced by its median, and its absence is an input of the network.

    Args:
        features: shape (N, F), NaN where missing.
        weights: non-negative training weights, shape (N,).
        is_signal: shape (N,).
        training_events: indices of each member's training events.
        feature_names: names of the F features.
        missing: replacement for features: their weighted mean or median, or a number, without an indicator.
        is_bounded: as in `Preprocessing`.

    Returns:
        The preprocessing of all members.

    Raises:
        TrainingError: for a rule for an unknown feature, an infinite value, or a feature without any value to take the
            median of.
    """
    require_rules_of_features(missing, feature_names)
    require_known_missing(features, feature_names, np.ones(len(feature_names), dtype=np.bool_))
    absent: npt.NDArray[np.bool_] = np.any(np.isnan(features), axis=0)
    indicated = [name for name, flag in zip(feature_names, absent, strict=True) if flag and name not in missing]
    rules: dict[str, ImputationRule] = {**dict.fromkeys(indicated, "median"), **missing}
    fitted = [
        _fit_member(features[chosen], _class_balanced(weights[chosen], is_signal[chosen]), feature_names, rules)
        for chosen in training_events
    ]
    fill, centre, scale = (np.stack(part).astype(np.float32) for part in zip(*fitted, strict=True))
    return Preprocessing(tuple(feature_names), fill, centre, scale, tuple(indicated), is_bounded)


def _fit_member(
    features: Float32Array, weights: Float64Array, feature_names: Sequence[str], rules: Mapping[str, ImputationRule]
) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Fill, centre and scale of each feature, of shape (F,); the last two of the events that have the feature."""
    fill, centre, scale = (np.empty(len(feature_names)) for _ in range(3))
    for position, name in enumerate(feature_names):
        column = features[:, position].astype(np.float64)
        there = ~np.isnan(column)
        fill[position] = _fill_value(rules[name], column[there], weights[there], name) if name in rules else np.nan
        if weights[there].sum() > 0:
            centre[position], scale[position] = _centre_and_scale(column[there], weights[there])
        else:
            centre[position], scale[position] = fill[position], 1.0
    return fill, centre, scale


def _centre_and_scale(values: Float64Array, weights: Float64Array) -> tuple[float, float]:
    lower, median, upper = _quantiles(values, weights, (0.25, 0.5, 0.75))
    spread = upper - lower
    if spread == 0:
        mean = np.average(values, weights=weights)
        spread = np.sqrt(np.average((values - mean) ** 2, weights=weights))
    # Rounding leaves a spread of a constant that is no float32.
    spread = spread if spread > _SMALLEST_SCALE else 1.0
    return float(median), float(min(spread, _LARGEST_SCALE))


def _quantiles(values: Float64Array, weights: Float64Array, levels: Sequence[float]) -> Float64Array:
    """Smallest values below or at which the weights have a share of at least each level."""
    order = np.argsort(values, kind="stable")
    cumulative = np.cumsum(weights[order])
    quantiles: Float64Array = values[order][np.searchsorted(cumulative, cumulative[-1] * np.asarray(levels))]
    return quantiles


def _fill_value(rule: ImputationRule, present: Float64Array, weights: Float64Array, name: str) -> float:
    if not isinstance(rule, str):
        return float(rule)
    if weights.sum() <= 0:
        message = (
            f"The feature {name!r} is missing in every training event, so it has no {rule}; give a number under "
            f"`training: {{missing: {{{name}: NUMBER}}}}`, or leave it out."
        )
        raise TrainingError(message)
    if rule == "mean":
        return float(np.average(present, weights=weights))
    return float(_quantiles(present, weights, (0.5,))[0])


def _class_balanced(weights: Float64Array, is_signal: npt.NDArray[np.bool_]) -> Float64Array:
    signal = weights[is_signal].sum()
    background = weights[~is_signal].sum()
    return np.where(is_signal, weights / (signal or 1.0), weights / (background or 1.0))


def _names(names: Sequence[str], chosen: npt.NDArray[np.bool_]) -> str:
    return ", ".join(repr(name) for name, flag in zip(names, chosen, strict=True) if flag)
