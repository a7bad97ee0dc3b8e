"""Rewrites of an ONNX graph: simplification, fp16, int8."""
