"""The command line: a thin layer over the public functions of the same names."""

import functools
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ganzoo.commands import options as kinds
from ganzoo.commands import texts
from ganzoo.commands.terminal import command as _verb
from ganzoo.commands.terminal import print_result as _print
from ganzoo.commands.terminal import show as _show
from ganzoo.errors import DataError, RecipeError

_Listing = tuple[str, dict[str, str], str]  # a title, names with what they are, and a text


class _Command(click.Command):
    """A command whose help ends with a list of names, which is read when it is asked for, and with examples."""

    def __init__(self, *args: Any, examples: str = "", listing: Callable[[], _Listing] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.examples = textwrap.dedent(examples).strip().splitlines()
        self._listing = listing

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list and the examples, line by line."""
        if self._listing:
            title, found, more = self._listing()
            with formatter.section(f"{title} is one of"):
                formatter.write_dl([(name, f"{text}.") for name, text in found.items()])
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(more)
        if self.examples:
            with formatter.section("Examples"):
                formatter.write("".join(f"  {line}\n" for line in self.examples))


class _Group(click.Group):
    """Lists its commands in the order of their use, with whole sentences."""

    command_class = _Command

    def list_commands(self, context: click.Context) -> list[str]:
        """In the order of this file."""
        return list(self.commands)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Each with the first sentence of its help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _sentence(one.help or "")) for name, one in self.commands.items()])
        with formatter.section("Examples"):
            formatter.write("".join(f"  {line}\n" for line in _EXAMPLES))


def _sentence(text: str) -> str:
    return " ".join(text.split("\n\n")[0].split())


_EXAMPLES = (
    "ganzoo demo",
    "ganzoo doctor my-images/",
    "ganzoo finetune image/projected_mobile_64 --data my-images/ --run runs/mine",
    "ganzoo export runs/mine --out exported",
)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _overrides(pairs: tuple[str, ...]) -> dict[str, Any]:
    from ganzoo.recipes.yaml_files import parse_value

    return {key: parse_value(value) for key, value in (_split(pair, "--set", "key=value") for pair in pairs)}


def _sources(pairs: tuple[str, ...]) -> dict[str, Any]:
    """`--init TARGET=SOURCE` with its rules, as a recipe's `init`."""
    found: dict[str, Any] = {}
    for target, text in (_split(pair, "--init", _INIT) for pair in pairs):
        if target in found:
            raise RecipeError(f"--init names '{target}' twice. A part has one source.")
        source, *rules = text.split(",")
        init: dict[str, Any] = {"source": source}
        for rule in rules:
            key, _, value = rule.partition("=")
            if key == "skip" and value:
                init.setdefault("skip", []).append(value)
            elif key == "mapping" and value:
                init["mapping"] = value
            elif rule in ("partial", "narrow"):
                init[rule] = True
            else:
                raise RecipeError(f"--init takes {_INIT}. Received: '{rule}' in '{text}'.")
        found[target] = init
    return found


def _split(pair: str, option: str, form: str) -> tuple[str, str]:
    key, sign, value = pair.partition("=")
    if not sign or not key or not value:
        raise RecipeError(f"{option} takes {form}. Received: '{pair}'.")
    return key, value


_INIT = "TARGET=SOURCE[,skip=PATTERN]...[,partial][,mapping=FILE][,narrow]"
_NETWORKS = (
    "self_supervised",
    "random",
    "squeezenet",
    "efficientnet_lite2",
    "inception_clean_fid",
    "inception_torch_fidelity",
)
_DATA = "A folder, a zip, a file of arrays, tfds:NAME, or the name of a built-in data set (mnist5k)."

_width = click.option(
    "--width",
    default=1.0,
    show_default=True,
    type=kinds.Finite(0, 1, min_open=True),
    help="The share of the generator's channels that is used, for entries of several widths.",
)
_split_of = click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    help="Which part of DATA is read; by default the recipe's data.split, which is train unless it was set.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print the whole result as JSON.")


def _seed(what: str) -> Callable:
    return click.option("--seed", default=0, show_default=True, type=kinds.SEED, help=f"The random seed of {what}.")


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ganzoo")
def main() -> None:
    """A Keras model zoo of GANs with pretraining and generators that export to phones."""


