"""The one place that knows of replicas: choice of a strategy, scaling of losses, randomness of the global batch."""

import contextlib
import zlib
from collections.abc import Iterator

import keras
import tensorflow as tf

from ganzoo.errors import TrainingError, unknown_name

STRATEGIES = ("auto", "none", "mirrored")


def get_strategy(name: str = "auto") -> tf.distribute.Strategy:
    """The `tf.distribute` strategy of a name.

    Args:
        name: `none` (one device), `mirrored` (all devices of one machine: GPUs, or else logical CPU devices), or `auto`
            (mirrored where there are two GPUs or more).
    """
    if name not in STRATEGIES:
        raise TrainingError(unknown_name("strategy", name, STRATEGIES))
    gpus = tf.config.list_logical_devices("GPU")
    if name == "none" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    devices = [device.name for device in gpus or tf.config.list_logical_devices("CPU")]
    return tf.distribute.MirroredStrategy(devices, cross_device_ops=tf.distribute.ReductionToOneDevice())


def make_deterministic() -> None:
    """Ask for deterministic kernels where there are GPUs; on CPUs they are so already."""
    if tf.config.list_physical_devices("GPU"):
        tf.config.experimental.enable_op_determinism()


def replicas() -> int:
    """How many replicas the current step runs on."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def scale_loss(per_example: tf.Tensor) -> tf.Tensor:
    """A replica's share of the global mean, a scalar: optimizers sum the gradients of all replicas."""
    return tf.reduce_mean(per_example) / replicas()


def sum_over_replicas(value: tf.Tensor) -> tf.Tensor:
    """The sum over replicas of a tensor, on each of them."""
    if replicas() == 1:
        return value
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, value)


def gather(value: tf.Tensor) -> tf.Tensor:
    """A tensor of the global batch, on each replica: all replicas' parts `(batch, ...)`, one after the other."""
    if replicas() == 1:
        return value
    return tf.distribute.get_replica_context().all_gather(value, axis=0)


def replica_index() -> int | tf.Tensor:
    """The number of this replica, from 0."""
    if replicas() == 1:
        return 0
    return tf.cast(tf.distribute.get_replica_context().replica_id_in_sync_group, tf.int32)


def _outside() -> bool:
    """Whether this is in a strategy's scope but on no replica: what is drawn here is for no batch of theirs."""
    return tf.distribute.get_replica_context() is None


class GlobalRandom:
    """Stateless randomness of the global batch, sliced by replica: two replicas draw what one would.

    Args:
        seed: the run's seed.
        step: the step, an integer or a scalar tensor.
        purpose: what the numbers are for; other purposes give independent numbers.
        batch: samples on this replica.
    """

    def __init__(self, seed: int, step: int | tf.Tensor, purpose: str, batch: int | tf.Tensor):
        self.step, self.purpose = step, purpose
        self._seed, self._batch = seed, batch

    def child(self, purpose: str, batch: int | tf.Tensor | None = None) -> "GlobalRandom":
        """Independent randomness for a part of the purpose; `batch`: for other than all samples on this replica."""
        batch = self._batch if batch is None else batch
        return GlobalRandom(self._seed, self.step, f"{self.purpose}/{purpose}", batch)

    def normal(self, shape: tuple[int, ...], purpose: str) -> tf.Tensor:
        """Standard normal numbers, shape `(batch, *shape)`, float32."""
        return self._slice(tf.random.stateless_normal(self._global(shape), self._key(purpose)))

    def uniform(self, shape: tuple[int, ...], purpose: str, low: float = 0.0, high: float = 1.0) -> tf.Tensor:
        """Uniform numbers in `[low, high)`, shape `(batch, *shape)`, float32."""
        return self._slice(tf.random.stateless_uniform(self._global(shape), self._key(purpose), low, high))

    def integers(self, shape: tuple[int, ...], purpose: str, low: int, high: int) -> tf.Tensor:
        """Uniform integers in `[low, high)`, shape `(batch, *shape)`, int32."""
        return self._slice(
            tf.random.stateless_uniform(self._global(shape), self._key(purpose), low, high, dtype=tf.int32)
        )

    def shared_integers(self, shape: tuple[int, ...], purpose: str, low: int, high: int) -> tf.Tensor:
        """Uniform integers in `[low, high)` of just this shape, the same for all samples and replicas, int32."""
        return tf.random.stateless_uniform(shape, self._key(purpose), low, high, dtype=tf.int32)

    def _global(self, shape: tuple[int, ...]) -> tuple:
        return (self._batch * (1 if _outside() else replicas()), *shape)

    def _key(self, purpose: str) -> tf.Tensor:
        words = zlib.crc32(f"{self._seed}/{self.purpose}/{purpose}".encode()) & 0x7FFFFFFF
        return tf.stack([tf.constant(words, tf.int32), tf.cast(self.step, tf.int32)])

    def _slice(self, values: tf.Tensor) -> tf.Tensor:
        if _outside() or replicas() == 1:
            return values
        start = replica_index() * self._batch
        return values[start : start + self._batch]


def strategy_of(model: keras.Model) -> tf.distribute.Strategy:
    """The strategy in whose scope a Keras model was made."""
    return model.distribute_strategy


@contextlib.contextmanager
def scope(strategy: tf.distribute.Strategy) -> Iterator[None]:
    """Create models and optimizers inside this: their variables then live on all devices of the strategy."""
    if strategy.num_replicas_in_sync == 1:
        yield
    else:
        with strategy.scope():
            yield
