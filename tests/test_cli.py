"""The command line: what it prints, its exit codes, and what it leaves behind."""

import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ganzoo.cli import main
from ganzoo.recipes import entries
from ganzoo.zoo.load import load

ENTRY = "image/dcgan_32"
VERBS = sorted(main.commands)
IMAGES = 40


def call(*arguments):
    """Run `ganzoo ARGUMENTS` in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def done(*arguments):
    """Run a command that must succeed."""
    result = call(*arguments)
    assert result.exit_code == 0, result.output
    return result


def refused(*arguments):
    """Run a command that must fail clearly, and return the text of its one-line error."""
    result = call(*arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == "" and "Traceback" not in result.stderr and "fault of ganzoo" not in result.stderr
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    return line


def tiny_settings():
    """The entry's tiny form as `--set` options."""
    for section, keys in entries.get_entry(ENTRY).raw["tiny"].items():
        for key, value in keys.items():
            yield from ("--set", f"{section}.{key}={value}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small images and one that cannot be read."""
    folder = tmp_path_factory.mktemp("images")
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 36, 36, 3)).astype("uint8")
    for index, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{index:02d}.png")
    (folder / "broken.png").write_bytes((folder / "00.png").read_bytes()[:100])
    return folder


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """A tiny run, trained by the command line: its directory and the command's answer."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    result = done("train", ENTRY, "--data", folder, "--run", run, "--samples", 32, "--json", *tiny_settings())
    return run, json.loads(result.stdout)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb):
    text = " ".join(done(verb, "--help").stdout.split())
    assert f"{verb} [OPTIONS]" in text
    assert "--json" in text or verb == "serve"  # which has no result
    assert " ".join(main.commands[verb].help.split()) in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_help_fits_80_columns_and_has_examples_that_are_right(verb):
    text = done(verb, "--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    examples = re.findall(rf"^  ganzoo {verb} .*$", text.replace("\\\n", " ").partition("Examples:\n")[2], re.M)
    assert examples or verb == "demo"
    for example in examples:
        _, _, *arguments = shlex.split(example)
        main.commands[verb].make_context(verb, arguments)  # raises where an option or a value is wrong


def test_the_commands_are_explained_by_whole_sentences():
    text = " ".join(done("--help").stdout.split())
    for verb in VERBS:
        sentence = " ".join(main.commands[verb].help.split("\n\n")[0].split())
        assert sentence.endswith(".") and f" {verb} {sentence}" in text


def test_list_fits_80_columns_and_says_what_an_entry_is_for():
    text = done("list").stdout
    assert max(map(len, text.splitlines())) <= 80
    assert f"{ENTRY}: image, 32 x 32, 0.54 M parameters\n  Take it for small images" in text
    assert "trained on 5,000 MNIST digits" in text


@pytest.mark.parametrize("name", entries.list_entries("image/*"))
def test_the_parameters_that_are_listed_are_true(name):
    networks = load(name).networks()  # those of the published weights, with their classes
    listed = entries.get_entry(name).about["parameters"]
    assert listed == {part: networks[part].count_params() for part in ("generator", "discriminator")}


def test_the_verbs_are_listed():
    assert set(VERBS) >= {
        "list",
        "show",
        "data",
        "train",
        "finetune",
        "evaluate",
        "generate",
        "export",
        "verify",
        "demo",
    }
    text = done("--help").stdout
    assert all(f"  {verb} " in text for verb in VERBS)


def test_list_names_the_entries():
    assert ENTRY in done("list").stdout
    rows = json.loads(done("list", "image/*", "--json").stdout)
    assert [row["name"] for row in rows] == entries.list_entries("image/*")
    assert all({"name", "summary", "paper", "weights", "size", "domain", "parameters"} <= set(row) for row in rows)
    assert json.loads(done("list", "nothing/*", "--json").stdout) == []


def test_show_prints_a_recipe_and_names_the_nearest_entry():
    assert json.loads(done("show", ENTRY, "--json").stdout)["gan"] == "dcgan"
    assert "gan: dcgan" in done("show", ENTRY).stdout
    assert "ema_ramp:" in done("show", ENTRY, "--all").stdout
    assert f"Did you mean '{ENTRY}'?" in refused("show", "image/dcgan_23")


def test_data_describes_a_folder_and_names_a_broken_image(folder, tmp_path):
    result = done("data", folder, "--size", 32, "--sheet", tmp_path / "sheet.png")
    assert "broken.png" in result.stdout and f"{IMAGES}" in result.stdout
    assert Image.open(tmp_path / "sheet.png").size[0] > 32
    report = json.loads(done("data", folder, "--size", 32, "--json").stdout)
    assert report["count"] == IMAGES and report["shape"] == [32, 32, 3]
    (problem,) = report["problems"]
    assert problem["path"].endswith("broken.png") and problem["reason"]


def test_data_refuses_a_missing_folder(tmp_path):
    assert "nowhere" in refused("data", tmp_path / "nowhere")


def test_train_makes_a_run(trained):
    run, answer = trained
    assert answer["run"] == str(run) and answer["samples"] == 32 and answer["finished"]
    assert (run / "report.html").is_file() and (run / "preset" / "model.safetensors").is_file()
    assert "dcgan" in done("show", run).stdout


def test_the_same_command_goes_on(folder, tmp_path):
    command = ("train", ENTRY, "--data", folder, "--run", tmp_path / "run", "--json", *tiny_settings())
    for samples in (8, 16):
        assert json.loads(done(*command, "--samples", samples).stdout)["samples"] == samples
    events = [json.loads(line)["text"] for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    assert events == ["resumed at 8 samples"]
    again = done(*command, "--samples", 16)
    assert "there is nothing left to train" in again.stderr and "Resuming" not in again.stderr
    assert (tmp_path / "run" / "events.jsonl").read_text().count("resumed") == 1


def test_finetune_starts_from_a_run(trained, folder, tmp_path):
    run, _ = trained
    command = ("finetune", run, "--data", folder, "--run", tmp_path / "tuned", "--samples", 8, "--json")
    assert json.loads(done(*command).stdout)["samples"] == 8
    assert json.loads((tmp_path / "tuned" / "transfer.json").read_text())[0]["loaded"]


def test_generate_writes_a_grid_an_array_and_a_folder(trained, tmp_path):
    run, _ = trained
    answer = json.loads(done("generate", run, "--out", tmp_path / "grid.png", "--count", 4, "--json").stdout)
    assert answer == {"out": str(tmp_path / "grid.png"), "count": 4, "classes": []}
    assert Image.open(tmp_path / "grid.png").size[0] >= 64
    done("generate", run, "--out", tmp_path / "samples.npy", "--count", 3, "--seed", 5, "--truncation", 0.7)
    samples = np.load(tmp_path / "samples.npy")
    assert samples.shape == (3, 32, 32, 3) and samples.dtype == np.uint8
    done("generate", run, "--out", tmp_path / "single", "--count", 3, "--seed", 5, "--truncation", 0.7)
    files = sorted((tmp_path / "single").iterdir())
    assert np.array_equal([np.asarray(Image.open(file)) for file in files], samples)


def test_generate_refuses_what_it_cannot_do(trained, tmp_path):
    run, _ = trained
    assert "has no classes" in refused("generate", run, "--out", tmp_path / "a.png", "--condition", 1)
    assert ".gif" in refused("generate", run, "--out", tmp_path / "a.gif")
    assert "truncation" in refused("generate", run, "--out", tmp_path / "a.png", "--truncation", "nan")
    assert "run directory of that name" in refused("generate", tmp_path / "nothing", "--out", tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_evaluate_prints_a_scorecard_and_keeps_it(trained, folder):
    run, _ = trained
    card = json.loads(
        done("evaluate", run, "--data", folder, "--samples", 12, "--features", "squeezenet", "--json").stdout
    )
    assert card["protocol"]["samples"] == 12 and card["sliced_wasserstein"]["average"] > 0
    assert [network["name"] for network in card["networks"]] == ["squeezenet"]
    assert json.loads((run / "scores.json").read_text())[-1]["scorecard"] == card
    assert "squeezenet" in refused("evaluate", run, "--data", folder, "--samples", 12, "--features", "squeezenot")


def test_export_and_verify(trained, tmp_path):
    run, _ = trained
    card = json.loads(done("export", run, "--out", tmp_path / "out", "--format", "tflite", "--json").stdout)
    names = ["generator.tflite", "generator_float32.tflite", "generator_float16.tflite"]  # the first is what auto takes
    assert [file["file"] for file in card["files"]] == names
    verified = json.loads(done("verify", tmp_path / "out", "--json").stdout)
    assert [file["file"] for file in verified["files"]] == names
    file = tmp_path / "out" / names[0]
    assert names[0] in done("verify", file).stdout
    file.write_bytes(file.read_bytes()[:-1])
    assert names[0] in refused("verify", file)
    assert names[0] in refused("serve", tmp_path / "out")
    assert "There is no" in refused("serve", tmp_path / "absent")


@pytest.mark.parametrize(
    "arguments",
    [
        ("list", "--colour"),
        ("learn",),
        ("train", ENTRY),
        ("train", ENTRY, "--data", "x", "--run", "y", "--samples", "many"),
        ("generate", ENTRY),
        ("generate", ENTRY, "--out", "a.png", "--count", "0"),
        ("generate", ENTRY, "--out", "a.png", "--truncation", "-1"),
        ("generate", ENTRY, "--out", "a.png", "--width", "nan"),
        ("data", "x", "--size", "-3"),
        ("data", "x", "--channels", "2"),
        ("data", "x", "--fit", "stretch"),
        ("demo", "--minutes", "0"),
        ("train", ENTRY, "--data", "x", "--run", "y", "--minutes", "0"),
    ],
)
def test_wrong_usage_exits_with_2(arguments):
    result = call(*arguments)
    assert result.exit_code == 2 and result.stdout == "" and "Usage:" in result.stderr


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--init", "nonsense"), "TARGET=SOURCE"),
        (("--init", "generator=nonsense"), "WHERE:PART"),
        (("--init", "generator=nowhere:generator"), "nowhere"),
        (("--init", f"generator={ENTRY}:generatr"), ENTRY),
        (("--set", "nonsense"), "key=value"),
        (("--set", "training.batch=8"), "batch_size"),
        (("--set", "training.batch_size=eight"), "training.batch_size"),
        (("--set", "gan=dcgam"), "dcgan"),
        (("--set", "gan=no_such_package.dcgan"), "no_such_package"),
        (("--set", "gan=../dcgan"), "architecture"),
        (("--set", "gan=5"), "needs a name under the key 'gan'"),
        (("--set", "seed=-1"), "seed"),
        (("--strategy", "mirorred"), "mirrored"),
    ],
)
def test_train_refuses_nonsense(folder, tmp_path, options, named):
    command = ("train", ENTRY, "--data", folder, "--run", tmp_path / "run", "--samples", 8, *tiny_settings())
    assert named in refused(*command, *options)


def test_a_refused_first_command_leaves_no_run_behind(folder, tmp_path):
    command = ("train", ENTRY, "--data", folder, "--run", tmp_path / "run", "--samples", 8, *tiny_settings())
    refused(*command, "--init", "generator=nonsense")
    assert not (tmp_path / "run" / "recipe.yaml").exists()
    done(*command)
    assert (tmp_path / "run" / "recipe.yaml").is_file()


def test_finetune_goes_on_by_the_same_command(trained, folder, tmp_path):
    run, _ = trained
    command = ("finetune", run, "--data", folder, "--run", tmp_path / "tuned", "--json")
    for samples in (8, 16):
        assert json.loads(done(*command, "--samples", samples).stdout)["samples"] == samples
    # What the source gave is in the run: it may be gone.
    command = ("finetune", tmp_path / "gone", *command[2:])
    assert json.loads(done(*command, "--samples", 24).stdout)["samples"] == 24


def test_a_file_name_that_is_no_text_ends_no_run(folder, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    (data / os.fsdecode(b"bad\xff.png")).write_bytes(b"This is no image.")
    for path in folder.glob("*.png"):
        shutil.copy(path, data)
    done("train", ENTRY, "--data", data, "--run", tmp_path / "run", "--samples", 8, *tiny_settings())
    assert "bad\\udcff.png" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.parametrize("verb", ["generate", "export"])
def test_the_terminal_is_quiet(trained, tmp_path, verb):
    """In a process of its own: no chatter of TensorFlow's on standard error, the answer alone on standard output."""
    run, _ = trained
    out = tmp_path / {"generate": "grid.png", "export": "export"}[verb]
    options = {"generate": ("--count", "4"), "export": ("--format", "tflite", "--quantize", "none")}[verb]
    command = [sys.executable, "-m", "ganzoo", verb, str(run), "--out", str(out), *options, "--json"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout) and out.exists()
    # On a slow machine there may be lines of progress.
    chatter = [line for line in result.stderr.splitlines() if not re.search(r" (so far|left)|: done in ", line)]
    assert chatter == []


