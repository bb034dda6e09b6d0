"""Files that claim more than they have, that never end, or that are broken: bounded in memory, one clear error."""

import gzip
import io
import json
import os
import struct
import subprocess
import sys
import textwrap
import threading
import zipfile
import zlib

import numpy as np
import pytest
from bad_images import chunk, corner, encode

from ganzoo.data.images import ImageOptions, archives, limits, load_images
from ganzoo.errors import DataError

PNG = encode(corner((8, 8)), "PNG")
OPTIONS = ImageOptions(8, labelled=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))


def peak_of(*lines: str) -> tuple[float, str]:
    """What a process of its own prints, and by how many MiB its memory grew while it ran `lines`."""
    script = """
        import resource, sys
        from ganzoo.data.images import ImageOptions, load_images
        from ganzoo.errors import DataError
        import ganzoo.data.images.arrays, ganzoo.data.images.archives, ganzoo.data.images.builtin
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        try:
            print(load_images(sys.argv[1], ImageOptions(8, labelled=True)).samples.shape)
        except DataError as error:
            print("DataError:", error)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), *lines], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == 0, done.stderr[-2000:]
    text, grown = done.stdout.rstrip().rsplit("\n", 1)
    return float(grown), text


def npy_header(shape: tuple, kind: str = "|u1") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text


def claimed_npz(shape: tuple, kind: str = "|u1") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("images.npy", npy_header(shape, kind) + bytes(1000))
    return file.getvalue()


def claimed_idx(*shape: int) -> bytes:
    return struct.pack(">HBB3I", 0, 8, 3, *shape) + bytes(1000)


def wide_zip() -> bytes:
    """A zip whose directory says that it unpacks to more than deflate can pack."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", PNG)
    data = bytearray(file.getvalue())
    entry = data.index(b"PK\1\2")
    data[entry + 24 : entry + 28] = struct.pack("<I", 2**31)
    return bytes(data)


def text_chunk_bomb() -> bytes:
    return PNG[:33] + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(300_000_000), 9)) + PNG[33:]


CLAIMS = {
    "claims.npy": (npy_header((10**9, 64, 64, 3)) + bytes(100), "cannot be read as numpy arrays"),
    "negative.npy": (npy_header((-1, 8, 8)) + bytes(100), "cannot be read"),
    "endless_header.npy": (b"\x93NUMPY\2\0" + struct.pack("<I", 2**31) + bytes(100), "cannot be read"),
    "claims.npz": (claimed_npz((10**12,)), "claims 1,000,000,000,000 bytes"),
    "wide.npz": (claimed_npz((10**5, 64, 64), "<f8"), "claims 3,276,800,000 bytes"),
    "objects.npz": (claimed_npz((4,), "|O"), "Python objects"),
    "claims-images-idx3-ubyte": (claimed_idx(2**31, 2**31, 2**31), "needs|announced"),
    "wide-images-idx3-ubyte": (claimed_idx(60_000, 28, 28), "cut off: 47,040,000 values announced, 1,000 found"),
    "claims-images-idx3-ubyte.gz": (gzip.compress(claimed_idx(2**31, 2**31, 2**31)), "cut off|needs"),
    "bomb-images-idx3-ubyte.gz": (gzip.compress(claimed_idx(2**10, 2**10, 2**10)), "cut off"),
    "wide.zip": (wide_zip(), "packed bytes cannot hold"),
    "empty.zip": (b"PK\5\6" + bytes(18), "it is empty"),
    "empty.npz": (b"PK\5\6" + bytes(18), r"holds \[\]"),
    "empty.npy": (b"", "cannot be read"),
    "empty-images-idx3-ubyte": (b"", "cannot be read"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_claims_are_checked_before_memory_is_taken(tmp_path, name):
    data, text = CLAIMS[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=text):
        load_images(tmp_path / name, OPTIONS)


@pytest.mark.parametrize("kind", ["npz", "idx", "zip", "png", "json"])
def test_memory_stays_small(tmp_path, kind):
    path = tmp_path / "data"
    if kind == "npz":
        path = tmp_path / "a.npz"
        path.write_bytes(claimed_npz((10**5, 64, 64), "<f8"))
    elif kind == "idx":
        path = tmp_path / "a-images-idx3-ubyte.gz"
        path.write_bytes(gzip.compress(claimed_idx(2**10, 2**10, 2**10)))
    elif kind == "zip":  # a member of 200 MB of zeros, which is no image
        path = tmp_path / "a.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.png", bytes(200_000_000))
            archive.writestr("b.png", PNG)
    elif kind == "png":
        path.mkdir()
        (path / "a.png").write_bytes(text_chunk_bomb())
        (path / "b.png").write_bytes(PNG)
    else:
        path.mkdir()
        (path / "a.png").write_bytes(PNG)
        (path / "dataset.json").write_text("[" * 1_000_000)
    grown, text = peak_of(str(path))
    assert grown < 100, (grown, text)
    assert text.startswith("(1, 8, 8, 3)" if kind in ("zip", "png") else "DataError:")


def test_a_zip_of_too_many_members_or_of_other_methods(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as archive:
        for index in range(30):
            archive.writestr(f"{index}.png", PNG)
    assert len(load_images(tmp_path / "many.zip", OPTIONS)) == 30
    monkeypatch.setattr(archives, "MAX_MEMBERS", 20)
    with pytest.raises(DataError, match="lists more than 20 files"):
        load_images(tmp_path / "many.zip", OPTIONS)
    monkeypatch.undo()
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "lzma.zip", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("a.png", PNG)
        archive.writestr("b.png", PNG, zipfile.ZIP_STORED)
    found = load_images(tmp_path / "lzma.zip", OPTIONS)
    assert len(found) == 1 and "unsupported method (lzma" in found.problems[0].reason


def test_large_members_of_a_zip_are_unpacked_one_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGE_FILE", 100)
    held, most, unpack = [], [], archives._unpack

    def count(archive, member, any_kind):
        data = unpack(archive, member, any_kind)
        held.append(member.filename)
        most.append(len(held))
        return data

    class Counted(archives._Large):
        def close(self):
            held.pop()
            super().close()

    monkeypatch.setattr(archives, "_unpack", count)
    monkeypatch.setattr(archives, "_Large", Counted)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for index in range(40):
            archive.writestr(f"{index}.png", PNG + bytes(100))
        archive.writestr("bad.png", PNG[:40] + bytes(200))
    assert len(load_images(tmp_path / "a.zip", OPTIONS)) == 40
    assert held == [] and max(most) == 1 and len(most) == 41

    def take():
        if archives.LARGE.acquire(timeout=5):
            archives.LARGE.release()
            held.append("free")

    thread = threading.Thread(target=take)
    thread.start()
    thread.join()
    assert held == ["free"]  # nobody holds it any more


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "dataset.json", "labels.csv", "a.npy"])
def test_pipes_in_the_place_of_files_do_not_stop_it(tmp_path, name):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(PNG)
    os.mkfifo(tmp_path / "set" / name)
    outcome = []

    def read():
        try:
            outcome.append(load_images(tmp_path / "set", OPTIONS))
        except DataError as error:
            outcome.append(error)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    thread.join(20)
    assert outcome, "it waits for the pipe"
    if not isinstance(outcome[0], DataError):
        assert [problem.path for problem in outcome[0].problems] == [name]


