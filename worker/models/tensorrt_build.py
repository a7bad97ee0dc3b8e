"""`python -m worker.models.tensorrt_build` builds the TensorRT engine that a JSON request on stdin describes.

`worker.models.tensorrt` starts it. It is a separate process, because a build can be stopped only with its
process.
"""

import json
import signal
import sys

import numpy as np
import onnxruntime

from worker.models.gpu import load_gpu_stack
from worker.models.session import PROVIDERS


def main() -> None:
    """Build the engine and run it once with its smallest and its largest shapes."""
    # SIGINT ends the process at once. Python's own handler would run only after the build.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    request = json.load(sys.stdin)
    load_gpu_stack()  # loads the libraries
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    providers = [(PROVIDERS["tensorrt"], request["options"]), PROVIDERS["cuda"], PROVIDERS["cpu"]]
    try:
        session = onnxruntime.InferenceSession(request["graph"], options, providers=providers)
        if session.get_providers()[0] != PROVIDERS["tensorrt"]:
            sys.exit("TensorRT's provider did not start")
        types = {node.name: np.float32 if "float" in node.type else np.int64 for node in session.get_inputs()}
        # An engine that cannot run its smallest or largest shapes fails now, not at the first track.
        for shapes in request["shapes"]:
            session.run(None, {name: np.zeros(shape, types[name]) for name, shape in shapes.items()})
    except Exception as error:  # ONNX Runtime's exceptions have no narrower common base class
        sys.exit(str(error).splitlines()[0])


if __name__ == "__main__":
    main()
