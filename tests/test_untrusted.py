"""Files from others: no code of theirs runs, and their sizes are checked before memory is taken."""

import io
import json
import os
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

import ganzoo
from ganzoo.backbones import libraries
from ganzoo.errors import ExportError, GanzooError, RecipeError, WeightsError
from ganzoo.export import inspection, model_card
from ganzoo.export.reference import load_reference
from ganzoo.files import reading, tensors, writing
from ganzoo.recipes import entries, yaml_files
from ganzoo.weights import torch_files


def test_a_recipe_imports_no_module_beside_it(tmp_path, monkeypatch):
    for package in ("evil", "pip"):  # `pip` is installed, but is no plug-in
        folder = tmp_path / package
        folder.mkdir()
        (folder / "code.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
        (folder / "recipe.yaml").write_text(f"entry: x\ndomain: image\ngan: {package}.code\n")
    (tmp_path / "evil" / "__init__.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for package in ("evil", "pip"):
        with pytest.raises(RecipeError, match=r"not registered as a plug-in.*ganzoo\.zoo"):
            ganzoo.create(package)
    assert not (tmp_path / "executed").exists() and "evil" not in sys.modules


@pytest.mark.parametrize("entry", ["", ".", "absolute"])
def test_a_folder_registers_no_plug_in_by_itself(entry, tmp_path, monkeypatch):
    """Metadata of a distribution in the current folder are no installation."""
    (tmp_path / "evil" / "image").mkdir(parents=True)
    (tmp_path / "evil" / "__init__.py").touch()
    (tmp_path / "evil" / "code.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')")
    (tmp_path / "evil" / "image" / "evil_32.yaml").write_text("domain: image\ngan: evil.code\n")
    metadata = tmp_path / "evil-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[ganzoo.zoo]\nimages = evil\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path) if entry == "absolute" else entry)
    entries._files.cache_clear()
    try:
        assert "image/evil_32" not in ganzoo.list_entries() and "image/dcgan_32" in ganzoo.list_entries()
        with pytest.raises(RecipeError, match="only in the current folder"):
            entries.gan_class("evil.code")
        entries.import_classes()
    finally:
        entries._files.cache_clear()
    assert not (tmp_path / "executed").exists() and "evil" not in sys.modules


def test_a_plug_in_does_not_register_where_python_was_started_in_its_folder(tmp_path):
    """Started there, Python has the folder on its path for good, even if the process goes elsewhere."""
    (tmp_path / "evil-1.0.dist-info").mkdir()
    (tmp_path / "evil-1.0.dist-info" / "entry_points.txt").write_text("[ganzoo.zoo]\nimages = evil\n")
    (tmp_path / "evil-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n")
    (tmp_path / "elsewhere").mkdir()
    code = "import os, sys; sys.path[0] = os.getcwd(); from ganzoo.recipes import entries; os.chdir('elsewhere')"
    code += "; print(entries._plug_ins())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "[]\n", done


def test_a_recipe_names_no_module_outside_of_a_plug_in(tmp_path, monkeypatch):
    monkeypatch.setattr(entries, "_plug_ins", lambda: ["json"])
    for module in ("json.missing", "jsonx.tool", "json..tool", "json.tool.x"):
        with pytest.raises(RecipeError, match="architecture"):
            entries.gan_class(module)
    with pytest.raises(RecipeError, match="must define one subclass"):
        entries.gan_class("json.tool")


ALIASES = "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}' if i else 'x'] * 9)}]" for i in range(9))
MERGED = "m0: &m0 {a: 1}\n" + "\n".join(f"m{i}: &m{i} {{<<: [{', '.join([f'*m{i - 1}'] * 9)}]}}" for i in range(1, 9))
RECIPES = {
    "aliases": ALIASES,
    "merged keys": MERGED,
    "an alias in itself": "a: &a [*a]",
    "a chain of aliases": "\n".join(f"a{i}: &a{i} [{f'*a{i - 1}' if i else 'x'}]" for i in range(200)),
    "open brackets": "[" * 500_000,
    "open braces": "{" * 500_000,
    "open lists": "- " * 400_000,
    "open keys": "? " * 400_000,
    "a long number in base 60": "a: " + ":".join(["59"] * 100_000),
    "a long hexadecimal number": "a: 0x" + "f" * 500_000,
    "a long number": "a: " + "9" * 5_000,
    "a date": "a: 2001-12-09",
    "no date": "a: 2001-13-99",
    "keys that are lists": "? [a]\n: b",
    "keys that are numbers": "1: b",
    "an object": "a: !!python/object/apply:os.system [ls]",
    "no text": "a: \x00",
    "too large": "a: " + "x" * (yaml_files.MOST_YAML + 1),
    "a file elsewhere": "extends: ../../../etc/passwd",
    "a YAML file elsewhere": "extends: ../outside.yaml",
    "an absolute path": "extends: /etc/passwd.yaml",
    "a list": "extends: [a.yaml]",
}


@pytest.mark.parametrize("kind", RECIPES)
def test_a_recipe_is_refused_quickly(kind, tmp_path):
    (tmp_path / "outside.yaml").write_text("a: 1")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.yaml").write_text(RECIPES[kind])
    start = time.process_time()
    with pytest.raises(RecipeError):
        ganzoo.get_entry(str(tmp_path / "run"))
    assert time.process_time() - start < 2


def test_recipes_extend_few(tmp_path):
    for index in range(12):
        (tmp_path / f"{index}.yaml").write_text(f"extends: {index + 1}.yaml\na{index}: 1\n")
    (tmp_path / "12.yaml").write_text("b: 1")
    with pytest.raises(RecipeError, match="extends more than 8"):
        yaml_files.read_yaml(tmp_path / "0.yaml")
    assert yaml_files.read_yaml(tmp_path / "6.yaml") == {"b": 1, **{f"a{index}": 1 for index in range(6, 12)}}


@pytest.mark.parametrize(
    "overrides",
    [
        {"model.generator_width": 10**9},
        {"model.discriminator_width": 40_000},
        {"data.size": 2**20},
        {"model.latent_dim": 10**12},
        {"model.latent_dim": 2**62},
    ],
)
def test_a_model_that_would_take_the_memory_is_not_built(overrides):
    with pytest.raises(RecipeError, match=r"would have more than 1,000,000,000 parameters|cannot be built"):
        ganzoo.create("image/dcgan_32", **overrides)


def test_numbers_that_are_not_finite_are_no_values_of_a_recipe():
    for value in (float("nan"), float("inf")):
        with pytest.raises(RecipeError, match=r"optimizers\.generator\.learning_rate.*finite"):
            entries.get_entry("image/dcgan_32").recipe(**{"optimizers.generator.learning_rate": value})
    with pytest.raises(RecipeError, match="plain values only"):
        entries.get_entry("image/dcgan_32").recipe(**{"scores": {"x": object()}})


JSON = {
    "deep lists": "[" * 200_000,
    "deep but whole": "[" * 100 + "]" * 100,
    "deep objects": '{"a":' * 200_000,
    "a long integer": "[" + "9" * 4_000 + "]",
    "a longer integer": "[" + "9" * 5_000 + "]",
    "half a character": r'["\ud800"]',
    "bytes": b"\xff\xfe",
    "too large": b"[" + b"0," * (reading.MOST_TEXT // 2) + b"0]",
    "empty": "",
}


@pytest.mark.parametrize("kind", JSON)
def test_a_json_file_is_refused(kind, tmp_path):
    content = JSON[kind]
    (tmp_path / "x.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(GanzooError, match=r"x\.json"):
        reading.read_json(tmp_path / "x.json")


def test_lines_that_are_no_objects_are_counted_not_raised(tmp_path):
    lines = [
        '{"samples": 1}',
        "[" * 100_000,
        '{"samples": 1e999}',
        f'{{"samples": {10**400}}}',
        '{"samples": "\\ud800"}',
    ]
    (tmp_path / "x.jsonl").write_text("\n".join(lines) + "\n" + '{"samples": 2}\n')
    unread = []
    found = reading.read_objects(tmp_path / "x.jsonl", "samples", unread=unread)
    assert [one["samples"] for one in found] == [1, 2]
    assert unread == ["x.jsonl: lines that are not JSON objects: 3"]


READERS = {
    "json": (reading.read_json, GanzooError),
    "jsonl": (reading.read_objects, GanzooError),
    "text": (reading.read_text, GanzooError),
    "yaml": (yaml_files.read_yaml, RecipeError),
    "safetensors": (tensors.read_safetensors, WeightsError),
    "pth": (torch_files.read_state_dict, WeightsError),
    "npz": (load_reference, ExportError),
}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
@pytest.mark.parametrize("kind", READERS)
def test_no_reader_waits_for_a_pipe_or_reads_a_device(kind, tmp_path):
    read, error = READERS[kind]
    os.mkfifo(tmp_path / "pipe")
    os.symlink("/dev/zero", tmp_path / "device")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "device", "folder"):
        with pytest.raises(error, match=f"{name} is (not a regular file|a folder)"):
            read(tmp_path / name)


def pickled(body):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("x/data.pkl", body)
    return content.getvalue()


def test_deep_pickles_do_not_end_python(tmp_path):
    nested = b"".join(b"\x85r%b0j%b" % (i.to_bytes(4, "little"), i.to_bytes(4, "little")) for i in range(100_000))
    bodies = {
        "a key": b"\x80\x02}N" + b"\x85" * 300_000 + b"Ns.",
        "a numbered key": b"\x80\x02}N" + nested + b"Ns.",
        "lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    }
    for name, body in bodies.items():
        (tmp_path / "x.pth").write_bytes(pickled(body))
        code = f"from ganzoo.weights import torch_files; torch_files.read_state_dict({str(tmp_path / 'x.pth')!r})"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 1 and "nested more than 200 deep" in done.stderr, name


def test_modules_of_an_archive_that_hold_each_other_are_refused_quickly(tmp_path):
    module, build = b"c__torch__.net\nNet\n)\x81", b"}(X\x01\x00\x00\x00a%bX\x01\x00\x00\x00b%bub"
    twice = module  # each module holds the one before it as `a` and as `b`
    for number in range(60):
        kept = b"r" + number.to_bytes(4, "little")
        again = b"j" + number.to_bytes(4, "little")
        twice = twice + kept + b"0" + module + build % (again, again)
    itself = module + b"q\x00" + build % (b"h\x00", b"h\x00")
    for body in (twice, itself):
        with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
            archive.writestr("archive/data.pkl", b"\x80\x02" + body + b".")
        with pytest.raises(WeightsError, match="a module in it is used in two places"):
            torch_files.read_state_dict(tmp_path / "x.pt")


def test_an_array_takes_no_more_than_its_file_says(tmp_path):
    arrays = {"input/latents": np.zeros((2, 3)), "input/truncation": np.ones(2), "output/samples": np.zeros((2, 4))}
    np.savez_compressed(tmp_path / "whole.npz", **arrays)
    assert load_reference(tmp_path / "whole.npz").samples.shape == (2, 4)
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(tmp_path / "claimed.npz", "w") as archive:
        archive.writestr("output/samples.npy", head.getvalue() + bytes(64))
    with pytest.raises(ExportError, match="claims 8,000,000,000,000 bytes"):
        load_reference(tmp_path / "claimed.npz")
    np.savez(tmp_path / "objects.npz", **{"output/samples": np.array([object()])})
    with pytest.raises(ExportError, match="holds Python objects"):
        load_reference(tmp_path / "objects.npz")


def test_a_saved_model_that_reaches_for_files_is_refused(tmp_path):
    import tensorflow as tf

    class Writes(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((), tf.float32)])
        def serve(self, x):
            tf.io.write_file(str(tmp_path / "written"), "x")
            return {"samples": x + tf.cast(tf.strings.length(tf.io.read_file("/etc/passwd")), tf.float32)}

    class Adds(tf.Module):
        def __init__(self):
            self.weight = tf.Variable(2.0)

        @tf.function(input_signature=[tf.TensorSpec((), tf.float32)])
        def serve(self, x):
            return {"samples": x + self.weight}

    for module in (Writes(), Adds()):
        folder = tmp_path / type(module).__name__
        tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    inspection.check_saved_model(tmp_path / "Adds")
    with pytest.raises(ExportError, match=r"refused: it uses \['ReadFile', 'WriteFile'\]"):
        inspection.check_saved_model(tmp_path / "Writes")
    (tmp_path / "Adds" / "saved_model.pb").write_bytes(b"\xff" * 100)
    with pytest.raises(ExportError, match="is damaged"):
        inspection.check_saved_model(tmp_path / "Adds")


def test_safetensors_claim_no_more_than_they_have(tmp_path):
    head = {"x": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    text = json.dumps(head).encode()
    for size in (len(text), 2**40, 2**63):
        (tmp_path / "x.safetensors").write_bytes(size.to_bytes(8, "little") + text + bytes(16))
        with pytest.raises(WeightsError, match=r"x\.safetensors is damaged"):
            tensors.read_safetensors(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    "named", [{"module": "os", "class_name": "system"}, {"module": "keras.layers", "class_name": "Lambda"}]
)
def test_a_keras_hub_preset_imports_no_module_of_others(named, tmp_path):
    whole = {"module": "keras_hub.src.models.x", "class_name": "X", "config": {"layers": [{"module": "keras", "a": 1}]}}
    (tmp_path / "config.json").write_text(json.dumps(whole))
    libraries._check_preset(tmp_path)
    whole["config"]["layers"].append(named)
    (tmp_path / "config.json").write_text(json.dumps(whole))
    with pytest.raises(WeightsError, match=f"names {named['module']}.{named['class_name']}"):
        libraries._check_preset(tmp_path)


_HEAVY = [pytest.param(kind, marks=pytest.mark.heavy) for kind in ("recipes", "presets", "checkpoints", "exports")]


@pytest.mark.parametrize("kind", ["pth", "data", *_HEAVY])
def test_a_few_damaged_files_of_each_kind(kind, tmp_path):
    """A share of `tests/benchmarks/fuzz.py`, with its own seed."""
    script = Path(__file__).parent / "benchmarks" / "fuzz.py"
    command = [sys.executable, script, "--only", kind, "--cases", "25", "--seed", "7", "--out", tmp_path / "out.json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    row = json.loads((tmp_path / "out.json").read_text())[kind]
    assert row["cases"] == 25 and row["clear_errors"] >= 2
    assert row["others"] == 0, row["others_listed"]


def test_names_are_shown_as_they_are_in_a_model_card():
    names = ["a\nb", "# c", "d | e", "<script>", "[f](http://x)", "\udc80g", "\x1b[31mh", "`i`"]
    shown = [model_card.inline(name) for name in names]
    assert shown == ["a b", "# c", r"d \| e", r"\<script\>", r"\[f\](http://x)", r"\\udc80g", r"\[31mh", r"\`i\`"]
    json.dumps(model_card.unicode({"names": names, "\udc80": 1.0}), ensure_ascii=False).encode()


def test_names_of_files_that_are_any_bytes_are_read_back(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    writing.write_json(tmp_path / "x.json", {"classes": [name]})
    assert reading.read_json(tmp_path / "x.json") == {"classes": [name]}
