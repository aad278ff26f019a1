"""A trained classifier: networks, preprocessing, calibration and history of the training."""
