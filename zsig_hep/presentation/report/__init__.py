"""The report: one HTML file with everything that a reader of the result needs."""
