"""Losses: a file for each, with its settings; significance losses and the cross entropies beside them."""
