"""`python -m worker.models.tensorrt_build` builds one TensorRT engine; the request is JSON on standard input.

A separate process, because a build cannot be stopped otherwise. `worker.models.tensorrt` starts it.
"""

import json
import signal
import sys

import numpy as np
import onnxruntime

from worker.models.gpu import gpu_stack
from worker.models.session import PROVIDERS


def main() -> None:
    # Python's own handler waits until a build has ended.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    order = json.load(sys.stdin)
    gpu_stack()  # loads the libraries
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    providers = [(PROVIDERS["tensorrt"], order["options"]), PROVIDERS["cuda"], PROVIDERS["cpu"]]
    try:
        session = onnxruntime.InferenceSession(order["graph"], options, providers=providers)
        if session.get_providers()[0] != PROVIDERS["tensorrt"]:
            sys.exit("TensorRT's provider did not start")
        types = {
            given.name: np.float32 if "float" in given.type else np.int64 for given in session.get_inputs()
        }
        # The ends of the profile: an engine that cannot run them fails now, not at the first track.
        for shapes in order["shapes"]:
            session.run(None, {name: np.zeros(shape, types[name]) for name, shape in shapes.items()})
    except Exception as error:  # ONNX Runtime's own classes have no common base but this
        sys.exit(str(error).splitlines()[0])


if __name__ == "__main__":
    main()
