"""The clients for phones: what can be checked of them without a phone."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

import ganzoo
from ganzoo import export
from ganzoo.recipes import yaml_files
from ganzoo.recipes.entries import get_entry

CLIENTS = Path(__file__).parents[1] / "export"
ANDROID = CLIENTS / "android" / "app" / "src" / "main"
IOS = CLIENTS / "ios"
STUBS = Path(__file__).parent / "data" / "android_stubs"
KOTLIN = "kotlin-compiler"
# Of TensorFlowLiteSwift's published interface (Interpreter.swift, SignatureRunner.swift, Tensor.swift).
PUBLISHED = {"Interpreter(modelPath:", "signatureRunner(with:", "invoke(with:", "output(named:", ".data"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export")
    tiny = yaml_files.merge(get_entry("image/wgan_gp_32").raw["tiny"], {"model": {"classes": 3}})
    gan = ganzoo.create("image/wgan_gp_32", **tiny)
    export.export_generator(gan, folder, ["tflite"], ["none", "float16"])
    return folder


def test_python_needs_the_runtime_alone(exported, tmp_path):
    """The client for a Raspberry Pi, without Keras, TensorFlow or ganzoo in reach."""
    hidden = "import sys; sys.modules.update(dict.fromkeys(('tensorflow', 'keras', 'ganzoo'))); "
    script = CLIENTS / "python" / "generate.py"
    arguments = [
        str(exported / "generator_float32.tflite"),
        str(tmp_path / "out.png"),
        "--seed",
        "3",
        "--class-id",
        "2",
    ]
    code = f"{hidden}import runpy; sys.argv = {[str(script), *arguments]!r}; runpy.run_path(sys.argv[0])"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    from ai_edge_litert.interpreter import Interpreter

    runner = Interpreter(arguments[0]).get_signature_runner("serving_default")
    shape = runner.get_input_details()["latents"]["shape"]
    latents = np.random.default_rng(3).standard_normal(shape).astype("float32")
    made = runner(latents=latents, truncation=np.ones(1, "float32"), class_id=np.array([2], "int32"))["samples"][0]
    expected = np.clip(np.rint((made + 1) / 2 * 255), 0, 255)
    np.testing.assert_allclose(np.asarray(Image.open(tmp_path / "out.png"), "float32"), expected, atol=1)
    assert len(script.read_text().splitlines()) < 50


def test_android_names_only_what_there_is(exported):
    sources = "\n".join(path.read_text() for path in ANDROID.rglob("*.kt"))
    strings = {one.get("name") for one in ElementTree.parse(ANDROID / "res/values/strings.xml").getroot()}
    manifest = (ANDROID / "AndroidManifest.xml").read_text()
    used = set(re.findall(r"R\.string\.(\w+)", sources)) | set(re.findall(r"@string/(\w+)", manifest))
    assert used == strings
    activity = re.search(r'<activity android:name="\.(\w+)"', manifest).group(1)
    assert f"class {activity} : Activity()" in sources
    gradle = (ANDROID.parents[1] / "build.gradle.kts").read_text()
    package = re.search(r"package ([\w.]+)", sources).group(1)
    assert f'namespace = "{package}"' in gradle


def test_android_reads_what_the_exporter_writes(exported):
    from ganzoo.export import metadata, model_card

    found = metadata.extract((exported / "generator_float16.tflite").read_bytes())
    source = (ANDROID / "java/org/ganzoo/generator/Metadata.kt").read_text()
    keys = set(re.findall(r'(?:get|opt)\w+\("(\w+)"\)', source))
    nested = [found, *found["inputs"], *found["outputs"], *found["directions"].values()]
    assert keys <= {key for one in nested for key in one}
    assert {"inputs", "outputs", "directions", "class_names", "metadata_version", "float16"} <= keys
    assert f"VERSION = {model_card.METADATA_VERSION}" in source and f'NAME = "{metadata.NAME}"' in source
    assert f"const VERSION = {model_card.METADATA_VERSION};" in (CLIENTS / "web" / "generator.js").read_text()
    assert json.loads(json.dumps(found)) == found


@pytest.mark.heavy
@pytest.mark.skipif(
    not (shutil.which("npm") and shutil.which("java")), reason="no npm and Java for the Kotlin compiler"
)
def test_the_kotlin_sources_compile(tmp_path):
    """Against LiteRT's published interface and Android's, both as stubs: calls and types, not behaviour."""
    subprocess.run(["npm", "install", "--silent", "--prefix", str(tmp_path), KOTLIN], check=True, capture_output=True)
    names = [one.get("name") for one in ElementTree.parse(ANDROID / "res/values/strings.xml").getroot()]
    fields = "".join(f"        const val {name} = {index}\n" for index, name in enumerate(names))
    resources = tmp_path / "R.kt"
    resources.write_text(f"package org.ganzoo.generator\n\nobject R {{\n    object string {{\n{fields}    }}\n}}\n")
    sources = [*STUBS.glob("*.kt"), resources, *ANDROID.rglob("*.kt")]
    compiler = tmp_path / "node_modules" / "kotlin-compiler" / "bin" / "kotlinc"
    command = [str(compiler), "-nowarn", "-d", str(tmp_path / "out"), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    broken = tmp_path / "Generator.kt"
    broken.write_text(
        (ANDROID / "java/org/ganzoo/generator/Generator.kt").read_text().replace("writeInt(", "writeInts(")
    )
    command = [one if "Generator.kt" not in one else str(broken) for one in command]
    assert "writeInts" in subprocess.run(command, capture_output=True, text=True).stderr  # the check can fail


def test_the_swift_sources_parse():
    import tree_sitter
    import tree_sitter_swift

    parser = tree_sitter.Parser(tree_sitter.Language(tree_sitter_swift.language()))
    sources = list(IOS.rglob("*.swift"))
    assert len(sources) == 4
    for source in sources:
        content = source.read_bytes()
        assert not parser.parse(content).root_node.has_error, source.name
        assert parser.parse(content.replace(b"{", b"", 1)).root_node.has_error  # the check can fail


def test_ios_calls_what_is_published_and_reads_what_the_exporter_writes(exported):
    from ganzoo.export import metadata, model_card

    source = (IOS / "Generator" / "Generator.swift").read_text()
    assert all(call in source for call in PUBLISHED)
    runtime = re.findall(r"\b(?:runner|interpreter)\.(\w+)\(", source)
    assert set(runtime) == {"signatureRunner", "invoke", "output"}
    reader = (IOS / "Generator" / "Metadata.swift").read_text()
    found = metadata.extract((exported / "generator_float16.tflite").read_bytes())
    nested = [found, *found["inputs"], *found["outputs"], *found["directions"].values()]
    fields = set(re.findall(r"^ +let (\w+): ", reader.partition("private struct Bytes")[0], re.MULTILINE))
    assert fields <= {key for one in nested for key in one}
    assert {"metadata_version", "inputs", "outputs", "class_names", "directions", "float16", "range"} <= fields
    assert f"static let version = {model_card.METADATA_VERSION}" in reader and f'name = "{metadata.NAME}"' in reader
    for client in (IOS, ANDROID.parents[2]):
        assert "not built or run on a device" in (client / "README.md").read_text()
