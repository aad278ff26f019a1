"""What a training leaves: networks, preprocessing, calibration and history, in one model folder."""