def test_a_pretraining_leads_to_a_run_that_is_compared(folder, trained, tmp_path):
    tiny = list(tiny_settings())
    run = tmp_path / "rotation"
    command = ("pretrain", "rotation", "--for", ENTRY, "--data", folder, "--run", run, "--samples", 16, *tiny)
    assert re.search("Parts: +rotation, trunk", done(*command).stdout)
    assert json.loads(done(*command, "--json").stdout)["samples"] == 16  # nothing to go on with
    init = ("--init", f"discriminator.trunk={run}:trunk,skip=norm_*")
    more = ("--data", folder, "--run", tmp_path / "begun", "--samples", 32)
    done("train", ENTRY, *more, *init, *tiny)
    (report,) = json.loads((tmp_path / "begun/transfer.json").read_text())
    assert {name.split("/")[0] for name in report["skipped"]} == {"norm_8", "norm_4"} and report["loaded"]
    page = tmp_path / "page.html"
    found = json.loads(done("compare", tmp_path / "begun", trained[0], "--out", page, "--json").stdout)
    assert found["runs"][0]["pretraining_seconds"] > 0 == found["runs"][1]["pretraining_seconds"]
    assert page.read_text().count("data:image/png") == 2
    more = ("--data", folder, "--run", tmp_path / "wrong", "--samples", 32)
    assert "trunkk" in refused("train", ENTRY, *more, "--init", f"discriminator.trunk={run}:trunkk", *tiny)
    assert "TARGET=SOURCE" in refused("train", ENTRY, *more, "--init", "discriminator.trunk", *tiny)
    assert "Unknown pretraining method 'rotatoin'" in refused("pretrain", "rotatoin", "--for", ENTRY, *more)


