"""How TensorFlow is started: without its messages on the terminal, and as the backend of Keras."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator

from ganzoo.errors import GanzooError


@contextlib.contextmanager
def no_stderr() -> Iterator[None]:
    """Standard error goes nowhere, also that of C++ libraries, for the time of a `with` block."""
    sys.stderr.flush()
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        # Where a progress bar stands in for `sys.stderr`, that does not end in the file that is closed here.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


@contextlib.contextmanager
def no_output() -> Iterator[None]:
    """As `no_stderr`, and what Python prints to standard output goes nowhere either."""
    with no_stderr(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def require_tensorflow() -> None:
    """Let Keras take TensorFlow as its backend where none was chosen yet.

    Raises:
        GanzooError: another backend was chosen, by `KERAS_BACKEND` or by a Keras that is imported already.
    """
    loaded = getattr(sys.modules.get("keras"), "config", None)
    backend = loaded.backend() if loaded else os.environ.get("KERAS_BACKEND") or "tensorflow"
    if backend != "tensorflow":
        raise GanzooError(
            f"ganzoo needs Keras with TensorFlow. Expected: the backend 'tensorflow'. Received: '{backend}'. On the "
            "command line: KERAS_BACKEND=tensorflow ganzoo ... (Windows: first `set KERAS_BACKEND=tensorflow`). In "
            "Python, before Keras is imported: import os; os.environ['KERAS_BACKEND'] = 'tensorflow'."
        )
    if not loaded:
        os.environ["KERAS_BACKEND"] = "tensorflow"  # whatever ~/.keras/keras.json says


def load_tensorflow() -> None:
    """Import TensorFlow and look for devices with standard error closed; an import error is still raised."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    require_tensorflow()
    warnings.filterwarnings("ignore")
    with no_stderr():
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")
        tf.config.list_logical_devices()
