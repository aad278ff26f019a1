"""From an event table to a classifier: phases, batches, rounds, checkpoints, the ensemble."""
