"""Damages files of every kind that ganzoo reads, and counts what becomes of them.

    python tests/benchmarks/fuzz.py                                  # all: 3,800 cases
    python tests/benchmarks/fuzz.py --only pth,data --cases 100      # some of them

A case is a small whole file in which bytes or values were changed at random (the same for the same seed). A reader must
refuse it with one of the project's own errors, or accept it: "other" is every other exception, the end of the process,
more than `SECONDS` for a case, more than `MEMORY` bytes, and a file that was accepted although its checksum is wrong.
Each kind runs in a process of its own, which is started again after a case that ended it. The table goes to the
terminal and, with the others' tracebacks, to `tests/benchmarks/fuzz.json`.
"""

import argparse
import io
import json
import os
import pickle
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

CASES = {"recipes": 1000, "presets": 500, "checkpoints": 500, "pth": 500, "exports": 500, "data": 500, "runs": 300}
SECONDS = 90.0  # of a case; the first one also imports TensorFlow
MEMORY = 12 << 30  # bytes of addresses of a process; TensorFlow alone maps some
ENTRIES = ("image/dcgan_32", "image/wgan_gp_32", "image/projected_mobile_64")
HERE = Path(__file__).parent

WEIRD: list[Any] = [
    None, True, -1, 0, 1, 7, 2**31, 2**62, 2**70, 1e308, -1e-308, 0.5, float("nan"), float("inf"), "", "x", "x" * 5000,
    "\u202e\u0000", "../../etc/passwd", "/dev/zero", "evil.code", "os.system", [], {}, [[]], [None], {"a": {"b": [1]}},
    ["x"] * 200, [0], [-1], [2**40] * 5, "1:2:3", "2001-01-01", "null", "${HOME}", "dcgan", "hinge", "r1",
]  # fmt: skip


# Damages: of plain values, and of bytes.


def leaves(value: Any, path: tuple = ()) -> list[tuple]:
    """The paths of all values in a nested one."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(one for key, inner in below for one in leaves(inner, (*path, key)))]


def changed_values(value: Any, random: np.random.Generator) -> Any:
    """A copy in which one to three values are others, gone, or under another key."""
    value = json.loads(json.dumps(value))
    for _ in range(random.integers(1, 4)):
        paths = leaves(value)[1:]
        if not paths:
            break
        *above, last = paths[random.integers(len(paths))]
        holder = value
        for key in above:
            holder = holder[key]
        act = random.integers(6)
        if act == 0:
            del holder[last]
        elif act == 1 and isinstance(holder, dict):
            holder[str(WEIRD[random.integers(len(WEIRD))])[:20]] = holder.pop(last)
        else:
            holder[last] = WEIRD[random.integers(len(WEIRD))]
    return value


def changed_bytes(content: bytes, random: np.random.Generator) -> bytes:
    """A copy in which bits are turned, or pieces are cut out, repeated, put in or set to one value."""
    data = bytearray(content)
    for _ in range(random.integers(1, 4)):
        if not data:
            return bytes(random.integers(0, 256, 20, dtype=np.uint8))
        size = int(2 ** random.uniform(0, 12))
        # Heads and tails hold what is about the rest.
        start = int(random.choice([random.integers(len(data)), random.integers(min(len(data), 400)), len(data) - 1]))
        start = max(start - int(random.integers(200)), 0) if random.random() < 0.3 else start
        act = random.integers(8)
        if act <= 2:
            data[start] ^= 1 << int(random.integers(8))
        elif act == 3:
            del data[start : start + size]
        elif act == 4:
            data[start:start] = data[start : start + size]
        elif act == 5:
            data[start : start + size] = bytes([int(random.choice([0, 255, 65, 127]))]) * len(
                data[start : start + size]
            )
        elif act == 6:
            data[start:start] = random.integers(0, 256, min(size, 64), dtype=np.uint8).tobytes()
        else:
            del data[start:]
    return bytes(data)


def another_kind(path: Path, random: np.random.Generator) -> None:
    """Put something else in the place of a file: nothing, a folder, a pipe, links."""
    path.unlink()
    act = random.integers(6)
    if act == 0:
        path.mkdir()
    elif act == 1:
        os.mkfifo(path)
    elif act == 2:
        path.symlink_to(random.choice(["/dev/zero", "/dev/tty", "/etc/passwd", "/proc/self/maps", path.name]))
    elif act == 3:
        path.write_bytes(b"")
    elif act == 4:
        path.write_bytes(random.integers(0, 256, 3000, dtype=np.uint8).tobytes())


# Kinds: each makes its whole files once, and then damages and reads them. A reader returns what is wrong, if anything.


class Recipes:
    """A preset's recipe, validated and (of the two small architectures) built."""

    def __init__(self, folder: Path):
        from ganzoo.recipes import yaml_files
        from ganzoo.recipes.entries import get_entry

        self.raw = [yaml_files.merge(get_entry(name).raw, get_entry(name).raw["tiny"]) for name in ENTRIES]
        self.built: set[str] = set()

    def run(self, folder: Path, random: np.random.Generator) -> str | None:
        import ganzoo

        raw = self.raw[random.integers(len(self.raw))]
        if random.random() < 0.6:
            text = yaml.safe_dump(changed_values(raw, random), sort_keys=False).encode()
        else:
            text = changed_bytes(yaml.safe_dump(raw, sort_keys=False).encode(), random)
        (folder / "recipe.yaml").write_bytes(text)
        if random.random() < 0.03:
            another_kind(folder / "recipe.yaml", random)
        recipe = ganzoo.get_entry(str(folder)).recipe()
        ganzoo.recipes.yaml_files.read_yaml(folder / "recipe.yaml")
        recipe.to_yaml().encode()
        key = repr([recipe.gan, recipe.model, recipe.data, recipe.freeze, recipe.training.precision])
        if recipe.gan in ("dcgan", "wgan_gp") and not recipe.auxiliary and key not in self.built:
            self.built.add(key)
            ganzoo.create(str(folder))
        return None


