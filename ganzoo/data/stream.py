"""Batches whose order is a pure function of the seed and the position, so that a stream can start anywhere."""

import threading
from collections import OrderedDict

import numpy as np

from ganzoo.data.sample_set import SampleSet
from ganzoo.errors import DataError

_KEPT_ORDERS = 3
_MIX_1, _MIX_2, _STEP = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)


def _random_bits(seed: int, purpose: int, counters: np.ndarray) -> np.ndarray:
    """64 random bits for each of `counters`, by the finalizer of SplitMix64 (Steele et al. 2014).

    Its arithmetic is defined here, so that an order never changes with a library's version.
    """
    with np.errstate(over="ignore"):
        bits = np.asarray(counters, np.uint64)
        for salt in (seed & 0xFFFFFFFFFFFFFFFF, purpose):
            bits = (bits + np.uint64(1)) * _STEP + np.uint64(salt)
            bits = (bits ^ (bits >> np.uint64(30))) * _MIX_1
            bits = (bits ^ (bits >> np.uint64(27))) * _MIX_2
            bits = bits ^ (bits >> np.uint64(31))
    return bits


def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of `count` samples in which the epoch of that number shows them, int64."""
    return np.argsort(_random_bits(seed, 2 * epoch, np.arange(count)), kind="stable")


def flipped(seed: int, positions: np.ndarray) -> np.ndarray:
    """Whether the sample at each of `positions` (counted over all epochs) is mirrored: bool, true for one half."""
    return (_random_bits(seed, 1, positions) >> np.uint64(63)).astype(bool)


class _Orders:
    """The orders of the last epochs that were asked for."""

    def __init__(self, count: int, seed: int):
        self.count, self.seed = count, seed
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = threading.Lock()

    def _order(self, epoch: int) -> np.ndarray:
        with self._lock:
            if epoch not in self._kept:
                self._kept[epoch] = epoch_order(self.count, self.seed, epoch)
                while len(self._kept) > _KEPT_ORDERS:
                    self._kept.popitem(last=False)
            return self._kept[epoch]

    def indices(self, positions: np.ndarray) -> np.ndarray:
        epochs, places = np.divmod(positions, self.count)
        indices = np.empty(len(positions), np.int64)
        for epoch in np.unique(epochs):
            chosen = epochs == epoch
            indices[chosen] = self._order(int(epoch))[places[chosen]]
        return indices


def batches(
    sample_set: SampleSet,
    batch_size: int,
    seed: int,
    start: int = 0,
    stop: int | None = None,
    flip: bool = False,
    conditional: bool = False,
):
    """A stream of batches for training.

    The sample at a position is `epoch_order(N, seed, position // N)[position % N]`, so a stream that begins at `start`
    yields what an unbroken one would have yielded from there on. A batch may reach over the end of an epoch.

    Args:
        sample_set: N samples, in memory or memory-mapped.
        batch_size: samples in each batch; every batch is whole.
        seed: any whole number.
        start: the position, in samples, of the first one.
        stop: the position before which the stream ends, after its last whole batch; None: it never ends.
        flip: mirror images left to right at random, decided by (seed, position).
        conditional: yield a dict {"real": samples, "class_id": int32 (batch,)}; without labels all are class 0.

    Returns:
        A `tf.data.Dataset` of uint8 (batch, H, W, C) tensors, or of dicts where the samples are one or `conditional`.

    Raises:
        DataError: a size or position is impossible.
    """
    import tensorflow as tf

    leaves = sample_set.samples if isinstance(sample_set.samples, dict) else {"real": sample_set.samples}
    leaves = dict(sorted(leaves.items()))
    if len(sample_set) < 1 or batch_size < 1 or start < 0:
        raise DataError(
            "A stream needs at least one sample, a batch size of 1 or more and a start of 0 or more. "
            f"Received: {len(sample_set)} samples, batch size {batch_size}, start {start}."
        )
    flips = [name for name, leaf in leaves.items() if flip and leaf.ndim == 4]
    if flip and not flips:
        raise DataError("Only images, (N, H, W, C), can be flipped. Received samples of other shapes.")
    labels = sample_set.labels if sample_set.labels is not None else np.zeros(len(sample_set), np.int32)
    orders = _Orders(len(sample_set), seed)

    def gather(first: np.int64) -> list[np.ndarray]:
        positions = np.arange(first, first + batch_size)
        indices = orders.indices(positions)
        found = {name: np.asarray(leaf[indices]) for name, leaf in leaves.items()}
        for name in flips:
            mirror = flipped(seed, positions)
            found[name][mirror] = found[name][mirror, :, ::-1]
        return [*found.values(), labels[indices]] if conditional else list(found.values())

    types = [tf.as_dtype(leaf.dtype) for leaf in leaves.values()] + [tf.int32] * conditional
    shapes = [leaf.shape[1:] for leaf in leaves.values()] + [()] * conditional

    def load(first):
        tensors = tf.numpy_function(gather, [first], types, stateful=False)
        for tensor, shape in zip(tensors, shapes, strict=True):
            tensor.set_shape((batch_size, *shape))
        named = dict(zip([*leaves, "class_id"], tensors, strict=False))
        if not isinstance(sample_set.samples, dict) and not conditional:
            return named["real"]
        if isinstance(sample_set.samples, dict) and conditional:
            return {"real": {name: named[name] for name in leaves}, "class_id": named["class_id"]}
        return named

    end = np.iinfo(np.int64).max if stop is None else start + (stop - start) // batch_size * batch_size
    dataset = tf.data.Dataset.range(start, max(start, end), batch_size)
    dataset = dataset.map(load, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    options = tf.data.Options()
    options.deterministic = True
    # Under a strategy every batch is split among the replicas: the global batch stays what the position says.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)
