"""The model's inputs, in training and in serving: audio becomes waveform windows, lyrics become token ids.

There is one decoder and one lyrics cleaner, so that training and serving cannot differ.
"""

PIPELINE_VERSION = 2
"""Incremented when the same file or text gives other model inputs than before. Results are keyed by it."""
