"""Run directories: one process at a time, damage that is found, work that is not lost."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ganzoo.errors import ExportError, GanzooError, Interrupted, StorageError, TrainingError, WeightsError
from ganzoo.files import cache, processes, tensors, writing
from ganzoo.recipes import entries as zoo_entries
from ganzoo.recipes import yaml_files
from ganzoo.runs import callbacks, checkpoints, lock
from ganzoo.runs import train as training
from ganzoo.runs.train import train
from ganzoo.weights import integrity, preset_files
from ganzoo.zoo.load import load as load_gan

ENTRY = "image/dcgan_32"
TINY = yaml_files.merge(zoo_entries.get_entry(ENTRY).raw["tiny"], {"guards": {"every": 0}, "evaluation": {"every": 0}})
DEAD = 2**22 + 1  # above the largest process number of Linux


def images(count=40, size=32):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3)).astype("uint8")


def entries(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A tiny run of 16 samples with two checkpoints. Copy it before changing it."""
    run = tmp_path_factory.mktemp("finished") / "run"
    train(ENTRY, images(), run, samples=16, overrides=yaml_files.merge(TINY, {"training": {"snapshot_every": 8}}))
    return run


@pytest.fixture
def run(finished, tmp_path):
    import shutil

    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def small():
    """A model of few arrays with the interface that checkpoints need, so that thousands of files can be read."""

    class Small:
        def __init__(self):
            self.loaded = None

        sample_count = 16

        def state(self):
            counters = {"step": np.int64(2), "samples_seen": np.int64(16)}
            return {**counters, "generator/dense/kernel": np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4)}

        def load_state(self, state):
            missing = sorted(self.state().keys() ^ state.keys())
            if missing:
                raise WeightsError(f"A checkpoint does not fit: {missing}.")
            self.loaded = state

    return Small()


@pytest.fixture
def saved(small, tmp_path):
    """A run directory with one checkpoint of `small`."""
    (tmp_path / "recipe.yaml").write_text("entry: x\n")
    path = checkpoints.save(small, tmp_path, checkpoints.SoFar(1.5, {"loss": 3.0, "steps": 2}))
    return path


# Damage.


def test_every_single_bit_flip_of_a_checkpoint_is_found(small, saved, tmp_path):
    whole = saved.read_bytes()
    assert checkpoints.load(small, tmp_path) == checkpoints.SoFar(1.5, {"loss": 3.0, "steps": 2})
    missed = []
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        saved.write_bytes(damaged)
        try:
            tensors.read_safetensors(saved)
            missed.append(bit)
        except WeightsError:
            pass
    assert missed == []


def test_files_without_a_checksum_are_read_and_noted(small, saved, tmp_path, caplog):
    save_file(tensors.read_safetensors(saved), saved)
    caplog.set_level("INFO", "ganzoo")
    assert checkpoints.load(small, tmp_path).seconds == 1.5
    assert "has no checksum: it was written by an earlier version" in caplog.text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"samples_seen": np.int64(-5)}, r"'samples_seen': -5.*its name says 16"),
        ({"samples_seen": np.int64(24)}, "'samples_seen': 24"),
        ({"step": np.int64(10**12)}, "'step': 1000000000000"),
        ({"step": np.int64(-1)}, "'step': -1"),
        ({"step": np.float32(2)}, "no whole number 'step'"),
        ({"run/seconds": np.array(-1.0)}, "-1.0 seconds of training"),
        ({"run/seconds": np.array(np.inf)}, "'run/seconds' is inf"),
        ({"run/seconds": np.array(1e300)}, "1e[+]300 seconds"),
        ({"run/log/loss": np.array(np.nan)}, "'run/log/loss' is nan"),
        ({"generator/dense/kernel": np.full((3, 4), np.nan, "float32")}, "12 of the 12 values of .* are NaN or inf"),
        ({"generator/dense/kernel": None}, "does not fit"),
        ({"run/seconds": None}, "no number 'run/seconds'"),
        ({"optimizers/generator/0000/iteration": np.int64(-3)}, "iteration is -3"),
    ],
)
def test_impossible_states_are_refused(change, reason, small, saved, tmp_path):
    state = {**tensors.read_safetensors(saved), **change}
    tensors.write_arrays(saved, {name: value for name, value in state.items() if value is not None})
    with pytest.raises(TrainingError, match=rf"(?s)No checkpoint .* can be used.*{reason}"):
        checkpoints.load(small, tmp_path)
    assert small.loaded is None and saved.is_file()


