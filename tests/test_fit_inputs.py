"""What `fit` and its kin are given: ranges, shapes and class ids are told before anything is trained wrongly."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ganzoo.data.images.pixel_range import ENOUGH, PixelRange
from ganzoo.errors import DataError, GanzooError
from ganzoo.runs.train import train

ENTRY, CLASSES = "image/dcgan_32", "image/wgan_gp_32"
BYTES = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3)).astype("uint8")
FLOATS = BYTES.astype("float32")
UNIT = FLOATS / np.float32(127.5) - 1
IDS = (np.arange(32) % 3).astype("int32")


def dataset(images, batch=8):
    return tf.data.Dataset.from_tensor_slices(images).batch(batch)


def generator(images):
    for start in range(0, len(images), 8):
        yield images[start : start + 8]


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 4

    def __getitem__(self, index):
        return (BYTES[8 * index : 8 * index + 8],)


def test_every_right_form_trains_alike(tiny):
    """Bytes, other integers and floats in [-1, 1]; data sets, arrays, generators and PyDatasets."""
    forms = [
        dataset(BYTES.astype("uint16")),
        {"real": BYTES.astype("int32")},
        generator(BYTES),
        Batches(),
    ]
    gan = tiny(ENTRY)
    first = gan.state()
    gan.fit(dataset(BYTES), verbose=0)
    wanted = gan.state()
    for form in forms:
        gan.load_state(first)
        gan.fit(form, verbose=0, shuffle=False)
        state = gan.state()
        assert all(np.array_equal(state[key], wanted[key]) for key in wanted), form
    gan.load_state(first)
    gan.fit(UNIT.astype("float64"), verbose=0, shuffle=False)
    state = gan.state()
    assert all(np.allclose(state[key], wanted[key], atol=1e-4) for key in wanted if key.startswith("generator/"))
    gan.load_state(first)
    for batch in generator(BYTES):
        gan.train_on_batch(batch)
    gan.calibrate()
    state = gan.state()
    assert all(np.array_equal(state[key], wanted[key]) for key in wanted)


WRONG = {
    "floats in 0..255": (FLOATS, "float32 values from 0 to 255 .* x / 127.5 - 1"),
    "floats in 0..1": (FLOATS / 255, r"taken for 0..1\. .* x \* 2 - 1\).*no dark pixel"),
    "floats in 0..1 with overshoot": (FLOATS / 255 * 1.1 - 0.05, "taken for 0..1"),
    "normalised": (FLOATS / 60 - 2, r"lambda x: \(x \* standard_deviation \+ mean\) \* 2 - 1\)"),
    "16 bits": (BYTES.astype("uint16") * 257, r"uint16 values .*x // 257"),
    "12 bits": (BYTES.astype("int32") * 16, r"x \* 255 // 4095"),
    "signed": (BYTES.astype("int16") - 128, r"\+ 128"),
    "0/1 masks": (BYTES // 128, r"0/1 masks.* x \* 255"),
    "complex": (FLOATS.astype("complex64"), "cannot be of type complex64"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_images_out_of_range_are_refused_with_the_fix(wrong, tiny):
    images, message = WRONG[wrong]
    gan = tiny(ENTRY)
    before = gan.state()
    for form in (images, dataset(images), generator(images)):
        with pytest.raises(DataError, match=message):
            gan.fit(form, verbose=0)
    with pytest.raises(DataError, match=message):
        gan.evaluate(images)
    after = gan.state()
    assert gan.step_count == 0 and all(np.array_equal(before[key], after[key]) for key in before)


def test_a_training_from_a_dataset_checks_the_range_and_is_no_run_then(tmp_path):
    from ganzoo.recipes import entries

    data = dataset(FLOATS).repeat()
    with pytest.raises(DataError, match="Pixels out of range"):
        train(ENTRY, data, tmp_path / "run", samples=16, overrides=entries.get_entry(ENTRY).raw["tiny"])
    assert not (tmp_path / "run" / "recipe.yaml").exists()


def test_dark_and_bright_images_in_minus_one_to_one_are_not_misread(tiny):
    dark = UNIT * 0.05 - 0.9  # never above -0.85
    bright_first = np.concatenate([np.abs(UNIT[:16]), UNIT[16:]])  # two whole batches without a negative value
    for images in (dark, bright_first):
        gan = tiny(ENTRY)
        gan.fit(dataset(images), verbose=0)
        assert gan.step_count == 4


def test_the_range_is_judged_over_many_samples():
    bright, dark = np.abs(UNIT[:16]), -np.abs(UNIT[:16])
    pixels = PixelRange()
    for _ in range(ENOUGH // 16 - 1):
        pixels.see(bright)
    pixels.see(dark)
    assert pixels.decided
    pixels = PixelRange()
    with pytest.raises(DataError, match=f"first {ENOUGH:,} images"):
        for _ in range(ENOUGH // 16):
            pixels.see(bright)
    for grey in (np.zeros((4, 8, 8, 3), "float32"), np.zeros((4, 8, 8, 3), "uint8")):
        pixels = PixelRange()
        pixels.see(grey)
        pixels.finish()  # one value everywhere is no evidence


def for_ever(batch):
    """A batch again and again, up to far more than may be read before the first step."""
    for _ in range(3_000):
        yield batch
    raise AssertionError("The first step never comes.")


@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_images_of_one_value_that_repeat_for_ever_are_trained_on(kind, tiny):
    gan = tiny(ENTRY)
    gan.fit(for_ever(np.zeros((8, 32, 32, 3), kind)), steps_per_epoch=1, verbose=0)
    assert gan.step_count == 1
    pixels = PixelRange()
    pixels.see(np.zeros((ENOUGH, 2, 2, 3), kind))
    assert pixels.decided


def test_batches_that_all_hold_nan_are_refused_though_they_repeat_for_ever(tiny):
    gan, bad, bright = tiny(ENTRY), UNIT[:8].copy(), np.ones((8, 32, 32, 3), "float32")
    bad[3, 4, 5, 0] = np.nan
    with pytest.raises(DataError, match=f"NaN or infinite values: .* {ENOUGH:,} of the first {ENOUGH:,} images"):
        gan.fit(for_ever(bad), steps_per_epoch=1, verbose=0)
    pixels = PixelRange()
    pixels.see(bad)
    with pytest.raises(DataError, match=f"of 8 of the first {ENOUGH:,} images"):
        for _ in range(ENOUGH // 8):
            pixels.see(bright)


def test_empty_batches_that_repeat_for_ever_are_refused(tiny):
    with pytest.raises(DataError, match="fewer samples"):
        tiny(ENTRY).fit(for_ever(BYTES[:0]), steps_per_epoch=1, verbose=0)


def test_later_batches_are_checked_in_the_step(tiny):
    gan = tiny(ENTRY)
    for images, message in (
        (np.concatenate([UNIT[:16], FLOATS[16:]]), r"in a later batch: float32 .* Received: 0 to 255"),
        (np.concatenate([BYTES[:16], BYTES[16:] * np.int32(5)]), r"integers in 0..255, .* Received: 0 to 1275"),
    ):
        before = gan.step_count
        with pytest.raises(DataError, match=message):
            gan.fit(dataset(images), verbose=0)
        assert gan.step_count == before + 2
        assert all(np.isfinite(value).all() for value in gan.state().values())


SHAPES = {
    "unbatched": (
        lambda: tf.data.Dataset.from_tensor_slices(BYTES),
        r"\(None, 32, 32, 3\).*Received: \[\(32, 32, 3\)\].*batch",
    ),
    "batched twice": (lambda: dataset(BYTES).batch(2), "batched twice"),
    "no channel axis": (lambda: BYTES[..., 0], r"x\[..., None\]"),
    "channels first": (lambda: BYTES.transpose(0, 3, 1, 2), "channels come first"),
    "another size": (lambda: BYTES[:, :16, :16], "`data` section"),
    "nothing": (lambda: None, "No data"),
    "a folder": (lambda: "images/", r"ganzoo\.train"),
    "a number": (lambda: 5, "Received: int"),
    "pairs": (lambda: dataset((BYTES, IDS)), "'class_id': y"),
}


@pytest.mark.parametrize("wrong", SHAPES)
def test_wrong_forms_are_refused_with_the_fix(wrong, tiny):
    make, message = SHAPES[wrong]
    with pytest.raises(DataError, match=message):
        tiny(ENTRY).fit(make(), verbose=0)


LABELS = {
    "one-hot": (np.eye(3, dtype="float32")[IDS], r"one-hot labels.*\(32, 3\).*argmax"),
    "from 1": (IDS + 1, r"0 to 2 .*labels - 1.*Received: 3"),
    "negative": (IDS - 1, "Received: -1"),
    "floats": (IDS.astype("float32"), "must hold integers.*tf.cast"),
    "too few": (IDS[:8], "differ in length"),
}


@pytest.mark.parametrize("wrong", LABELS)
def test_wrong_class_ids_are_refused_with_the_fix(wrong, tiny):
    ids, message = LABELS[wrong]
    with pytest.raises(DataError, match=message):
        tiny(CLASSES).fit({"real": BYTES, "class_id": ids}, verbose=0)


def test_class_ids_of_later_batches_are_checked_too(tiny):
    gan = tiny(CLASSES)
    late = np.where(np.arange(32) >= 24, 7, IDS)
    with pytest.raises(DataError, match=r"A class id out of range .* from 0 to 2|Expected: 0 to 2.*7"):
        gan.fit(dataset({"real": BYTES, "class_id": late}), verbose=0)
    assert gan.step_count == 3
    gan.fit({"real": BYTES, "class_id": IDS[:, None]}, verbose=0)  # one column is no one-hot
    with pytest.raises(DataError, match=r"needs .*class_id.*model.classes = 0"):
        gan.fit(BYTES, verbose=0)
    with pytest.raises(DataError, match="a tuple of 2"):
        gan.fit(BYTES, IDS, verbose=0)
    assert issubclass(DataError, GanzooError)