@main.command("list", examples="ganzoo list\nganzoo list 'image/*_64'")
@click.argument("pattern", default="*")
@_json
@_verb(tensorflow=False)
def list_(pattern: str, as_json: bool) -> None:
    """List the entries of the zoo: what each makes, and what to take it for.

    PATTERN selects entries by name, with * for any characters. An entry's size is in pixels; its parameters are those
    of the generator and of the networks that are trained with it.
    """
    from ganzoo.recipes.entries import get_entry, list_entries

    rows = [texts.entry_facts(get_entry(name)) for name in list_entries(pattern)]
    _print(rows, as_json, texts.entry_list(rows) or f"No entry matches '{pattern}'.")


@main.command(examples="ganzoo show image/dcgan_32\nganzoo show image/dcgan_32 --all\nganzoo show runs/mine")
@click.argument("name", type=kinds.ENTRY)
@click.option("--all", "every", is_flag=True, help="Show every key that can be set, with its default.")
@_json
@_verb(tensorflow=False)
def show(name: str, every: bool, as_json: bool) -> None:
    """Show the recipe, weights and scores of an entry or a run."""
    import yaml

    from ganzoo.recipes.entries import get_entry
    from ganzoo.startup import load_tensorflow

    entry = get_entry(name)
    shown = dict(entry.raw)
    if every:
        load_tensorflow()
        shown = entry.recipe().to_dict()
    _print(shown, as_json, yaml.safe_dump(shown, sort_keys=False, allow_unicode=True).rstrip())


@main.command(
    examples="""
    ganzoo data my-images/
    ganzoo data my-images.zip --size 32 --channels 1 --sheet sheet.png
    ganzoo data my-images/ --split test
    """
)
@click.argument("data", type=kinds.DATA)
@click.option("--size", default=64, show_default=True, type=click.IntRange(1, 4096), help="Pixels of each side.")
@click.option("--channels", default=3, show_default=True, type=kinds.OneOf(1, 3), help="1 for grey, 3 for colour.")
@click.option(
    "--fit",
    default="crop",
    show_default=True,
    type=click.Choice(["crop", "pad"]),
    help="How oblong images become square: cropped in the middle, or padded.",
)
@click.option(
    "--background",
    default="white",
    show_default=True,
    help="The colour behind transparency and padding: a name or #rrggbb.",
)
@click.option(
    "--classes/--no-classes",
    default=True,
    show_default=True,
    help="Whether labels and class folders are read, or all images as one set.",
)
@click.option(
    "--split",
    default="train",
    show_default=True,
    type=click.Choice(["train", "val", "test", "all"]),
    help="Which part is read, where the data have folders of these names.",
)
@click.option("--sheet", type=click.Path(dir_okay=False), help="Write a contact sheet to this PNG file.")
@_json
@_verb(tensorflow=False)
def data(
    data: str, size: int, channels: int, fit: str, background: str, classes: bool, split: str, sheet: str, as_json: bool
) -> None:
    """Show what a training would read: counts, sizes, classes and problems."""
    from ganzoo.data.images import ImageOptions
    from ganzoo.data.images.description import describe_data

    if sheet and Path(sheet).suffix.lower() != ".png":
        raise DataError(f"The contact sheet is a PNG file: give a name that ends in .png. Received: {sheet}.")
    if sheet and not kinds.folder_of(sheet).is_dir():
        raise DataError(f"There is no folder {kinds.folder_of(sheet)} for the contact sheet. Make it, or name another.")
    report = describe_data(data, ImageOptions(size, channels, fit, background, classes, split))
    if sheet:
        report.contact_sheet(sheet)
    _print(report.to_dict(), as_json, report.table() + (f"\nContact sheet: {sheet}" if sheet else ""))


@main.command(examples="ganzoo doctor\nganzoo doctor my-images/\nganzoo doctor my-images/ --trial 0 --json")
@click.argument("data", required=False, type=kinds.DATA)
@click.option(
    "--fakes",
    metavar="NAME",
    type=kinds.ENTRY,
    help="Compare the backbones on samples of this run or entry, instead of those of the trial.",
)
@click.option(
    "--trial",
    type=kinds.Finite(min=0),
    metavar="SECONDS",
    help="Seconds of training that measure the speed and the backbones: 20 by default, 0 for none.",
)
@click.option("--backbone", "also", multiple=True, metavar="NAME", help="Measure this backbone too; repeatable.")
@_split_of
@_json
@_verb()
def doctor(
    data: str | None, fakes: str | None, trial: float | None, also: tuple[str, ...], split: str | None, as_json: bool
) -> None:
    """Check the installation; with DATA, recommend how to train on these images."""
    from ganzoo.commands.doctor import TRIAL, check_installation, examine

    if data is None and (fakes or also or split or trial is not None):
        raise DataError("--fakes, --trial, --backbone and --split are about DATA: name it too.")
    trial = TRIAL if trial is None else trial
    result = check_installation() if data is None else examine(data, fakes, trial, also, split)
    _print(result, as_json, texts.diagnosis(result))


