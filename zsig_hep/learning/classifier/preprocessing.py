"""Imputation and standardisation of features, fitted to each member's training events."""

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


@dataclass(frozen=True, repr=False)
class Preprocessing(ShortRepr):
    """x -> (x - mean) / scale for each member, after missing values are replaced by `fill`.

    Attributes:
        feature_names: the features, in the order of the network's inputs.
        fill: value that replaces NaN, shape (M, F); NaN for a feature that may not be missing.
        mean: mean of each feature, shape (M, F).
        scale: standard deviation of each feature, shape (M, F); one for a constant feature.
    """

    feature_names: tuple[str, ...]
    fill: Float32Array
    mean: Float32Array
    scale: Float32Array

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
        if not np.isfinite(self.mean).all():
            message = "mean has values that are not finite"
            raise ValueError(message)
        # The smallest float32 has an infinite reciprocal, by which features are multiplied.
        smallest = np.finfo(np.float32).tiny
        if not (np.isfinite(self.scale) & (self.scale >= smallest)).all():
            message = "scale has values that are not finite and positive"
            raise ValueError(message)


class Standardisation(nn.Module):
    """Preprocessing as the first layer of the M networks; maps features (M, n, F) to (M, n, F)."""

    fill: Tensor
    mean: Tensor
    inverse_scale: Tensor

    def __init__(self, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.may_be_missing = not bool(np.isnan(preprocessing.fill).all())
        self.register_buffer("fill", torch.from_numpy(preprocessing.fill).unsqueeze(1))
        self.register_buffer("mean", torch.from_numpy(preprocessing.mean).unsqueeze(1))
        self.register_buffer("inverse_scale", torch.from_numpy(1 / preprocessing.scale).unsqueeze(1))

    def forward(self, features: Tensor) -> Tensor:
        """Replace missing values, then standardise."""
        if self.may_be_missing:
            features = torch.where(torch.isnan(features), self.fill, features)
        return (features - self.mean) * self.inverse_scale


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
            f"Missing values (NaN) in {_names(feature_names, ruleless)}, for which there is no rule. Give one "
            "in the analysis file under `training: {missing: {NAME: mean | median | a number}}`, or fill the "
            "feature in columns.py."
        )
        raise TrainingError(message)


def fit_preprocessing(
    features: Float32Array,
    weights: Float64Array,
    is_signal: npt.NDArray[np.bool_],
    training_events: Sequence[npt.NDArray[np.int64]],
    feature_names: Sequence[str],
    missing: Mapping[str, ImputationRule],
) -> Preprocessing:
    """Fit imputation and standardisation for each member.

    Signal and background have the same total weight, as in the cross entropy.

    Args:
        features: shape (N, F), NaN where missing.
        weights: non-negative training weights, shape (N,).
        is_signal: shape (N,).
        training_events: indices of each member's training events.
        feature_names: names of the F features.
        missing: replacement for each feature that may be missing: its weighted mean or median, or a number.

    Returns:
        The preprocessing of all members.

    Raises:
        TrainingError: for a rule for an unknown feature, an infinite value or a missing value without a rule.
    """
    for name in missing:
        if name not in feature_names:
            message = (
                f"A rule for missing values names the unknown feature {name!r}.{nearest_name(name, feature_names)}"
            )
            raise TrainingError(message)
    require_known_missing(features, feature_names, np.array([name in missing for name in feature_names]))
    fitted = [
        _fit_member(features[chosen], _class_balanced(weights[chosen], is_signal[chosen]), feature_names, missing)
        for chosen in training_events
    ]
    fill, mean, scale = (np.stack(part).astype(np.float32) for part in zip(*fitted, strict=True))
    return Preprocessing(tuple(feature_names), fill, mean, scale)


def _fit_member(
    features: Float32Array, weights: Float64Array, feature_names: Sequence[str], missing: Mapping[str, ImputationRule]
) -> tuple[Float64Array, Float64Array, Float64Array]:
    fill, mean, scale = np.full(len(feature_names), np.nan), np.zeros(len(feature_names)), np.ones(len(feature_names))
    for position, name in enumerate(feature_names):
        column = features[:, position].astype(np.float64)
        absent = np.isnan(column)
        if name in missing:
            fill[position] = _fill_value(missing[name], column[~absent], weights[~absent], name)
            column = np.where(absent, fill[position], column)
        mean[position] = np.average(column, weights=weights)
        deviation = np.sqrt(np.average((column - mean[position]) ** 2, weights=weights))
        scale[position] = deviation if deviation > 0 else 1.0
    return fill, mean, scale


def _fill_value(rule: ImputationRule, present: Float64Array, weights: Float64Array, name: str) -> float:
    if not isinstance(rule, str):
        return float(rule)
    if weights.sum() <= 0:
        message = f"The feature {name!r} is missing in every training event, so it has no {rule}; give a number."
        raise TrainingError(message)
    if rule == "mean":
        return float(np.average(present, weights=weights))
    order = np.argsort(present, kind="stable")
    cumulative = np.cumsum(weights[order])
    return float(present[order][np.searchsorted(cumulative, cumulative[-1] / 2)])


def _class_balanced(weights: Float64Array, is_signal: npt.NDArray[np.bool_]) -> Float64Array:
    signal = weights[is_signal].sum()
    background = weights[~is_signal].sum()
    return np.where(is_signal, weights / (signal or 1.0), weights / (background or 1.0))


def _names(names: Sequence[str], chosen: npt.NDArray[np.bool_]) -> str:
    return ", ".join(repr(name) for name, flag in zip(names, chosen, strict=True) if flag)
