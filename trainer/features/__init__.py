"""Features: model inputs that do not change during training, computed once for each track and cached."""