@main.command(examples="ganzoo demo\nganzoo demo --minutes 10 --run runs/digits")
@click.option("--run", default="runs/demo", show_default=True, type=kinds.FOLDER, help="The run directory.")
@click.option("--minutes", default=1.5, show_default=True, type=kinds.Finite(min=0.05), help="Minutes of training.")
@_json
@_verb(resumes=True)
def demo(run: str, minutes: float, as_json: bool) -> None:
    """Train on handwritten digits, score the samples and export the generator, in a few minutes."""
    from ganzoo.commands.demo import demo as function

    result = function(run, minutes)
    _print(result, as_json, result["text"])


def _training_options(function: Callable, data: Callable | None = None) -> Callable:
    for option in reversed(
        [
            data or click.option("--data", required=True, type=kinds.DATA, help=_DATA),
            click.option("--run", required=True, type=kinds.FOLDER, help="The run directory: new, or one to resume."),
            click.option(
                "--minutes",
                type=kinds.Finite(min=0, min_open=True),
                help="Stop after so many minutes of training in all sessions; scoring does not count.",
            ),
            click.option("--samples", type=click.IntRange(min=1), help="Stop after so many samples in all sessions."),
            click.option("--seed", type=kinds.SEED, help="The random seed of the run."),
            click.option(
                "--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe; repeatable."
            ),
            click.option(
                "--init", "inits", multiple=True, metavar=_INIT, help="Take the first weights of a part; repeatable."
            ),
            click.option(
                "--strategy",
                default="auto",
                show_default=True,
                type=kinds.names("auto", "none", "mirrored"),
                help="How several devices are used: auto, none or mirrored.",
            ),
            _json,
        ]
    ):
        function = option(function)
    return function


def _train(
    function: Callable, name: str, sets: tuple[str, ...], inits: tuple[str, ...], as_json: bool, **arguments: Any
) -> None:
    result = function(name, overrides=_overrides(sets), init=_sources(inits), **arguments)
    _print(result, as_json, texts.trained(result))


@main.command(
    examples="""
    ganzoo train image/dcgan_32 --data mnist5k --run runs/digits --minutes 5
    ganzoo train image/projected_mobile_64 --data my-images/ --run runs/mine
    ganzoo train image/dcgan_32 --data my-images/ --run runs/small \\
        --set training.batch_size=32 --samples 100000
    """
)
@click.argument("name", type=kinds.ENTRY)
@_training_options
@_verb(resumes=True)
def train(**arguments: Any) -> None:
    """Train an entry on images; the same command continues an existing run."""
    from ganzoo.runs.train import train as function

    _train(function, **arguments)


@main.command(
    examples="""
    ganzoo finetune image/projected_mobile_64 --data my-images/ --run runs/mine
    ganzoo finetune runs/mine --data more/ --run runs/more --how freeze_d
    """
)
@click.argument("name", type=kinds.ENTRY)
@click.option(
    "--how",
    type=kinds.names("all", "freeze_d", "scale", "consolidate"),
    help="Which weights are trained: all (the default), freeze_d, scale or consolidate.",
)
@_training_options
@_verb(resumes=True)
def finetune(**arguments: Any) -> None:
    """Continue on your own images from published weights, or from those of a run."""
    from ganzoo.runs.finetune import finetune as function

    _train(function, **arguments)


_METHODS = """Which to take (docs/pretraining.md has the measurements): none where published weights or a run of yours
suit the images (`ganzoo finetune`), and none where you train for more than a quarter of an hour. No method is shown to
improve the scores at the end of a short run with the recipe's learning rates; variational for both networks (--init
generator=RUN:decoder, --init discriminator.trunk=RUN:trunk) helps where they are too low, and autoencoder for both
networks is shown to harm. `ganzoo doctor DATA` examines the images and gives the commands."""


