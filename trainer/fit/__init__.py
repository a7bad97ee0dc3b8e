"""Training: the loop, the order of tracks, augmentation."""
