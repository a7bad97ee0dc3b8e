"""The service: pulls jobs from Redis, labels tracks, commits to the catalog. And its command line."""

import os

# ONNX Runtime 1.29 and newer send telemetry to Microsoft unless it is disabled before they are loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
