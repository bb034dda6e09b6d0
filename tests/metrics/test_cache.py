import hashlib
import io
import json
import os
import threading
import time
import zipfile

import numpy as np
import pytest
from safetensors.numpy import save_file

from ganzoo.errors import DataError, WeightsError
from ganzoo.files import reading, tensors, writing
from ganzoo.files.cache import cache_dir
from ganzoo.files.writing import atomic_write, atomic_write_bytes
from ganzoo.metrics.networks.base import FeatureNetwork
from ganzoo.metrics.networks.features import extract

HEXES = "0123456789abcdef" * 2
TWO_DAYS = 2 * 24 * 3600


def test_the_cache_lies_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "here"))
    assert cache_dir("features") == tmp_path / "here" / "features" and cache_dir("features").is_dir()
    monkeypatch.delenv("GANZOO_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir("networks") == tmp_path / ".cache" / "ganzoo" / "networks"


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = atomic_write_bytes(tmp_path / "deep" / "file.bin", b"old")

    def fail(temporary):
        temporary.write_bytes(b"half")
        raise RuntimeError("no space")

    with pytest.raises(RuntimeError):
        atomic_write(path, fail)
    assert path.read_bytes() == b"old" and list(path.parent.iterdir()) == [path]


# Files of other programs.


@pytest.fixture
def foreign(tmp_path):
    """A folder with what other programs keep under names that earlier versions of ganzoo used, two days old."""
    folder = tmp_path / "foreign"
    for name in (".backup", ".exported"):
        (folder / f"{name}.{HEXES}").mkdir(parents=True)
    for name in (f".thumb.{HEXES}.png", f".notes.{HEXES}", f".notes.{HEXES}.json", f".export-{HEXES}.json"):
        (folder / name).write_bytes(b"x")
    for path in folder.iterdir():
        os.utime(path, (time.time() - TWO_DAYS,) * 2)
    return folder


def test_a_write_removes_nothing_of_other_programs(foreign):
    before = set(foreign.iterdir())
    writing.write_text(foreign / "out.json", "{}")
    assert set(foreign.iterdir()) == before | {foreign / "out.json"}
    writing.remove_leftovers(foreign)
    assert set(foreign.iterdir()) == before | {foreign / "out.json"}


def test_the_root_of_the_cache_may_be_the_folder_of_other_programs(foreign, monkeypatch):
    before = set(foreign.iterdir())
    monkeypatch.setenv("GANZOO_CACHE", str(foreign))
    cache_dir("")
    assert set(foreign.iterdir()) == before


def test_names_of_earlier_versions_are_removed_in_own_folders_alone(foreign, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(foreign.parent))
    before = set(foreign.iterdir())
    os.makedirs(foreign / f".export-{HEXES}")
    os.utime(foreign / f".export-{HEXES}", (time.time() - TWO_DAYS,) * 2)
    cache_dir("foreign")
    assert before - set(foreign.iterdir()) == {foreign / f".notes.{HEXES}.json"}
    assert not (foreign / f".export-{HEXES}").exists()


# A cache that cannot be made.


def network(calls=None):
    """A feature network without a file: the mean colour."""

    def function(images):
        if calls is not None:
            calls.append(len(images))
        return np.asarray(images).mean((1, 2))

    return FeatureNetwork(
        name="mean",
        family="none",
        trained_on="nothing",
        dim=3,
        source="",
        licence="",
        version="1",
        input_size=None,
        function=function,
    )


def test_without_a_cache_scoring_goes_on_with_one_warning(tmp_path, monkeypatch, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "file" / "below"))
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    calls = []
    found = extract(network(calls), images, cached=True)
    np.testing.assert_allclose(found, images.mean((1, 2)), rtol=1e-5)
    extract(network(calls), images, cached=True)
    assert len(calls) == 1  # kept in the temporary folder
    cache_dir("networks")
    warnings = [record.getMessage() for record in caplog.records if "cache folder" in record.getMessage()]
    assert len(warnings) == 1 and "Set GANZOO_CACHE" in warnings[0] and "Not a directory" in warnings[0]


# Damage.