def test_a_study_refuses_what_it_cannot_do(folder, tmp_path):
    tiny = [*tiny_settings(), "--set", "evaluation.check_networks=[]"]
    command = ("bench", "guards", "--out", tmp_path, "--minutes", 0.02, "--row", "scratch", "--seed", 0, *tiny)
    few = refused(*command, "--data", f"fashion_1000={folder}")
    assert f"needs 1000 samples, the folder {folder} has {IMAGES}" in few
    assert "Unknown row of the study guards 'tenfoldd'. Did you mean 'tenfold'?" in refused(
        "bench", "guards", "--out", tmp_path, "--data", f"fashion_1000={folder}", "--row", "tenfoldd"
    )
    assert "SET=DATA" in refused("bench", "guards", "--out", tmp_path, "--data", str(folder))


def test_the_study_of_the_scores_has_options_of_its_own(tmp_path):
    for options, text in (
        (("scores", "--minutes", 1), "The study 'scores' trains nothing"),
        (("scores", "--seed", 1, "--seed", 2), "give one --seed"),
        (("guards",), "Missing option '--data'"),
        (("guards", "--data", "a=b", "--samples", 60), "--samples is for the study 'scores' alone"),
    ):
        result = call("bench", *options, "--out", tmp_path)
        assert result.exit_code == 2 and text in " ".join(result.stderr.split())
    assert "Unknown damage 'blurr'" in refused("bench", "scores", "--out", tmp_path, "--row", "blurr")
    assert not any(tmp_path.iterdir())