class Presets:
    """A preset: its weights and its recipe, loaded as a GAN."""

    def __init__(self, folder: Path):
        import ganzoo
        from ganzoo.recipes.entries import get_entry
        from ganzoo.weights import preset_files

        self.folder = folder / "preset"
        gan = ganzoo.create("image/dcgan_32", **get_entry("image/dcgan_32").raw["tiny"])
        preset_files.save(gan, self.folder)

    def run(self, folder: Path, random: np.random.Generator) -> str | None:
        import ganzoo

        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        if random.random() < 0.5:
            resigned(folder, folder / "model.safetensors", random)
            ganzoo.load(str(folder))
            return None
        name = "recipe.yaml" if random.random() < 0.2 else "model.safetensors"
        path, before = folder / name, (self.folder / name).read_bytes()
        damage(path, before, random)
        same = path.is_file() and not path.is_symlink() and path.read_bytes() == before
        ganzoo.load(str(folder))
        return None if same or name == "recipe.yaml" else "weights were loaded although their file was changed"


class Checkpoints:
    """A checkpoint of a run, set as the state of a GAN."""

    def __init__(self, folder: Path):
        import ganzoo
        from ganzoo.recipes.entries import get_entry
        from ganzoo.runs import checkpoints

        self.gan = ganzoo.create("image/dcgan_32", **get_entry("image/dcgan_32").raw["tiny"])
        self.gan.compile()
        self.run_folder = folder / "run"
        self.run_folder.mkdir()
        (self.run_folder / "recipe.yaml").write_text(self.gan.recipe.to_yaml())
        self.path = checkpoints.save(self.gan, self.run_folder, checkpoints.SoFar(1.0))

    def run(self, folder: Path, random: np.random.Generator) -> str | None:
        from ganzoo.runs import checkpoints

        shutil.copytree(self.run_folder, folder, dirs_exist_ok=True)
        path, before = folder / self.path.relative_to(self.run_folder), self.path.read_bytes()
        if random.random() < 0.5:
            resigned(folder, path, random)
            checkpoints.load(self.gan, folder)
            return None
        damage(path, before, random)
        same = not path.exists() or (not path.is_symlink() and path.is_file() and path.read_bytes() == before)
        checkpoints.load(self.gan, folder)
        return None if same else "a state was loaded although its file was changed"


