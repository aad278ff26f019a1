"""A single cut on the score: the scan of all thresholds, the held-out working point and its uncertainties."""
