"""Model inputs that do not change during training, computed once a track and cached."""
