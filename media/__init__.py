"""Turns audio files into waveform windows, and lyrics into token ids: the inputs of the model.

Training and serving use the same decoder and the same lyrics cleaner, so that their inputs cannot differ.
"""

PIPELINE_VERSION = 2
"""Incremented when a change gives other model inputs for the same file or text. It is a part of
`input_hash`."""
