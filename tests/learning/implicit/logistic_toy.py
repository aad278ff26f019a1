"""Events for a linear model: some features separate, the others are noise."""

import numpy as np


def events(seed=0, n=600, noise=3):
    """Signal over two backgrounds; one feature separates both, one only the second, the others are noise."""
    generator = np.random.default_rng(seed)
    process = np.arange(n) % 3
    features = generator.normal(size=(n, 2 + noise))
    features[:, 0] += process == 0
    features[:, 1] += 0.8 * (process == 2)
    weights = np.array([0.02, 1.0, 0.3])[process] * generator.exponential(1.0, n)
    return features, process == 0, weights, process, generator.integers(0, 3, n)
