"""Training of a classifier on an event table."""
