"""Comparison of classifiers on the same events."""
