"""What the model hears and reads, in training and in serving alike.

One decoder and one lyrics cleaner for the whole house: encoded audio becomes mono waveform windows,
raw lyrics become clean text and token ids.
"""

PIPELINE_VERSION = 2
"""Raised whenever the same file or text gives the model other input than before: results are keyed by it."""