def test_a_state_that_is_not_finite_is_not_saved(small, saved, tmp_path):
    small.state = lambda: {"generator/kernel": np.array([1.0, np.inf], "float32")}
    before = saved.read_bytes()
    with pytest.raises(TrainingError, match="1 of the 2 values of 'generator/kernel' are NaN or infinite"):
        checkpoints.save(small, tmp_path, checkpoints.SoFar(2.0))
    assert saved.read_bytes() == before


def test_large_finite_values_are_finite():
    assert integrity.not_finite({"a": np.full(9, 3e38, "float32"), "b": np.full(9, 1.7e308)}) == ""
    assert "1 of the 3 values of 'half'" in integrity.not_finite({"half": np.array([1, np.nan, 2], "float16")})


@pytest.mark.parametrize("damage", ["flip", "missing", "cut", "nan"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_why(damage, run, caplog):
    last = run / "checkpoints" / "000000016.safetensors"
    state = load_file(last)
    kernel = next(name for name in state if name.startswith("generator/") and state[name].ndim == 4)
    if damage == "flip":
        content = bytearray(last.read_bytes())
        content[len(content) // 2] ^= 1
        last.write_bytes(content)
    elif damage == "cut":
        last.write_bytes(last.read_bytes()[:-100])
    elif damage == "nan":
        save_file({**state, kernel: state[kernel] * np.nan}, last)
    else:
        save_file({name: value for name, value in state.items() if name != kernel}, last)
    reason = {"flip": "checksum", "cut": "checksum", "nan": "NaN or infinite", "missing": "1 missing"}[damage]
    result = train(ENTRY, images(), run, samples=16)
    assert result["samples"] == 16
    (warning,) = [record.getMessage() for record in caplog.records if "is left out" in record.getMessage()]
    assert "000000016.safetensors" in warning and reason in warning
    events = [event["text"] for event in entries(run / "events.jsonl")]
    assert "the checkpoint 000000016.safetensors.damaged is damaged and was left out" in events
    assert "resumed at 8 samples" in events
    train(ENTRY, images(), run, samples=24)  # nothing is damaged any more
    events = [event["text"] for event in entries(run / "events.jsonl")]
    assert sum("was left out" in text for text in events) == 1 and "resumed at 16 samples" in events
    again = load_file(last)
    if damage != "nan":
        assert all(np.array_equal(again[key], state[key]) for key in state if key != "run/seconds")


def test_a_changed_recipe_is_found(run):
    path = run / "recipe.yaml"
    whole = path.read_text()
    path.write_text(f"# a comment of mine\n{whole}\n")
    train(ENTRY, images(), run, samples=16)
    path.write_text(whole.replace("beta_1: 0.5", "beta_1: 0.4"))
    with pytest.raises(TrainingError, match=r"recipe\.yaml is not the recipe that 000000016\.safetensors was written"):
        train(str(run), images(), run, samples=24)
    preset = run / "preset" / "recipe.yaml"
    preset.write_text(whole.replace("beta_1: 0.5", "beta_1: 0.4"))
    with pytest.raises(TrainingError, match=r"is not the recipe that model\.safetensors was written with"):
        load_gan(str(run / "preset"))


def test_presets_are_checked(run, caplog):
    path = run / "preset" / "model.safetensors"
    arrays, whole = load_file(path), path.read_bytes()
    content = bytearray(whole)
    content[-9] ^= 4
    path.write_bytes(content)
    for load in (load_gan, lambda name: preset_files.read_part(name, "generator"), preset_files.read_weights):
        with pytest.raises(WeightsError, match=r"model\.safetensors is damaged: .*checksum"):
            load(str(run))
    kernel = next(name for name in arrays if arrays[name].ndim == 4)
    for bad in (np.nan, np.inf):
        save_file({**arrays, kernel: arrays[kernel] * 0 + bad}, path, {"samples_seen": "16"})
        with pytest.raises(WeightsError, match="are NaN or infinite"):
            load_gan(str(run))
    save_file(arrays, path, {"samples_seen": "-5"})
    with pytest.raises(WeightsError, match="'-5' is not a number of samples"):
        load_gan(str(run))
    save_file(arrays, path, {"samples_seen": "16"})
    caplog.set_level("INFO", "ganzoo")
    assert load_gan(str(run)).sample_count == 16
    assert "has no checksum" in caplog.text


@pytest.mark.parametrize("name", ["model.safetensors", "recipe.yaml"])
def test_a_damaged_preset_is_written_again_from_the_checkpoint(name, run, caplog):
    path = run / "preset" / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-7] + b"x" + whole[-6:])
    caplog.set_level("INFO", "ganzoo")
    train(ENTRY, images(), run, samples=16)
    assert "is written again from the last checkpoint" in caplog.text
    assert path.read_bytes()[-100:] == whole[-100:] and load_gan(str(run)).sample_count == 16


def test_a_preset_older_than_the_newest_checkpoint_is_reported(run, caplog):
    load_gan(str(run))
    assert "The preset of" not in caplog.text
    newest = run / "checkpoints" / "000000016.safetensors"
    newest.rename(newest.with_name("000000048.safetensors"))
    load_gan(str(run))
    assert "holds the weights after 16 samples, but its newest checkpoint those after 48" in caplog.text


def test_checkpoints_are_sorted_by_number(small, tmp_path):
    (tmp_path / "recipe.yaml").write_text("entry: x\n")
    for small.sample_count in (999_999_984, 999_999_992, 1_000_000_000, 1_000_000_008):
        checkpoints.save(small, tmp_path, checkpoints.SoFar(1.0))
        assert max(checkpoints.listed(tmp_path)) == small.sample_count
    assert [path.name for path in checkpoints.listed(tmp_path).values()] == [
        "1000000000.safetensors",
        "1000000008.safetensors",
    ]


# One process at a time.


def test_a_run_directory_is_locked_and_the_lock_released(tmp_path):
    with lock.locked(tmp_path):
        owner = json.loads((tmp_path / lock.LOCK).read_text())
        assert owner["pid"] == os.getpid() and owner["host"] == socket.gethostname()
        with pytest.raises(TrainingError, match=r"This process trains in .* since"), lock.locked(tmp_path):
            pass
    assert not (tmp_path / lock.LOCK).exists()
    with pytest.raises(ZeroDivisionError), lock.locked(tmp_path):
        raise ZeroDivisionError
    assert not (tmp_path / lock.LOCK).exists()


def test_a_second_process_is_refused_and_a_dead_one_replaced(tmp_path):
    code = "import sys, time; from pathlib import Path; from ganzoo.runs.lock import locked\n"
    code += "with locked(Path(sys.argv[1])):\n    print('locked', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"locked\n"
        with pytest.raises(TrainingError, match=rf"Process {process.pid} trains in"):
            train(ENTRY, images(), tmp_path, samples=8)
        process.kill()
        process.wait()
    assert (tmp_path / lock.LOCK).is_file()
    with lock.locked(tmp_path):
        assert json.loads((tmp_path / lock.LOCK).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize(
    ("owner", "taken"),
    [
        ({"pid": DEAD, "host": socket.gethostname(), "began": "x"}, True),
        ({"pid": os.getppid(), "host": socket.gethostname(), "began": "another start"}, True),  # a reused number
        ({"pid": os.getppid(), "host": socket.gethostname(), "began": processes.start_of(os.getppid())}, False),
        ({"pid": DEAD, "host": "another-machine", "began": "x"}, False),
        ({"pid": "no number"}, True),
        (None, True),
    ],
)
def test_stale_locks(owner, taken, tmp_path):
    (tmp_path / lock.LOCK).write_text("" if owner is None else json.dumps(owner))
    if taken:
        with lock.locked(tmp_path):
            pass
    else:
        with pytest.raises(TrainingError, match=f"rocess {owner['pid']}"), lock.locked(tmp_path):
            pass


def test_runs_inside_their_data_are_refused(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    for index, image in enumerate(images(4)):
        registry_image(data / f"{index}.png", image)
    (tmp_path / "link").symlink_to(data)
    for run in (data, data / "run", data / "a" / "run", tmp_path / "link" / "run"):
        with pytest.raises(TrainingError, match="is inside its data"):
            train(ENTRY, data, run, samples=8)
        assert not (data / "run").exists()
    np.save(tmp_path / "data.npy", images())
    for given in (data, tmp_path / "data.npy"):
        with pytest.raises(TrainingError, match="are inside the run directory"):
            train(ENTRY, given, tmp_path, samples=8)
    training.check_apart(tmp_path / "data-run", data)  # a name that begins alike is another folder
    training.check_apart(data, "mnist5k")


def registry_image(path, image):
    from PIL import Image

    Image.fromarray(image).save(path)


# Leftovers.


def test_leftovers_of_dead_processes_are_removed(tmp_path, monkeypatch):
    host, here = processes.this_host(), os.getpid()
    hexes = "0123456789abcdef" * 2
    old = time.time() - 2 * 24 * 3600
    files = {
        f".model.ganzoo-{host}-{DEAD}-{hexes}.safetensors": True,
        f".model.ganzoo-{host}-{here}-{hexes}.safetensors": False,
        f".model.ganzoo-{'0' * 8}-{DEAD}-{hexes}.safetensors": False,  # of another machine, just now
        f".metrics.{hexes}.json": False,  # of an earlier version, just now
        f".000000064.{hexes}.safetensors": True,  # the same, two days ago
        ".hidden.png": False,
        "model.safetensors": False,
    }
    for name in files:
        (tmp_path / name).write_bytes(b"x")
    os.utime(tmp_path / f".000000064.{hexes}.safetensors", (old, old))
    for name in (f".ganzoo-{host}-{DEAD}-{hexes}", f".export-{hexes}"):
        (tmp_path / name / "saved_model").mkdir(parents=True)
    removed = {path.name for path in writing.remove_leftovers(tmp_path, earlier=True)}
    assert removed == {name for name, gone in files.items() if gone} | {f".ganzoo-{host}-{DEAD}-{hexes}"}
    # A process that began after the file was written has only its number in common with the writer.
    path = tmp_path / f".model.ganzoo-{host}-{here}-{hexes}.safetensors"
    os.utime(path, (old, old))
    assert writing.remove_leftovers(tmp_path) == [path]


def test_files_in_a_folder_that_is_no_run_stay(tmp_path):
    path = tmp_path / f".notes.{'0123456789abcdef' * 2}.json"
    for one in (path, tmp_path / "other.txt"):
        one.write_text("{}")
        os.utime(one, (time.time() - 2 * 24 * 3600,) * 2)
    with pytest.raises(TrainingError, match="is not a run directory"):
        train(ENTRY, images(), tmp_path, samples=8, overrides=TINY)
    assert path.exists()


def test_a_killed_write_leaves_nothing_after_the_next_start(tmp_path):
    code = """
        import sys, time
        from pathlib import Path
        from ganzoo.files.writing import atomic_write
        def write(path):
            path.write_bytes(bytes(1000))
            print("writing", flush=True)
            time.sleep(60)
        atomic_write(Path(sys.argv[1]) / "checkpoints" / "000000008.safetensors", write)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "run")], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"writing\n"
        process.kill()
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 1
    train(ENTRY, images(), tmp_path / "run", samples=8, overrides=TINY)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["000000008.safetensors"]


# A full disk.


class limited:
    """No file may grow beyond so many bytes in this process."""

    def __init__(self, size):
        self.size = size

    def __enter__(self):
        self.before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.before[1]))

    def __exit__(self, *error):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.before)


ARRAY = np.zeros(100_000, "uint8")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("x.safetensors", lambda path: tensors.write_arrays(path, {"a": ARRAY})),
        ("x.npy", lambda path: writing.write_array(path, ARRAY)),
        ("x.json", lambda path: writing.write_json(path, ARRAY.tolist())),
        ("x.txt", lambda path: writing.write_text(path, "x" * 100_000)),
        ("x.jsonl", lambda path: writing.append_object(path, {"text": "x" * 100_000})),
        ("x.bin", lambda path: writing.atomic_write(path, lambda temporary: save_file({"a": ARRAY}, temporary))),
    ],
)
def test_a_file_that_cannot_be_written_whole_stays_as_it_was(name, write, tmp_path):
    path = tmp_path / name
    path.write_text('{"before": 1}\n')
    with limited(50_000), pytest.raises(StorageError, match=rf"{name} cannot be written\. .*Free some space"):
        write(path)
    assert path.read_text() == '{"before": 1}\n' and list(tmp_path.iterdir()) == [path]
    write(path)
    assert path.stat().st_size > 90_000


def test_a_torn_last_line_is_removed_before_the_next(tmp_path):
    path = tmp_path / "x.jsonl"
    path.write_text('{"samples": 1}\n{"samples": 2, "lo')
    writing.append_object(path, {"samples": 2})
    assert entries(path) == [{"samples": 1}, {"samples": 2}]
    path.write_text('{"samples": 1}')  # whole but for its end
    writing.append_object(path, {"samples": 2})
    assert entries(path) == [{"samples": 1}, {"samples": 2}]
    path.write_bytes(b'{"samples": 1}\n' + b"x" * 200_000)
    writing.append_object(path, {"samples": 2})
    assert entries(path) == [{"samples": 1}, {"samples": 2}]


def test_a_run_on_a_full_disk_ends_clearly_and_is_resumed(run, tmp_path):
    whole = {path: path.read_bytes() for path in run.glob("*/*.safetensors")}
    size = (run / "checkpoints" / "000000016.safetensors").stat().st_size
    with limited(size // 2), pytest.raises(StorageError, match=r"000000024\.safetensors cannot be written"):
        train(ENTRY, images(), run, samples=24)
    assert {path: path.read_bytes() for path in run.glob("*/*.safetensors")} == whole
    assert train(ENTRY, images(), run, samples=24)["samples"] == 24


@pytest.mark.parametrize("form", ["tflite", "saved_model"])
def test_an_export_on_a_full_disk_ends_clearly_and_leaves_nothing(form, run, tmp_path):
    from ganzoo.export import export_generator

    out = tmp_path / "out"
    leftover = out / f".export.ganzoo-{processes.this_host()}-{DEAD}-{'0' * 32}"
    leftover.mkdir(parents=True)
    (leftover / "generator.tflite").write_bytes(b"x")
    (out / "model_card.json").write_text("before")
    with (
        limited(4_000),
        pytest.raises(ExportError, match=r"The export was not made\. .*out cannot be written\. .*Free"),
    ):
        export_generator(str(run), out, [form], ["none"])
    assert [path.name for path in out.iterdir()] == ["model_card.json"]
    assert (out / "model_card.json").read_text() == "before"


@pytest.mark.parametrize("given", [Path("~/data"), "~/data"])
def test_data_below_the_home_folder_are_kept_apart_from_runs(given, tmp_path, monkeypatch):
    from ganzoo.runs.data import path_of

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "data" / "deep").mkdir(parents=True)
    with pytest.raises(TrainingError, match="is inside its data"):
        training.check_apart(tmp_path / "data" / "run", given)
    with pytest.raises(TrainingError, match="are inside the run directory"):
        training.check_apart(tmp_path, given)
    training.check_apart(tmp_path / "run", given)
    assert path_of(given) == tmp_path / "data"
    assert path_of("~/missing") is None and path_of("~nobody-of-this-name/x") is None and path_of("x" * 5000) is None


def test_without_a_cache_a_run_of_a_home_path_is_trained_scored_and_exported(tmp_path, monkeypatch):
    from ganzoo.export import export_generator

    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "file" / "below"))
    np.save(tmp_path / "data.npy", images())
    changes = yaml_files.merge(TINY, {"guards": {"every": 8}})
    train(ENTRY, "~/data.npy", tmp_path / "run", samples=16, overrides=changes)
    assert json.loads((tmp_path / "run" / "data.json").read_text())["given"] == str(tmp_path / "data.npy")
    assert entries(tmp_path / "run" / "guards.jsonl")
    card = export_generator(str(tmp_path / "run"), tmp_path / "out", ["tflite"], ["none"])
    assert card["fid"] is not None or card["files"]


def test_a_cache_that_cannot_be_written_is_replaced(tmp_path, monkeypatch, caplog):
    (tmp_path / "kept" / "features").mkdir(parents=True)
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "kept"))
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the tests may run as root, who may write anywhere
    folder = cache.cache_dir("features")
    assert not folder.is_relative_to(tmp_path) and folder.is_dir()
    assert f"{tmp_path / 'kept'} cannot be used: Permission denied." in caplog.text


def test_a_cache_on_a_full_disk_costs_only_a_warning(tmp_path, caplog):
    with limited(50_000):
        writing.keep(tmp_path / "x.npy", lambda: writing.write_array(tmp_path / "x.npy", ARRAY))
    assert "It is computed again next time" in caplog.text and list(tmp_path.iterdir()) == []


# Signals.


def interrupt(number, at, monkeypatch, times=1):
    """Send a signal to this process in the step after so many samples."""
    original = callbacks.Limits.on_train_batch_end

    def step(self, batch, logs=None):
        if self.model.sample_count == at:
            for _ in range(times):
                signal.raise_signal(number)
        original(self, batch, logs)

    monkeypatch.setattr(callbacks.Limits, "on_train_batch_end", step)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_the_state_and_the_resumed_run_is_exact(number, tmp_path, monkeypatch):
    changes = {
        "guards": {"every": 32, "samples": 20},
        "evaluation": {"every": 32, "every_samples": 20},
        "training": {"log_every": 32, "snapshot_every": 1_000},
    }
    tiny = yaml_files.merge(TINY, changes)
    train(ENTRY, images(), tmp_path / "whole", samples=64, overrides=tiny)
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with monkeypatch.context() as patch:
        interrupt(number, 32, patch)  # the next step ends it
        with pytest.raises((Interrupted, SystemExit)) as stopped:
            train(ENTRY, images(), tmp_path / "run", samples=64, overrides=tiny)
    if number == signal.SIGINT:
        assert stopped.type is Interrupted and issubclass(stopped.type, KeyboardInterrupt)
    else:
        assert stopped.value.code == 128 + number
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers
    run = tmp_path / "run"
    assert list(checkpoints.listed(run)) == [40] and preset_files.samples_seen(run / "preset") == 40
    assert (run / "samples" / "000000040.png").is_file() and (run / "report.html").is_file()
    assert not (run / lock.LOCK).exists()
    assert entries(run / "events.jsonl")[-1]["text"] == f"interrupted ({number.name})"

    train(ENTRY, images(), run, samples=64, overrides=tiny)
    whole, resumed = (load_file(tmp_path / one / "checkpoints" / "000000064.safetensors") for one in ("whole", "run"))
    assert whole.keys() == resumed.keys()
    assert all(np.array_equal(whole[key], resumed[key]) for key in whole if key != "run/seconds")
    for name in ("metrics.jsonl", "guards.jsonl", "checks.jsonl"):
        one, other = (entries(tmp_path / which / name) for which in ("whole", "run"))
        timed = ("seconds", "samples_per_second")
        assert [{k: v for k, v in line.items() if k not in timed} for line in one] == [
            {k: v for k, v in line.items() if k not in timed} for line in other
        ]


@pytest.mark.parametrize("event", ["on_train_batch_end", "on_train_end"])
def test_a_signal_at_the_very_end_costs_no_last_line_and_no_last_check(event, tmp_path, monkeypatch):
    changes = {"evaluation": {"every": 1_000, "every_samples": 20}, "training": {"log_every": 1_000}}
    original = getattr(callbacks.Limits, event)

    def signalled(self, *args, **kwargs):
        original(self, *args, **kwargs)
        if self.model.sample_count == 32:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(callbacks.Limits, event, signalled)
    with pytest.raises(Interrupted, match="the state is saved"):
        train(ENTRY, images(), tmp_path, samples=32, overrides=yaml_files.merge(TINY, changes))
    assert train(ENTRY, images(), tmp_path, samples=32)["samples"] == 32
    for name in ("metrics.jsonl", "checks.jsonl"):
        assert entries(tmp_path / name)[-1]["samples"] == 32
    assert preset_files.samples_seen(tmp_path / "best") == 32


def test_a_signal_before_the_first_step_promises_no_checkpoint(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", "ganzoo")
    with monkeypatch.context() as patch:
        interrupt(signal.SIGINT, 8, patch)
        original = training._look_first
        patch.setattr(training, "_look_first", lambda *a: (original(*a), signal.raise_signal(signal.SIGINT)))
        with pytest.raises(Interrupted) as stopped:
            train(ENTRY, images(), tmp_path, samples=16, overrides=TINY)
    said = f"{caplog.text} {stopped.value}"
    assert "Stopped before the first step: there is no checkpoint yet" in said
    assert "written" not in said and "saved" not in said and not checkpoints.listed(tmp_path)
    assert train(ENTRY, images(), tmp_path, samples=16)["samples"] == 16


def test_a_second_signal_ends_at_once(tmp_path, monkeypatch):
    interrupt(signal.SIGINT, 16, monkeypatch, times=2)
    with pytest.raises(KeyboardInterrupt) as stopped:
        train(ENTRY, images(), tmp_path, samples=64, overrides=TINY)
    assert stopped.type is KeyboardInterrupt
    assert not checkpoints.listed(tmp_path) and not (tmp_path / lock.LOCK).exists()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_handlers_of_the_caller_are_called_and_ignored_signals_stay_ignored(tmp_path, monkeypatch):
    calls = []
    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, frame: calls.append(number)),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    }
    try:
        interrupt(signal.SIGHUP, 8, monkeypatch)
        assert train(ENTRY, images(), tmp_path / "ignored", samples=16, overrides=TINY)["finished"]
        interrupt(signal.SIGTERM, 8, monkeypatch)
        with pytest.raises(SystemExit):
            train(ENTRY, images(), tmp_path / "called", samples=64, overrides=TINY)
        assert calls == [signal.SIGTERM]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_a_thread_trains_without_signals(tmp_path):
    results = []
    thread = threading.Thread(
        target=lambda: results.append(train(ENTRY, images(), tmp_path, samples=8, overrides=TINY))
    )
    thread.start()
    thread.join()
    assert results[0]["finished"]


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("verb", "number", "code"),
    [("train", signal.SIGINT, 130), ("train", signal.SIGTERM, 143), ("pretrain", signal.SIGTERM, 143)],
)
def test_exit_codes_of_the_command_line(verb, number, code, tmp_path):
    np.save(tmp_path / "data.npy", images())
    run = tmp_path / "run"
    names = ["train", ENTRY] if verb == "train" else ["pretrain", "autoencoder", "--for", ENTRY]
    command = [sys.executable, "-m", "ganzoo", *names, "--data", str(tmp_path / "data.npy"), "--samples", "1000000"]
    command += ["--set", "model.generator_width=8", "--set", "model.discriminator_width=8", "--run", str(run)]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        while not (run / "metrics.jsonl").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        errors = process.communicate(timeout=120)[1]
    assert process.returncode == code, errors
    (seen,) = checkpoints.listed(run)
    assert seen > 0 and preset_files.samples_seen(run / "preset") == seen
    assert f"Stopped after {seen:,} samples" in errors and "Traceback" not in errors


# Snapshots by time, and what is written twice.


def test_snapshots_by_time_do_not_change_the_run(tmp_path):
    frequent = {"training": {"log_every": 32, "snapshot_every": 1_000, "snapshot_minutes": 1e-9}}
    rare = {"training": {"log_every": 32, "snapshot_every": 1_000, "snapshot_minutes": 0.0}}
    for name, changes in (("rare", rare), ("frequent", frequent)):
        train(ENTRY, images(), tmp_path / name, samples=64, overrides=yaml_files.merge(TINY, changes))
    assert len(list((tmp_path / "rare" / "samples").glob("0*.png"))) == 2
    assert len(list((tmp_path / "frequent" / "samples").glob("0*.png"))) > 2
    one, other = (load_file(tmp_path / name / "checkpoints/000000064.safetensors") for name in ("rare", "frequent"))
    assert all(np.array_equal(one[key], other[key]) for key in one if key != "run/seconds")
    assert [
        {k: v for k, v in line.items() if not k.startswith(("seconds", "samples_per"))}
        for line in entries(tmp_path / "rare/metrics.jsonl")
    ] == [
        {k: v for k, v in line.items() if not k.startswith(("seconds", "samples_per"))}
        for line in entries(tmp_path / "frequent/metrics.jsonl")
    ]


def test_a_resume_at_sample_0_writes_nothing_twice(run, tmp_path):
    changes = {
        "guards": {"every": 8, "samples": 20},
        "evaluation": {"every": 8, "every_samples": 20},
        "freeze": [{"part": "discriminator.trunk", "share": 0.5}],
    }
    arguments = {"overrides": yaml_files.merge(TINY, changes), "init": {"generator": f"{run}:generator"}}
    train(ENTRY, images(), tmp_path / "next", samples=16, **arguments)
    for path in (tmp_path / "next" / "checkpoints").iterdir():
        path.unlink()  # as if killed before the first one
    train(ENTRY, images(), tmp_path / "next", samples=16, **arguments)
    for name in ("guards.jsonl", "checks.jsonl", "metrics.jsonl"):
        seen = [line["samples"] for line in entries(tmp_path / "next" / name)]
        assert sorted(set(seen)) == sorted(seen) and 16 in seen, name
    texts = [event["text"] for event in entries(tmp_path / "next" / "events.jsonl")]
    assert sum("layers are frozen" in text for text in texts) == 1


def test_the_run_ends_with_an_error_of_the_project(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(GanzooError, match="Cannot make the run directory"):
        train(ENTRY, images(), tmp_path / "file" / "run", samples=8)
