"""Small forests of boosted trees, and what they give by following every branch in Python."""

import numpy as np
import xgboost

from zsig_hep.learning import TrainingSettings

SMALL = {"depth": 3, "rounds": 12, "significance_rounds": 8, "learning_rate": 0.3, "minimum_child_weight": 5.0}


def tree_settings(trees=None, **changes):
    content = {"classifier": "boosted_trees", "seeds": 2, "device": "cpu", "trees": SMALL | (trees or {})}
    return TrainingSettings.model_validate(content | changes)


def events(n=400, seed=0):
    """Three features, of which one is missing in a fifth of the events, and whether an event is signal."""
    generator = np.random.default_rng(seed)
    features = generator.normal(size=(n, 3)).astype(np.float32)
    is_signal = features[:, 0] + features[:, 1] ** 2 + generator.normal(size=n) > 1
    features[generator.random(n) < 0.2, 1] = np.nan
    return features, is_signal


def booster(trees=8, **parameters):
    features, is_signal = events()
    matrix = xgboost.DMatrix(features, is_signal.astype(float))
    options = {
        "objective": "binary:logistic",
        "base_score": 0.5,
        "max_depth": 3,
        "eta": 0.3,
        "nthread": 1,
        "verbosity": 0,
    }
    return xgboost.train(options | parameters, matrix, trees)


def followed(forest, features):
    """Sum of the leaves of each event, one node after the other."""
    sums = np.zeros(len(features))
    for row, event in enumerate(features):
        for start in forest.starts:
            node = 0
            while forest.left[start + node] >= 0:
                here = start + node
                x = event[forest.feature[here]]
                goes_left = forest.default_left[here] if np.isnan(x) else x < forest.value[here]
                node = forest.left[here] if goes_left else forest.right[here]
            sums[row] += float(forest.value[start + node])
    return sums
