"""The service and its command line. A worker pulls jobs from Redis, labels tracks and commits the labels."""

import os

# ONNX Runtime 1.29 and newer send telemetry to Microsoft, unless this is set before they are loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
