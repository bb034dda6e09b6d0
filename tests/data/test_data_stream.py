import subprocess
import sys
import textwrap

import numpy as np
import pytest

from ganzoo.data.sample_set import SampleSet
from ganzoo.data.stream import batches, epoch_order, flipped
from ganzoo.errors import DataError

N, BATCH = 23, 5


@pytest.fixture
def sample_set():
    """Each image bears its own number in its left column, and zero in its right one."""
    samples = np.zeros((N, 4, 4, 3), np.uint8)
    samples[:, :, 0] = np.arange(N, dtype=np.uint8)[:, None, None] + 1
    return SampleSet(samples, labels=(np.arange(N) % 3).astype(np.int32), class_names=("a", "b", "c"))


def take(dataset, count):
    return [batch.numpy() for batch in dataset.take(count)]


def numbers(found):
    return np.concatenate(found).max(axis=(1, 2, 3)) - 1


def test_each_epoch_shows_all_samples_in_another_order(sample_set):
    shown = numbers(take(batches(sample_set, BATCH, seed=7), 3 * N // BATCH + 1))[: 3 * N].reshape(3, N)
    for epoch in range(3):
        assert sorted(shown[epoch]) == list(range(N))
        np.testing.assert_array_equal(shown[epoch], epoch_order(N, 7, epoch))
    assert not (shown[0] == shown[1]).all() and not (shown[1] == shown[2]).all()
    assert not (epoch_order(N, 7, 0) == epoch_order(N, 8, 0)).all()


def test_the_order_is_fixed_for_ever():
    # A change of this order would make every old run's resume inexact.
    assert epoch_order(10, 0, 0).tolist() == [3, 7, 1, 9, 6, 0, 2, 5, 8, 4]
    assert flipped(0, np.arange(10)).tolist() == [True, False, True, False, True, False, False, False, False, False]


def test_the_order_is_fair():
    first = np.bincount([epoch_order(8, seed, 3)[0] for seed in range(4000)], minlength=8)
    assert np.abs(first - 500).max() < 100  # a standard deviation is 21
    assert abs(flipped(3, np.arange(100_000)).mean() - 0.5) < 0.01
    together = [np.corrcoef(flipped(s, np.arange(9999)), flipped(s + 1, np.arange(9999)))[0, 1] for s in range(5)]
    assert np.abs(together).max() < 0.05


@pytest.mark.parametrize("start", [0, 1, 13, 40, N * 3, 10**12])
def test_a_stream_resumes_exactly(sample_set, start):
    before = (start // BATCH) * BATCH if start < 1000 else start - 50
    offset = start - before
    unbroken = np.concatenate(take(batches(sample_set, BATCH, seed=1, start=before, flip=True), 14))
    resumed = np.concatenate(take(batches(sample_set, BATCH, seed=1, start=start, flip=True), 3))
    np.testing.assert_array_equal(resumed, unbroken[offset : offset + 3 * BATCH])


def test_flips_depend_on_seed_and_position_alone(sample_set):
    plain = np.concatenate(take(batches(sample_set, BATCH, seed=5), 20))
    mirrored = np.concatenate(take(batches(sample_set, BATCH, seed=5, flip=True), 20))
    flips = flipped(5, np.arange(100))
    assert 30 < flips.sum() < 70
    np.testing.assert_array_equal(mirrored[~flips], plain[~flips])
    np.testing.assert_array_equal(mirrored[flips], plain[flips][:, :, ::-1])
    assert sample_set.samples[:, :, 1:].max() == 0  # the samples themselves stay as they were


def test_stop_ends_after_the_last_whole_batch(sample_set):
    assert [len(batch) for batch in batches(sample_set, BATCH, seed=0, start=10, stop=31)] == [5, 5, 5, 5]
    assert len(batches(sample_set, BATCH, seed=0, start=10, stop=31)) == 4
    assert list(batches(sample_set, BATCH, seed=0, start=10, stop=10)) == []
    assert list(batches(sample_set, BATCH, seed=0, start=10, stop=3)) == []


def test_conditional_batches(sample_set):
    for batch in batches(sample_set, BATCH, seed=2, stop=100, conditional=True):
        assert batch["class_id"].dtype == "int32" and batch["real"].dtype == "uint8"
        assert ((batch["real"].numpy().max(axis=(1, 2, 3)) - 1) % 3 == batch["class_id"].numpy()).all()
    one_class = next(iter(batches(SampleSet(sample_set.samples), BATCH, seed=2, conditional=True)))
    assert one_class["class_id"].numpy().tolist() == [0] * BATCH


def test_batches_larger_than_the_set(sample_set):
    few = SampleSet(sample_set.samples[:3])
    batch = numbers(take(batches(few, 8, seed=0), 1))
    assert len(batch) == 8 and sorted(batch[:3]) == sorted(batch[3:6]) == [0, 1, 2]


def test_memory_mapped_samples(sample_set, tmp_path):
    np.save(tmp_path / "samples.npy", sample_set.samples)
    mapped = SampleSet(np.load(tmp_path / "samples.npy", mmap_mode="r"))
    for ours, theirs in zip(
        take(batches(mapped, BATCH, 3, flip=True), 9), take(batches(sample_set, BATCH, 3, flip=True), 9), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_samples_of_several_leaves():
    leaves = {"a": np.arange(N, dtype=np.float32)[:, None], "b": np.arange(N, dtype=np.int32)}
    several = SampleSet(leaves, labels=np.zeros(N, np.int32), class_names=("x",))
    assert len(several) == N and len(several.fingerprint) == 64
    batch = next(iter(batches(several, BATCH, seed=0)))
    np.testing.assert_array_equal(batch["a"].numpy()[:, 0], batch["b"].numpy())
    batch = next(iter(batches(several, BATCH, seed=0, conditional=True)))
    assert set(batch) == {"real", "class_id"} and set(batch["real"]) == {"a", "b"}


def test_fingerprints_tell_samples_and_labels_apart(sample_set):
    same = SampleSet(sample_set.samples.copy(), sample_set.labels.copy(), sample_set.class_names)
    other = SampleSet(sample_set.samples, None)
    changed = sample_set.samples.copy()
    changed[3, 2, 1, 0] += 1
    assert same.fingerprint == sample_set.fingerprint
    assert len({same.fingerprint, other.fingerprint, SampleSet(changed).fingerprint}) == 3


def test_impossible_streams(sample_set):
    with pytest.raises(DataError, match="batch size 0"):
        batches(sample_set, 0, seed=0)
    with pytest.raises(DataError, match="0 samples"):
        batches(SampleSet(sample_set.samples[:0]), 4, seed=0)
    with pytest.raises(DataError, match="flipped"):
        batches(SampleSet(np.zeros((4, 7), np.float32)), 2, seed=0, flip=True)


def test_two_replicas_get_the_halves_of_each_batch():
    """In a process of its own: logical devices can't be made once TensorFlow runs."""
    script = """
        import numpy as np, tensorflow as tf, keras
        from ganzoo.data.sample_set import SampleSet
        from ganzoo.data.stream import batches
        cpu = tf.config.list_physical_devices("CPU")[0]
        tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        samples = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 1), np.uint8)
        found = SampleSet(samples, (np.arange(20) % 2).astype(np.int32), ("a", "b"))
        for conditional in (False, True):
            whole = list(batches(found, 8, 1, stop=48, conditional=conditional))
            spread = strategy.experimental_distribute_dataset(batches(found, 8, 1, stop=48, conditional=conditional))
            for one, values in zip(whole, spread, strict=True):
                for key in ("real", "class_id") if conditional else (None,):
                    parts = strategy.experimental_local_results(values[key] if key else values)
                    assert [len(part) for part in parts] == [4, 4], parts
                    np.testing.assert_array_equal(np.concatenate(parts), one[key] if key else one)
        class Sum(keras.Model):
            def __init__(self):
                super().__init__()
                self.built = True
            def train_step(self, batch):
                total = tf.reduce_sum(tf.cast(batch["real"][:, 0, 0, 0], tf.float32))
                return {"total": tf.distribute.get_replica_context().all_reduce("SUM", total)}
        with strategy.scope():
            model = Sum()
            model.compile(optimizer=None, jit_compile=False)
        totals = []
        note = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: totals.append(int(logs["total"])))
        stream = batches(found, 8, 1, flip=True, conditional=True)
        model.fit(stream, steps_per_epoch=5, epochs=2, verbose=0, callbacks=[note])
        expected = [int(batch["real"].numpy()[:, 0, 0, 0].sum()) for batch in stream.take(10)]
        assert totals == expected and sum(totals) == 4 * 190, (totals, expected)
        print("equal")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.strip().endswith("equal"), done.stderr[-3000:]