def test_no_memory_and_any_other_failure_end_in_a_data_error(tmp_path, monkeypatch):
    (tmp_path / "a.npy").write_bytes(b"x")
    for failure, text in (
        (MemoryError(), "not enough memory"),
        (RuntimeError("odd\nthing"), r"RuntimeError: odd\\nthing"),
    ):

        def fail(*arguments, failure=failure, **options):
            raise failure

        monkeypatch.setattr("ganzoo.data.images.arrays.open_regular", fail)
        with pytest.raises(DataError, match=text):
            load_images(tmp_path / "a.npy", OPTIONS)
    monkeypatch.setattr(limits, "available_memory", lambda: 1000)
    with pytest.raises(DataError, match="of memory"):
        load_images(np.zeros((40, 8, 8), np.float32) + 0.5, ImageOptions(8))
    assert limits.available_memory() == 1000


def test_available_memory_is_bounded_by_the_machine():
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < limits.available_memory() <= total


def test_a_name_of_any_bytes(tmp_path):
    folder = os.fsencode(tmp_path) + b"/set/caf\xe9"
    os.makedirs(folder)
    os.makedirs(os.fsencode(tmp_path) + b"/set/other")
    for path in (folder + b"/1.png", os.fsencode(tmp_path) + b"/set/other/2.png"):
        with open(path, "wb") as file:
            file.write(PNG)
    found = load_images(tmp_path / "set", OPTIONS)
    assert found.class_names == ("caf\\udce9", "other") and json.dumps(found.class_names).isascii()


def test_what_a_killed_reader_left_in_the_cache_is_removed(tmp_path):
    folder, cache = tmp_path / "set", tmp_path / "cache" / "data"
    folder.mkdir()
    for index in range(300):
        (folder / f"{index}.png").write_bytes(PNG)
    script = f"""
        import time
        from ganzoo.data.images import ImageOptions, load_images
        def wait(done, total):
            print("decoding", flush=True)
            time.sleep(100)
        load_images({str(folder)!r}, ImageOptions(64), wait)
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout.readline() == "decoding\n"
        reader.kill()
    left = list(cache.iterdir())
    assert len(left) == 1 and left[0].stat().st_size > 1_000_000
    again = (
        f"from ganzoo.data.images import *; print(len(load_images({str(folder)!r}, ImageOptions(64), lambda *_: 0)))"
    )
    done = subprocess.run([sys.executable, "-c", again], capture_output=True, text=True, timeout=100)
    assert done.stdout == "300\n", done.stderr
    assert not left[0].exists() and len(list(cache.iterdir())) == 2