_STUDY = """`zoo_configs/_studies/STUDY.yaml` names its sets and rows, and the command for all of it."""


def _method_list() -> _Listing:
    from ganzoo.pretraining import list_methods

    return "METHOD", list_methods(), _METHODS


def _studies() -> _Listing:
    from ganzoo.commands import bench_scores
    from ganzoo.commands.study import list_studies

    return "STUDY", {**list_studies(), bench_scores.NAME: bench_scores.SUMMARY}, _STUDY


@main.command(
    listing=_method_list,
    examples="""
    ganzoo pretrain variational --for image/dcgan_32 --data my-images/ \\
        --run runs/pretrained --minutes 1
    ganzoo train image/dcgan_32 --data my-images/ --run runs/mine \\
        --init generator=runs/pretrained:decoder \\
        --init discriminator.trunk=runs/pretrained:trunk
    """,
)
@click.argument("method", type=kinds.METHOD)
@click.option(
    "--for",
    "name",
    required=True,
    metavar="NAME",
    type=kinds.ENTRY,
    help="The entry or the run whose parts are pretrained.",
)
@_training_options
@_verb(resumes=True)
def pretrain(method: str, **arguments: Any) -> None:
    """Pretrain parts of an entry, from which `ganzoo train NAME --init PART=RUN:PART` starts."""
    from ganzoo.runs.train import pretrain as function

    _train(functools.partial(function, method), **arguments)


@main.command(
    examples="""
    ganzoo distill runs/mine image/dcgan_32 --run runs/small --minutes 10
    """
)
@click.argument("teacher", type=kinds.ENTRY)
@click.argument("student", type=kinds.ENTRY)
@functools.partial(
    _training_options,
    data=click.option("--data", type=kinds.DATA, help=f"Real images; by default, samples of TEACHER. {_DATA}"),
)
@_verb(resumes=True)
def distill(teacher: str, student: str, **arguments: Any) -> None:
    """Train the entry STUDENT to make the same samples as TEACHER, an entry or a run."""
    from ganzoo.runs.finetune import distill as function

    _train(functools.partial(function, teacher), student, **arguments)


@main.command(
    examples="""
    ganzoo evaluate runs/mine --data my-images/
    ganzoo evaluate runs/mine --data my-images/ --split test
    ganzoo evaluate image/dcgan_32 --data mnist5k --features squeezenet --json
    """
)
@click.argument("name", type=kinds.ENTRY)
@click.option("--data", required=True, type=kinds.DATA, help=f"Real images. {_DATA}")
@_split_of
@click.option(
    "--samples", type=click.IntRange(min=1), help="Generate at most so many samples; the recipe's number by default."
)
@click.option(
    "--features",
    multiple=True,
    metavar="NET",
    type=kinds.names(*_NETWORKS),
    help=f"Use this feature network: {', '.join(_NETWORKS)}; repeatable.",
)
@_seed("the samples and of the split of the images")
@click.option(
    "--subsamples",
    default=0,
    show_default=True,
    type=click.IntRange(min=0),
    help="Give standard deviations over so many random halves of the samples: 2 or more, 0 for none.",
)
@click.option(
    "--fits",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="Fit the self-supervised network so often, and give means and ranges over the fits.",
)
@click.option(
    "--as-in-papers",
    is_flag=True,
    help="Also give FID and KID over Inception-v3, as clean-fid and torch-fidelity do (fetches 96 MB once).",
)
@_width
@_json
@_verb()
def evaluate(
    name: str,
    data: str,
    split: str | None,
    samples: int | None,
    features: tuple[str, ...],
    seed: int,
    subsamples: int,
    fits: int,
    as_in_papers: bool,
    width: float,
    as_json: bool,
) -> None:
    """Score the samples of a generator against real images."""
    from ganzoo.runs.evaluate import evaluate as function

    networks = tuple(dict.fromkeys(features)) or None
    papers = {"as_in_papers": as_in_papers}
    card = function(name, data, samples, networks, seed, subsamples, width, split=split, fits=fits, **papers)
    _print(card.to_dict(), as_json, card.table())


