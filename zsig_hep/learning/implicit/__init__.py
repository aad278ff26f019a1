"""Derivatives of argmin and argmax (arXiv:1607.05447), and the tuning of hyperparameters by them."""
