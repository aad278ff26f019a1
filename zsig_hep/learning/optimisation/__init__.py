"""Optimisers, schedules, and the gradient noise of batches, on which graduated optimisation relies."""
