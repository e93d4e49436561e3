"""Sessions: opened graphs, with a file per runtime behind one protocol.

Importing this turns off ONNX Runtime's telemetry, as ``dorian_bundle.onnx_telemetry`` does for the other parts; it does so itself
because the health command, which has to be quick, imports this as well.
"""

import os
import sys

from dorian_server.domain.errors import StartupError

if "onnxruntime" in sys.modules and os.environ.get("ORT_DISABLE_TELEMETRY") != "1":
    raise StartupError(
        "onnxruntime was imported before dorian_server, with its telemetry on; "
        "import dorian_server.settings first, or set ORT_DISABLE_TELEMETRY=1 before"
    )
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
