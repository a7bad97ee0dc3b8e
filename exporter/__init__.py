"""Exports a checkpoint as a bundle: ONNX graphs, checks against the checkpoint, model card."""

import os

# ONNX Runtime 1.29 and newer send telemetry to Microsoft unless this is set before the import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
