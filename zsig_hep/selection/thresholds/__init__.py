"""A single cut on the score: every threshold at once, the held-out working point, and what is known of it."""