def test_a_doctor_needs_data_for_what_is_asked_of_them(folder):
    assert "DATA: name it too" in refused("doctor", "--fakes", ENTRY)
    found = json.loads(done("doctor", folder, "--trial", 0, "--json").stdout)
    assert found["count"] == IMAGES and found["command"].startswith("ganzoo finetune image/dcgan_32 ")


@pytest.mark.parametrize("minutes", ["nan", "inf"])
def test_a_time_is_finite(minutes, folder, tmp_path):
    result = call("train", ENTRY, "--data", folder, "--run", tmp_path / "run", "--minutes", minutes)
    assert result.exit_code == 2 and "is not a finite number" in result.stderr


def test_listing_loads_no_tensorflow():
    code = (
        "import sys; from ganzoo.cli import main; main(['list', '--json'], standalone_mode=False);"
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)


def own_process(code_or_arguments, **environment):
    """Run `ganzoo ARGUMENTS`, or Python code, in a process with other variables of the environment."""
    plain = isinstance(code_or_arguments, str)
    command = [sys.executable, "-c", code_or_arguments] if plain else [sys.executable, "-m", "ganzoo"]
    command += [] if plain else [str(argument) for argument in code_or_arguments]
    return subprocess.run(command, capture_output=True, timeout=120, env=os.environ | environment)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1", "utf-8"])