def test_damaged_features_are_computed_again(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path))
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    first = extract(network(), images, cached=True)
    (path,) = (tmp_path / "features").iterdir()
    content = bytearray(path.read_bytes())
    content[-2] ^= 1  # another number, as plausible
    path.write_bytes(content)
    np.testing.assert_array_equal(extract(network(), images, cached=True), first)
    assert "are damaged" in caplog.text


def test_a_file_is_hashed_once_and_says_whether_it_has_a_checksum(tmp_path, monkeypatch):
    from ganzoo.weights import preset_files

    arrays = {"generator/kernel": np.arange(6, dtype="float32")}
    tensors.write_arrays(tmp_path / "new.safetensors", arrays)
    save_file(arrays, tmp_path / "old.safetensors")
    assert tensors.read_checked(tmp_path / "new.safetensors")[1] is True
    assert tensors.read_checked(tmp_path / "old.safetensors")[1] is False
    hashed, sha256 = [], hashlib.sha256
    monkeypatch.setattr(tensors.hashlib, "sha256", lambda *content: hashed.append(1) or sha256(*content))
    np.testing.assert_array_equal(
        preset_files.read_arrays(tmp_path / "new.safetensors", "run")["generator/kernel"], arrays["generator/kernel"]
    )
    assert len(hashed) == 1


def test_the_digest_of_a_file(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert tensors.file_digest(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(WeightsError, match="does not exist"):
        tensors.file_digest(tmp_path / "y")
    with pytest.raises(WeightsError, match="is not a regular file"):
        tensors.file_digest("/dev/zero")


# One guard.


def test_every_reader_refuses_pipes_at_once(tmp_path):
    from ganzoo.data.images.image_folder import open_regular
    from ganzoo.reports.page import image
    from ganzoo.weights.integrity import read_metadata

    pipe = tmp_path / "5.png"
    os.mkfifo(pipe)
    (tmp_path / "6.png").symlink_to("/dev/zero")
    found, unread = {}, []

    def read():
        found["metadata"] = read_metadata(pipe)
        found["figures"] = [image(path, "", unread) for path in (pipe, tmp_path / "6.png")]
        try:
            open_regular(str(pipe))
        except OSError as error:
            found["data"] = str(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert found == {"metadata": None, "figures": [("", "")] * 2, "data": "no regular file any more"}
    assert unread == [f"{name}.png: no whole PNG (is not a regular file)" for name in (5, 6)]


def npz(path, content, name="x.npy"):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


def header(shape, kind="|u1"):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue()


def test_arrays_in_archives_are_checked_before_memory_is_taken(tmp_path):
    columns = np.asfortranarray(np.arange(6, dtype="<f8").reshape(2, 3))
    np.savez_compressed(tmp_path / "whole.npz", a=columns, b=np.zeros((0, 4)), c=np.array(["", ""]))
    found = reading.read_npz(tmp_path / "whole.npz")
    np.testing.assert_array_equal(found["a"], columns)
    assert found["a"].flags.writeable and found["b"].shape == (0, 4) and found["c"].tolist() == ["", ""]
    path = npz(tmp_path / "short.npz", header((100,)) + bytes(50))
    with (
        pytest.raises(DataError, match=r"short\.npz is damaged \('x' (claims 100 bytes|is cut off)"),
        reading.guard(path, DataError),
    ):
        reading.read_npz(path)
    with pytest.raises(DataError, match="at most 50 are read"), reading.guard(path, DataError):
        reading.read_npz(npz(tmp_path / "much.npz", header((300,)) + bytes(300)), 50)


def test_a_file_of_labels_may_hold_any_json_in_other_columns():
    from ganzoo.data.images.labels import read_table

    line = json.dumps({"file_name": "a.png", "label": "cat", "hash": 2**70, "deep": [[["\ud800"]]]})
    assert read_table("metadata.jsonl", line.encode()).rows == [("a.png", "cat")]
    with pytest.raises(DataError, match=r"dataset\.json cannot be read: it is damaged \(nested too deeply"):
        read_table("dataset.json", b"[" * 200_000)
