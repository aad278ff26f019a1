"""Trained likelihood ratios: the composition of the background, and the background under variations over the nominal one."""
