"""A transformers audio-classification checkpoint to a bundle: labels before any training."""