def test_output_in_any_encoding(folder, tmp_path, encoding):
    for name in ("\u65e5\u672c", "caf\u00e9"):
        (tmp_path / name).mkdir()
        shutil.copy(folder / "00.png", tmp_path / name)
    command = ("data", tmp_path, "--classes", "--size", "32")
    result = own_process(command, PYTHONIOENCODING=encoding, LANG="C")
    assert result.returncode == 0, result.stderr
    text = result.stdout.decode(encoding)
    assert ("\u65e5\u672c" if encoding == "utf-8" else "\\u65e5\\u672c") in text
    missing = own_process(("data", tmp_path / "\u65e5"), PYTHONIOENCODING=encoding, LANG="C")
    assert missing.returncode == 1 and b"Traceback" not in missing.stderr and b"Error: " in missing.stderr


def test_control_characters_are_escaped():
    from ganzoo.commands.terminal import shown

    def printable(text):
        return shown(text, io.TextIOWrapper(io.BytesIO(), "utf-8"))

    assert printable("a\x1b[2Jb\rc\x07\u202ed\udcffe\x9b") == "a\\x1b[2Jb\\rc\\x07\\u202ed\\udcffe\\x9b"
    assert printable("a\xa0b\u200dc") == "a\\xa0b\\u200dc"  # by the rule of names
    assert printable("x" * 300) == "x" * 300
    assert printable("lines\nand\ttabs \u65e5 \u00e9") == "lines\nand\ttabs \u65e5 \u00e9"
    assert "\\x1b[31m" in refused("show", "image/\x1b[31mdcgan")


SLEEPS = """
import time, click
from ganzoo.commands.terminal import command

@click.command()
@command(tensorflow=False)
def sleep():
    try:
        print("ready", flush=True)
        time.sleep(60)
    finally:
        print("cleaned", flush=True)

sleep()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_a_command_with_its_code_and_cleans_up(number, code):
    process = subprocess.Popen([sys.executable, "-c", SLEEPS], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(number)
    out, error = process.communicate(timeout=30)
    assert process.returncode == code and out == b"cleaned\n" and b"Traceback" not in error


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("ganzoo train image/dc", ["image/dcgan_32"]),
        ("ganzoo finetune image/pro", ["image/projected_mobile_64"]),
        ("ganzoo pretrain var", ["variational"]),
        ("ganzoo bench gua", ["guards"]),
        ("ganzoo evaluate image/dcgan_32 --features sq", ["squeezenet"]),
        ("ganzoo export image/dcgan_32 --format tflite,on", ["tflite,onnx"]),
        ("ganzoo data mnist", ["mnist5k"]),
        ("ganzoo ver", ["verify"]),
    ],
)
def test_the_shell_completes_names(words, found):
    count = len(words.split()) - 1
    environment = {"_GANZOO_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    code = "from ganzoo.cli import main; main(prog_name='ganzoo')"
    result = own_process(code, **environment)
    lines = [line.split(",", 1) for line in result.stdout.decode().splitlines()]
    assert [value for kind, value in lines if kind == "plain"] == found, result


@pytest.mark.heavy
def test_the_demonstration_goes_the_whole_way_and_goes_on(tmp_path):
    run = tmp_path / "demo"
    command = ("demo", "--run", run, "--json")
    first = json.loads(done(*command, "--minutes", 0.1).stdout)
    again = json.loads(done(*command, "--minutes", 0.4).stdout)
    assert again["samples"] > first["samples"] > 0
    distances = [again[when]["sliced_wasserstein"]["average"] for when in ("before", "after")]
    assert distances[1] < distances[0]
    assert set(again["steps"]) == {"training", "samples", "feature network", "scores", "export", "report"}
    assert all(f"{name} {seconds:.0f}" in again["text"] for name, seconds in again["steps"].items())
    assert "KID, network self_supervised" in again["text"] and Image.open(again["grid"]).size[0] > 8 * 32
    assert (run / "export" / "generator_float16.tflite").stat().st_size > 100_000
    assert len(json.loads((run / "scores.json").read_text())) == 2
