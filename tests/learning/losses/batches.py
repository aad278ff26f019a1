"""Random batches of signal and background."""

import numpy as np
import torch


def random_batch(seed, n, dtype=torch.float64):
    generator = np.random.default_rng(seed)
    scores = torch.tensor(generator.normal(size=n), dtype=dtype)
    is_signal = torch.tensor(generator.random(n) < 0.4)
    is_signal[:2] = torch.tensor([True, False])
    weights = torch.tensor(generator.exponential(1.0, n), dtype=dtype)
    return scores, is_signal, weights
