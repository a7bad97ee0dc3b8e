"""Checkpoint to bundle: the ONNX graph, its parity with the checkpoint, and the model card."""
