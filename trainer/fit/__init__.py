"""Training: the loop, the order of the tracks in each epoch, and augmentation."""
