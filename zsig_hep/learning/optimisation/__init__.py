"""Optimisers, schedules, and the noise of minibatches that graduated optimisation lives on."""