@main.command(
    examples="""
    ganzoo generate image/dcgan_32 --out digits.png
    ganzoo generate runs/mine --out samples/ --count 100 --seed 7
    ganzoo generate image/wgan_gp_32 --out sevens.png --condition 7
    ganzoo generate runs/pets --out cats.png --condition cat
    """
)
@click.argument("name", type=kinds.ENTRY)
@click.option("--out", required=True, type=click.Path(), help="FILE.png for a grid, FILE.npy, or a folder.")
@click.option("--count", default=64, show_default=True, type=click.IntRange(min=1), help="How many samples to make.")
@_seed("the samples")
@click.option(
    "--truncation",
    type=click.FloatRange(min=0, min_open=True),
    help="Scale latents towards their mean: 1 changes nothing; smaller values give less varied samples.",
)
@click.option("--condition", metavar="CLASS", help="Make this class alone: its name, or its number from 0.")
@_width
@_json
@_verb()
def generate(
    name: str,
    out: str,
    count: int,
    seed: int,
    truncation: float | None,
    condition: str | None,
    width: float,
    as_json: bool,
) -> None:
    """Write samples to an image, an array or a folder."""
    from ganzoo.commands.generate import describe_classes, write_samples

    made = write_samples(name, out, count, seed, truncation, condition, width)
    text = f"{count} {'sample' if count == 1 else 'samples'}: {made['out']}"
    _print(made, as_json, "\n".join([text, *describe_classes(made["classes"])]))


@main.command(examples="ganzoo compare runs/first runs/second --out comparison.html")
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...", type=click.Path())
@click.option(
    "--out", default="comparison.html", show_default=True, type=click.Path(dir_okay=False), help="The page to write."
)
@_json
@_verb(tensorflow=False)
def compare(runs: tuple[str, ...], out: str, as_json: bool) -> None:
    """Compare runs on one page: their scores over time, pretraining included, and their samples."""
    from ganzoo.reports.comparison import compare_runs

    result = compare_runs(runs, out)
    _print(result, as_json, f"{len(result['runs'])} runs are compared in {result['out']}.")


@main.command(
    examples="""
    ganzoo export runs/mine --out exported
    ganzoo export image/dcgan_32 --out exported --quantize float16
    ganzoo export runs/mine --out for-gpus --target gpu --format tflite,onnx
    """
)
@click.argument("name", type=kinds.ENTRY)
@click.option("--out", required=True, type=kinds.FOLDER, help="The folder to write to.")
@click.option(
    "--format",
    "formats",
    default="tflite,saved_model",
    show_default=True,
    type=kinds.names("tflite", "saved_model", "onnx", several=True),
    help="The formats, separated by commas: tflite, saved_model, onnx.",
)
@click.option(
    "--quantize",
    default="none,float16,auto",
    show_default=True,
    type=kinds.names("none", "float16", "dynamic", "int8", "auto", several=True),
    help="The TFLite files, separated by commas: none (float32), float16, dynamic, int8, auto.",
)
@click.option(
    "--target",
    default="cpu",
    show_default=True,
    type=kinds.names("cpu", "gpu"),
    help="The processor that auto chooses a file for: cpu or gpu.",
)
@click.option("--data", type=kinds.DATA, help="Real images to judge the files by; those of the run by default.")
@_split_of
@_width
@_json
@_verb()
def export(
    name: str,
    out: str,
    formats: str,
    quantize: str,
    target: str,
    data: str | None,
    split: str | None,
    width: float,
    as_json: bool,
) -> None:
    """Export a generator to TFLite, SavedModel or ONNX, and compare each file with Keras.

    `generator.tflite` is what auto takes: on a CPU the fastest of all TFLite files whose FID over the same latents is
    within the recipe's export.fid_within of the float32 file's, on a GPU float16.
    """
    from ganzoo.export import export_generator

    card = export_generator(name, out, _listed(formats), _listed(quantize), target, data, width, split=split)
    _print(card, as_json, texts.exported(card, out))


@main.command(examples="ganzoo verify exported\nganzoo verify exported/generator.tflite --json")
@click.argument("path", type=kinds.EXPORT)
@_json
@_verb()
def verify(path: str, as_json: bool) -> None:
    """Check exported files: that they are unchanged, and that they still agree with Keras."""
    from ganzoo.export import verify_export

    result = verify_export(path)
    _print(result, as_json, texts.verified(result))


