"""Keeps TensorFlow's start-up chatter out of the terminal."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator


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


def load_tensorflow() -> None:
    """Import TensorFlow and look for devices with standard error closed; an import error is still raised."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    warnings.filterwarnings("ignore")
    with no_stderr():
        import tensorflow as tf

        tf.get_logger().setLevel("ERROR")
        tf.config.list_logical_devices()
