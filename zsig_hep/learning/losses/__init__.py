"""Losses of significances and cross entropies, each with its settings."""
