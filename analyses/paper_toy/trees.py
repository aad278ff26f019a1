"""Boosted trees as a baseline: xgboost, which the extra `test` installs."""

import importlib.util
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from analyses.paper_toy.measures import Selection
from analyses.paper_toy.training import Samples
from analyses.toys import GaussianToy

Floats = npt.NDArray[np.float64]


def boosted_trees(
    toys: Sequence[GaussianToy], samples: Samples, seeds: int, rounds: int, points_per_axis: int
) -> list[Selection]:
    """Trees on the first seed's events, weighted with cross sections and each class normalised to one.

    Returns:
        One selection, or none where xgboost is not installed.
    """
    if importlib.util.find_spec("xgboost") is None:
        return []
    curves = {
        toy.name: (toy.exact_curve(_scores(toy, samples, index * seeds, rounds, points_per_axis), points_per_axis),)
        for index, toy in enumerate(toys)
    }
    return [Selection("boosted trees, weighted", curves)]


def _scores(toy: GaussianToy, samples: Samples, member: int, rounds: int, points_per_axis: int) -> Floats:
    import xgboost

    process, is_signal = samples.process.numpy(), samples.is_signal.numpy()
    weight = toy.yields[process] / np.bincount(process)[process]
    weight /= np.where(is_signal, weight[is_signal].sum(), weight[~is_signal].sum()) / len(weight) * 2
    training = xgboost.DMatrix(samples.features[member].numpy(), is_signal, weight=weight)
    parameters = {"objective": "binary:logistic", "max_depth": 4, "eta": 0.1, "min_child_weight": 10.0, "nthread": 1}
    trees = xgboost.train(parameters, training, rounds)
    points = toy.grid(points_per_axis).points.astype(np.float32)
    return np.asarray(trees.predict(xgboost.DMatrix(points), output_margin=True), dtype=np.float64)
