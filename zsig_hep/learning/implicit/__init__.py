"""Derivatives of argmin and argmax (arXiv:1607.05447), and tuning of hyperparameters with them."""