@main.command(examples="ganzoo serve exported\nganzoo serve exported --network\nganzoo serve exported --out website/")
@click.argument("path", type=kinds.EXPORT)
@click.option(
    "--port",
    default=8300,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="The port of the page; 0 takes a free one.",
)
@click.option("--network", is_flag=True, help="Serve the page to phones on the local network as well.")
@click.option("--out", type=kinds.FOLDER, help="Write the page as static files to this folder instead.")
@_verb(tensorflow=False)
def serve(path: str, port: int, network: bool, out: str | None) -> None:
    """Serve an export as a web page on which a phone or a browser makes images by itself."""
    from ganzoo.export.serve import as_qr_code, site
    from ganzoo.export.serve import serve as function

    if out:
        from ganzoo.files.writing import only_own

        page = site(path)
        only_own(out, {name.partition("/")[0] for name in page.paths}.__contains__)
        page.write(Path(out))
        _show(f"The page is {Path(out) / 'index.html'}. Put the folder on any web server.")
        return

    def ready(address: str, server: Any) -> None:
        if network:
            click.echo(_code(as_qr_code(address)), nl=False)
        _show(f"Open {address} in a browser. Press Ctrl-C to stop.")

    function(path, port, network, ready)


def _code(text: str) -> str:
    """A QR code, where the terminal's encoding has its blocks."""
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return ""
    return text


@main.command(
    listing=_studies,
    examples="""
    ganzoo bench guards --out results/ --data fashion_1000=fashion.npz --seed 0
    ganzoo bench scores --out results/ --data mine=my-images/
    """,
)
@click.argument("study", type=kinds.STUDY)
@click.option("--out", required=True, type=kinds.FOLDER, help="The folder for runs and results.")
@click.option(
    "--data",
    "pairs",
    multiple=True,
    metavar="SET=DATA",
    help="The images of a set; repeatable. scores takes sets of any name, and digits=mnist5k by default.",
)
@click.option("--row", "rows", multiple=True, help="Do this row alone; repeatable.")
@click.option("--seed", "seeds", multiple=True, type=kinds.SEED, help="Use this seed alone; repeatable.")
@click.option(
    "--minutes", type=kinds.Finite(min=0.01), help="Minutes of training for each cell; the study's by default."
)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a key of all recipes; repeatable.")
@click.option(
    "--source",
    "sources",
    multiple=True,
    metavar="SET=RUN",
    help="The run whose GAN is fine-tuned on a set, or whose samples are scored; repeatable.",
)
@click.option("--samples", type=click.IntRange(min=50), help="For scores: images of each damaged set, 250 by default.")
@_json
@_verb(resumes=True)
def bench(
    study: str,
    out: str,
    pairs: tuple[str, ...],
    rows: tuple[str, ...],
    seeds: tuple[int, ...],
    minutes: float | None,
    sets: tuple[str, ...],
    sources: tuple[str, ...],
    samples: int | None,
    as_json: bool,
) -> None:
    """Measure a study of the zoo, such as 'pretraining'; the same command continues it."""
    data = dict(_split(pair, "--data", "SET=DATA") for pair in pairs)
    if study == "scores":
        if minutes is not None or sets or len(seeds) > 1:
            raise click.UsageError("The study 'scores' trains nothing: leave --minutes and --set out, give one --seed.")
        _bench_scores(out, data, rows, seeds, sources, samples, as_json)
        return
    if not data:
        raise click.UsageError("Missing option '--data'. Give SET=DATA.")
    if samples is not None:
        raise click.UsageError("--samples is for the study 'scores' alone.")
    from ganzoo.commands.study import bench as function

    cells = function(
        study,
        out,
        data,
        rows=rows,
        seeds=seeds,
        minutes=minutes,
        overrides=_overrides(sets),
        sources=dict(_split(pair, "--source", "SET=RUN") for pair in sources),
    )
    _print(cells, as_json, f"{len(cells)} cells are done: {Path(out) / 'results.csv'}")


def _bench_scores(
    out: str,
    data: dict[str, str],
    damages: tuple[str, ...],
    seeds: tuple[int, ...],
    sources: tuple[str, ...],
    samples: int | None,
    as_json: bool,
) -> None:
    from ganzoo.commands.bench_scores import TABLES, Plan, bench_scores

    plan = Plan(seed=seeds[0] if seeds else 0)
    found = bench_scores(
        out,
        data,
        sources=dict(_split(pair, "--source", "SET=RUN") for pair in sources),
        damages=damages,
        plan=plan if samples is None else plan._replace(samples=samples),
    )
    _print(found, as_json, f"{len(found['sets'])} sets are measured: {Path(out) / TABLES}")
