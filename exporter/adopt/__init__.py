"""Turns a transformers audio-classification checkpoint into a bundle: labels without training."""