def changed_array(array: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """An array of another type, form or content."""
    act = random.integers(5)
    if act == 0:
        with np.errstate(invalid="ignore"):
            return array.astype(random.choice(["i8", "u1", "f8", "f2", "?"]))
    if act == 1:
        return array[..., None]
    if act == 2:
        return array.reshape(-1)
    if act == 3:
        return np.full_like(array, -5 if array.dtype.kind in "iu" else random.choice([np.nan, np.inf, 1e38]))
    return np.zeros((0, 3), array.dtype)


def resigned(folder: Path, path: Path, random: np.random.Generator) -> None:
    """Change the recipe, arrays or metadata, with checksums that agree: what somebody who wants to could send."""
    from safetensors import safe_open

    from ganzoo.files.tensors import write_arrays
    from ganzoo.weights import integrity

    recipe = folder / "recipe.yaml"
    if random.random() < 0.5:
        recipe.write_text(yaml.safe_dump(changed_values(yaml.safe_load(recipe.read_text()), random)))
    with safe_open(path, "numpy") as file:
        arrays, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    for _ in range(random.integers(3)):
        name = list(arrays)[random.integers(len(arrays))]
        other: Any = WEIRD[random.integers(len(WEIRD))]
        arrays[name] = changed_array(arrays[name], random)
        if random.random() < 0.3:
            arrays[f"{name}{str(other)[:20]}"] = arrays.pop(name)
        if random.random() < 0.1:
            del arrays[next(iter(arrays))]
    keys = [key for key in metadata if not key.startswith("ganzoo_")]
    metadata = {key: metadata[key] for key in keys}
    if keys and random.random() < 0.4:
        metadata[keys[random.integers(len(keys))]] = json.dumps(WEIRD[random.integers(len(WEIRD))])
    metadata[integrity.RECIPE_DIGEST] = integrity.recipe_digest(recipe.read_text())
    write_arrays(path, arrays, metadata)


def damage(path: Path, content: bytes, random: np.random.Generator) -> None:
    """Damage a file of text or of safetensors."""
    act = random.random()
    if act < 0.05:
        another_kind(path, random)
    elif act < 0.35 and path.suffix == ".safetensors":
        size = int.from_bytes(content[:8], "little")
        head = json.dumps(changed_values(json.loads(content[8 : 8 + size]), random)).encode()
        length = len(head) if random.random() < 0.8 else int(random.choice([0, 2**20, 2**40, 2**63]))
        path.write_bytes(length.to_bytes(8, "little") + head + content[8 + size :])
    else:
        path.write_bytes(changed_bytes(content, random))


class Pth:
    """A PyTorch checkpoint as a zip."""

    def __init__(self, folder: Path):
        import types

        class Builder:
            def __init__(self, *state):
                self.state = state

            def __reduce__(self):
                return rebuild, self.state

        class Key:
            def __init__(self, saved):
                self.saved = saved

        def rebuild(*args):
            raise AssertionError

        storage = type("FloatStorage", (), {"__module__": "torch"})
        rebuild.__module__, rebuild.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
        utils, torch = types.ModuleType("torch._utils"), types.ModuleType("torch")
        utils._rebuild_tensor_v2, torch.FloatStorage, torch._utils = rebuild, storage, utils
        sys.modules |= {"torch": torch, "torch._utils": utils}
        values = {
            f"layer.{index}.weight": Builder(
                Key(("storage", storage, str(index), "cpu", 24)), 0, (2, 3, 4), (12, 4, 1), False, {}
            )
            for index in range(8)
        }
        out = io.BytesIO()
        pickler = pickle.Pickler(out, 2)
        pickler.persistent_id = lambda item: item.saved if isinstance(item, Key) else None
        pickler.dump({"epoch": None, "state_dict": values})
        del sys.modules["torch"], sys.modules["torch._utils"]
        self.pickle = out.getvalue()
        self.data = [np.arange(24, dtype="<f4").tobytes()] * 8

    def run(self, folder: Path, random: np.random.Generator) -> str | None:
        from ganzoo.weights.torch_files import read_state_dict

        inside = random.random() < 0.6
        body = changed_bytes(self.pickle, random) if inside else self.pickle
        if random.random() < 0.1:
            deep = int(random.choice([50, 5_000, 300_000]))
            body = b"\x80\x02}" + b"N" + bytes([int(random.choice([0x85, 0x86]))]) * deep + b"Ns."
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            archive.writestr("x/data.pkl", body)
            for index, data in enumerate(self.data):
                archive.writestr(f"x/data/{index}", data)
        (folder / "x.pth").write_bytes(content.getvalue() if inside else changed_bytes(content.getvalue(), random))
        if random.random() < 0.03:
            another_kind(folder / "x.pth", random)
        arrays = read_state_dict(folder / "x.pth")
        most = 4 * (folder / "x.pth").stat().st_size
        return None if sum(one.nbytes for one in arrays.values()) <= most else "more bytes than the file can hold"


class Exports:
    """An export, verified or served."""

    def __init__(self, folder: Path):
        import ganzoo
        from ganzoo import export
        from ganzoo.recipes.entries import get_entry

        self.folder = folder / "export"
        gan = ganzoo.create("image/dcgan_32", **get_entry("image/dcgan_32").raw["tiny"])
        export.export_generator(gan, self.folder, ["tflite"], ["none"])
        runtime = folder / "runtime"
        from ganzoo.export import vendor

        for name in vendor.files():
            (runtime / name).parent.mkdir(parents=True, exist_ok=True)
            (runtime / name).touch()
        vendor.vendored = lambda: runtime

    def run(self, folder: Path, random: np.random.Generator) -> str | None:
        import hashlib

        from ganzoo import export
        from ganzoo.export import serve

        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        name = random.choice(["generator_float32.tflite", "model_card.json", "reference.npz"], p=[0.4, 0.4, 0.2])
        path, before = folder / name, (self.folder / name).read_bytes()
        if random.random() < 0.05:
            another_kind(path, random)
        elif name == "model_card.json" and random.random() < 0.6:
            path.write_text(json.dumps(changed_values(json.loads(before), random)))
        else:
            path.write_bytes(changed_bytes(before, random))
        replaced = path.is_file() and not path.is_symlink() and path.read_bytes() != before
        agrees = name.endswith(".tflite") and replaced and random.random() < 0.3
        if agrees:  # a card that was written for the damaged file
            card = json.loads((folder / "model_card.json").read_text())
            content = path.read_bytes()
            card["files"][0] |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            (folder / "model_card.json").write_text(json.dumps(card))
        if name == "model_card.json" and random.random() < 0.5:
            serve.site(folder)
            return None
        export.verify_export(folder)
        if name == "generator_float32.tflite" and replaced and not agrees:
            return "a file was verified although it was changed"
        return None


class Data:
    """A folder, a zip, or a file of images or arrays."""

    def __init__(self, folder: Path):
        from PIL import Image

        random = np.random.default_rng(0)
        self.files: dict[str, bytes] = {}
        pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        for kind in ("png", "jpeg", "gif", "bmp", "webp", "tiff"):
            out = io.BytesIO()
            Image.fromarray(pixels).save(out, kind)
            self.files[f"x.{kind}"] = out.getvalue()
        out = io.BytesIO()
        np.save(out, np.stack([pixels] * 4))
        self.files["x.npy"] = out.getvalue()
        out = io.BytesIO()
        np.savez_compressed(out, x=np.stack([pixels] * 4), y=np.arange(4))
        self.files["x.npz"] = out.getvalue()
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for index, kind in enumerate(("png", "jpeg")):
                archive.writestr(f"class_{index}/a.{kind}", self.files[f"x.{kind}"])
            archive.writestr("dataset.json", json.dumps({"labels": [["class_0/a.png", 0], ["class_1/a.jpeg", 1]]}))
        self.files["x.zip"] = out.getvalue()
        self.files["dataset.json"] = json.dumps({"labels": [["x.png", 0], ["y.png", 1]]}).encode()
        self.files["labels.csv"] = b"file_name,label\nx.png,0\ny.png,1\n"

    def run(self, folder: Path, random: np.random.Generator) -> str | None:
        import ganzoo
        from ganzoo.data.images import ImageOptions

        name = list(self.files)[random.integers(len(self.files))]
        whole = self.files[name]
        one_file = name in ("x.npy", "x.npz", "x.zip")
        path = folder / name
        if name == "dataset.json" and random.random() < 0.6:
            path.write_text(json.dumps(changed_values(json.loads(whole), random)))
        else:
            path.write_bytes(changed_bytes(whole, random))
        if random.random() < 0.04:
            another_kind(path, random)
        if not one_file:
            for other in ("x.png", "y.png"):
                if not (folder / other).exists() and not (folder / other).is_symlink():
                    (folder / other).write_bytes(self.files["x.png"])
        ganzoo.describe_data(path if one_file else folder, ImageOptions(16, 3, labelled=bool(random.integers(2))))
        return None


class Runs:
    """A run directory, reported, compared and described."""

    def __init__(self, folder: Path):
        import ganzoo
        from ganzoo.recipes import yaml_files
        from ganzoo.recipes.entries import get_entry

        small = yaml_files.merge(get_entry("image/dcgan_32").raw["tiny"], {"data": {"channels": 1}})
        reals = np.random.default_rng(0).integers(0, 256, (64, 32, 32, 1), dtype=np.uint8)
        np.save(folder / "reals.npy", reals)
        small = yaml_files.merge(small, yaml_files.nest({"training.samples": 64, "guards.every": 16}))
        self.folder = folder / "run"
        ganzoo.train("image/dcgan_32", str(folder / "reals.npy"), self.folder, overrides=small)
        kinds = (".json", ".jsonl", ".yaml")
        self.names = sorted(path.name for path in self.folder.iterdir() if path.suffix in kinds)

    def run(self, folder: Path, random: np.random.Generator) -> str | None:
        import ganzoo
        from ganzoo.reports.run import write_report
        from ganzoo.runs.kept_data import described

        run = folder / "run"
        shutil.copytree(self.folder, run)
        path = run / random.choice(self.names)
        before = path.read_bytes()
        if random.random() < 0.05:
            another_kind(path, random)
        elif path.suffix == ".json" and random.random() < 0.7:
            path.write_text(json.dumps(changed_values(json.loads(before), random)))
        elif path.suffix == ".jsonl" and before and random.random() < 0.7:
            lines = before.decode().splitlines()
            index = random.integers(len(lines))
            lines[index] = json.dumps(changed_values(json.loads(lines[index]), random))
            path.write_text("\n".join(lines) + "\n")
        else:
            path.write_bytes(changed_bytes(before, random))
        refused = None
        for read in (
            lambda: write_report(run),
            lambda: ganzoo.compare_runs([str(run), str(self.folder)], folder / "page.html"),
            lambda: described(run),
            lambda: ganzoo.get_entry(str(run)).recipe(),
        ):
            try:
                read()
            except ganzoo.GanzooError as error:
                refused = error
        if refused:
            raise refused
        return None


KINDS: dict[str, Callable[[Path], Any]] = {
    "recipes": Recipes,
    "presets": Presets,
    "checkpoints": Checkpoints,
    "pth": Pth,
    "exports": Exports,
    "data": Data,
    "runs": Runs,
}


def work(kind: str, seed: int, first: int, last: int) -> None:
    """Run cases of a kind in this process; a line of JSON for each."""
    import logging
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    from ganzoo.errors import GanzooError
    from ganzoo.startup import load_tensorflow

    logging.disable(logging.CRITICAL)
    if kind not in ("pth", "data"):
        load_tensorflow()
    results, sys.stdout = sys.stdout, sys.stderr
    with tempfile.TemporaryDirectory(prefix="ganzoo-fuzz-") as root:
        os.environ["GANZOO_CACHE"] = f"{root}/cache"
        runner = KINDS[kind](Path(root))
        for index in range(first, last):
            print(json.dumps({"case": index}), file=results, flush=True)
            folder = Path(root) / f"case_{index}"
            folder.mkdir()
            found: dict[str, Any] = {"case": index, "result": "accepted"}
            start = time.monotonic()
            try:
                wrong = runner.run(folder, np.random.default_rng([seed, list(KINDS).index(kind), index]))
                if wrong:
                    found |= {"result": "other", "detail": wrong}
            except GanzooError as error:
                found |= {"result": "error", "detail": str(error)[:300]}
            except BaseException:
                found |= {"result": "other", "detail": traceback.format_exc()[-3000:]}
            found["seconds"] = round(time.monotonic() - start, 2)
            shutil.rmtree(folder, ignore_errors=True)
            print(json.dumps(found), file=results, flush=True)


def fuzz(kind: str, seed: int, first: int, last: int) -> list[dict[str, Any]]:
    """The results of cases `first` to `last` of a kind, each in a process that may end or be ended."""
    found: list[dict[str, Any]] = []
    while first < last:
        command = [sys.executable, __file__, "--work", kind, str(seed), str(first), str(last)]
        errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  for as long as the process lives
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, stdin=subprocess.DEVNULL, text=True)
        lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=_forward, args=(process, lines), daemon=True).start()
        running, wait = None, 10 * SECONDS  # the whole files take longer
        while True:
            try:
                line = lines.get(timeout=wait)
            except queue.Empty:
                process.kill()
                line, reason = None, f"took more than {wait:.0f} s"
            else:
                reason = "ended the process"
            if line is None:
                break
            one = json.loads(line)
            running, wait = one["case"], SECONDS
            if "result" in one:
                found.append(one)
                first, running = one["case"] + 1, None
        code = process.wait()
        if first < last:
            errors.seek(0)
            if running is None and not found:
                raise SystemExit(f"{kind}: the process ended before its first case.\n{errors.read()[-3000:]}")
            detail = f"{reason} ({code})\n{errors.read()[-2000:]}"
            found.append({"case": first, "result": "other", "detail": detail, "seconds": 0.0})
            first += 1
    return found


