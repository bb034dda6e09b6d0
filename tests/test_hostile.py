"""Broken and hostile exports: refused with a reason by `verify` and `serve`, without a crash."""

import hashlib
import json
import os
import shutil

import numpy as np
import pytest

import ganzoo
from ganzoo import export
from ganzoo.errors import ExportError
from ganzoo.export import measure, metadata, serve, vendor
from ganzoo.recipes.entries import get_entry

NAME = "generator_float32.tflite"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    gan = ganzoo.create("image/dcgan_32", **get_entry("image/dcgan_32").raw["tiny"])
    export.export_generator(gan, folder, ["tflite"], ["none"])
    return folder


@pytest.fixture
def folder(exported, tmp_path, monkeypatch):
    monkeypatch.setattr(vendor, "vendored", lambda: tmp_path)
    return shutil.copytree(exported, tmp_path / "copy")


def replace(folder, content):
    """Put another content in the place of the file, with a card that agrees."""
    (folder / NAME).write_bytes(content)
    card = json.loads((folder / "model_card.json").read_text())
    card["files"][0] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "model_card.json").write_text(json.dumps(card))


def flipped(content, seed):
    """Bytes turned over where offsets and sizes stand: anywhere but in the weights' middle."""
    random = np.random.default_rng(seed)
    changed = bytearray(content)
    places = np.concatenate([random.integers(8, 400, 12), random.integers(len(content) - 4000, len(content), 24)])
    for place in places:
        changed[place] ^= int(random.integers(1, 256))
    return bytes(changed)


def shifted(content, seed):
    """A piece cut out of the middle, or put in."""
    random = np.random.default_rng(seed)
    start, size = int(random.integers(100, len(content) - 200)), int(random.integers(1, 100))
    return content[:start] + content[start + size :] if seed % 2 else content[:start] + bytes(size) + content[start:]


DAMAGES = {
    "empty": lambda content: b"",
    "magic alone": lambda content: content[:8],
    "text": lambda content: b"\x00\x00\x00\x00TFL3" + b"no model at all" * 40,
    "zeros": lambda content: content[:8] + bytes(len(content) - 8),
    "ones": lambda content: content[:8] + b"\xff" * (len(content) - 8),
    "root beyond the end": lambda content: b"\xff\xff\xff\x7f" + content[4:],
    "no metadata": lambda content: content.replace(b"ganzoo", b"gaNzoo"),
    "others' metadata": lambda content: metadata.embed(content, {"entry": "../../etc/passwd"}),
    "doubled": lambda content: content + content,
    **{f"cut at {part} of 9": lambda content, part=part: content[: part * len(content) // 9] for part in range(1, 9)},
    **{f"bytes turned, {seed}": lambda content, seed=seed: flipped(content, seed) for seed in range(16)},
    **{f"shifted, {seed}": lambda content, seed=seed: shifted(content, seed) for seed in range(8)},
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_with_a_card_that_agrees(damage, folder):
    content = (folder / NAME).read_bytes()
    replace(folder, DAMAGES[damage](content))
    if damage == "doubled":  # what follows a flatbuffer is not part of it: it makes what the file made
        export.verify_export(folder)
        return
    with pytest.raises(ExportError):
        export.verify_export(folder)


def _card(file, precision, allowed):
    listed = f'{{"file": "{file}", "bytes": 1, "sha256": "0", "precision": "{precision}", "allowed": {allowed}}}'
    return f'{{"entry": "x", "metadata": {{}}, "files": [{listed}]}}'


CARDS = {
    "no JSON": "{",
    "a list": "[]",
    "a number": "3",
    "null": "null",
    "no files": '{"entry": "x", "files": [], "metadata": {}}',
    "files that are no list": '{"entry": "x", "files": 3, "metadata": {}}',
    "a path outside": _card("../x", "float32", "1"),
    "an absolute path": _card("/etc/passwd", "float32", "1"),
    "an unknown precision": _card("generator_float32.tflite", "int2", "1"),
    "no limit": _card("generator_float32.tflite", "float32", '"x"'),
    "a negative limit": _card("generator_float32.tflite", "float32", "-1"),
    "no number": _card("generator_float32.tflite", "float32", "NaN"),
    "another size": _card("generator_float32.tflite", "float32", "1"),
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("damage", CARDS)
def test_a_card(damage, folder):
    (folder / "model_card.json").write_text(CARDS[damage])
    for refuse in (export.verify_export, serve.site):
        with pytest.raises(ExportError):
            refuse(folder)


def test_bytes_that_are_no_text(folder):
    (folder / "model_card.json").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(ExportError, match=r"model_card\.json cannot be read"):
        export.verify_export(folder)


def test_no_module_of_the_export_is_run(folder, monkeypatch):
    for name in ("numpy", "json", "ganzoo", "sitecustomize", "ai_edge_litert"):
        (folder / f"{name}.py").write_text(f"open({str(folder / 'executed')!r}, 'w')")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend("")  # as in an interactive Python, where the current folder comes first
    assert [file["file"] for file in export.verify_export(".")["files"]] == [NAME]
    assert not (folder / "executed").exists()


def test_another_ganzoo_in_the_current_folder_is_not_measured_with(folder, tmp_path, monkeypatch):
    (tmp_path / "clone" / "ganzoo").mkdir(parents=True)
    (tmp_path / "clone" / "ganzoo" / "__init__.py").write_text("raise SystemExit('the other one')")
    monkeypatch.chdir(tmp_path / "clone")
    assert export.verify_export(folder)["files"][0]["steady"]["1"]["minimum_ms"] > 0


def test_a_file_that_takes_too_long(folder, monkeypatch):
    monkeypatch.setattr(measure, "SECONDS", 0.05)
    with pytest.raises(ExportError, match="was not measured within 0 seconds: its process was ended"):
        export.verify_export(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("name", [NAME, "model_card.json", "reference.npz"])
def test_no_wait_for_a_pipe(name, folder):
    (folder / name).unlink()
    os.mkfifo(folder / name)
    with pytest.raises(ExportError, match=f"{name}.* (is not a regular file|cannot be read|has 0 bytes)"):
        export.verify_export(folder)
