"""The service: pulls jobs from Redis, labels tracks, commits to the catalog. And its command line."""

import os

# ONNX Runtime 1.29 and newer tell Microsoft what is run, unless they are told not to before they are loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
