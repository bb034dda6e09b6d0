"""Ctrl-C, SIGTERM and SIGHUP end a training after the step, so that its state can be saved."""

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from ganzoo.errors import Interrupted, Terminated

log = logging.getLogger("ganzoo")

_SIGNALS = [number for name in ("SIGINT", "SIGTERM", "SIGHUP") if (number := getattr(signal, name, None))]


class Stop(keras.callbacks.Callback):
    """Asks Keras to stop after the step in which a signal came.

    Attributes:
        signal: its number; None before.
        finished: whether the run has reached its limit. A signal then ends the process, but the run is complete.
        saved: whether a checkpoint holds the state that the signal left.
    """

    def __init__(self) -> None:
        super().__init__()
        self.signal: int | None = None
        self.finished = self.saved = False
        self._before: dict[int, Any] = {}

    @property
    def name(self) -> str:
        """The signal's name."""
        return "" if self.signal is None else signal.Signals(self.signal).name

    @property
    def incomplete(self) -> bool:
        """Whether a signal ended the run before its limit, so that it will be resumed."""
        return self.signal is not None and not self.finished

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Take signals for the time of a `with` block; in a thread that can take none, nothing changes.

        A first signal is remembered. From then on signals do again what they did before: a second one ends at once.
        """
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                # What is ignored (SIGHUP under nohup), or handled outside of Python, stays so.
                if signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._take)
        handlers = dict(self._before)
        try:
            yield
        finally:
            self._give_back()
        if self.signal is not None:
            self.leave(handlers.get(self.signal))

    def _take(self, number: int, frame: Any) -> None:
        self.signal = number
        self._give_back()
        log.warning("%s: the training stops after this step. A second signal stops at once.", self.name)

    def _give_back(self) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)

    def leave(self, handler: Any) -> None:
        """End as the signal asks for; a handler that the caller had set is called first."""
        if callable(handler) and handler is not signal.default_int_handler:
            handler(self.signal, None)
        if self.signal == signal.SIGINT:
            raise Interrupted("Interrupted; the state is saved." if self.saved else "Interrupted.")
        raise Terminated(128 + self.signal)

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Ask Keras to stop."""
        if self.signal is not None:
            self.model.stop_training = True