def _forward(process: subprocess.Popen, lines: queue.Queue) -> None:
    for line in process.stdout:
        lines.put(line)
    lines.put(None)


def main() -> None:
    """Fuzz, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(CASES), help="kinds, with commas")
    parser.add_argument("--cases", type=int, help="of each kind; by default 500 or 1000")
    parser.add_argument("--first", type=int, default=0, help="the first case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "fuzz.json")
    options = parser.parse_args()
    kept = json.loads(options.out.read_text()) if options.out.is_file() else {}
    for kind in options.only.split(","):
        start = time.monotonic()
        results = fuzz(kind, options.seed, options.first, options.first + (options.cases or CASES[kind]))
        counts = Counter(one["result"] for one in results)
        others = [one for one in results if one["result"] == "other"]
        kept[kind] = {
            "seed": options.seed,
            "cases": len(results),
            "clear_errors": counts["error"],
            "accepted": counts["accepted"],
            "others": counts["other"],
            "slowest_seconds": max(one["seconds"] for one in results),
            "slowest_case": max(results, key=lambda one: one["seconds"])["case"],
            "others_listed": others[:20],
        }
        options.out.write_text(json.dumps(kept, indent=1) + "\n")
        alike: dict[str, list[dict[str, Any]]] = {}
        for one in others:
            alike.setdefault("\n".join(one["detail"].splitlines()[-4:])[:600], []).append(one)
        for group in alike.values():
            print(f"--- {kind}, {len(group)} cases, first {group[0]['case']}\n{group[0]['detail']}")
        print(f"{kind}: {len(results)} cases in {time.monotonic() - start:.0f} s", flush=True)
    print(f"\n{'kind':12}{'cases':>8}{'clear errors':>14}{'accepted':>10}{'others':>8}{'slowest':>9}")
    for kind, row in kept.items():
        numbers = (row["cases"], row["clear_errors"], row["accepted"], row["others"])
        print(f"{kind:12}{numbers[0]:8}{numbers[1]:14}{numbers[2]:10}{numbers[3]:8}{row['slowest_seconds']:8.1f}s")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2], *map(int, sys.argv[3:]))
    else:
        main()
