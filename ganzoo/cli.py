"""The command line: a thin skin over the public functions of the same names."""

import functools
import json
import logging
import math
import os
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from ganzoo.errors import DataError, GanzooError, RecipeError


def _verb(tensorflow: bool = True, resumes: bool = False) -> Callable:
    """Errors become one line and exit code 1; TensorFlow is loaded quietly where the verb needs it.

    `resumes`: the same command goes on where an interrupted one stopped, and a user who interrupts it is told so.
    """

    def wrap(function: Callable) -> Callable:
        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> None:
            logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
            for noisy in ("absl", "tensorflow", "jax", "h5py"):
                logging.getLogger(noisy).setLevel(logging.ERROR)
            try:
                if tensorflow:
                    from ganzoo.quiet import load_tensorflow

                    load_tensorflow()
                function(*args, **kwargs)
            except GanzooError as error:
                click.secho(f"Error: {error}", fg="red", err=True)
                sys.exit(1)
            except (KeyboardInterrupt, click.Abort):
                hint = " The same command goes on from the last checkpoint." if resumes else ""
                click.echo(f"Interrupted.{hint}", err=True)
                sys.exit(130)
            except (click.ClickException, click.exceptions.Exit):
                raise
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                sys.exit(1)
            except OSError as error:
                click.secho(f"Error: {error.strerror or error}: {error.filename or ''}", fg="red", err=True)
                sys.exit(1)
            except Exception as error:
                with tempfile.NamedTemporaryFile("w", prefix="ganzoo-", suffix=".log", delete=False) as file:
                    file.write(traceback.format_exc())
                text = f"Error: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
                click.secho(f"{text}\nThis is a fault of ganzoo. The details are in {file.name}.", fg="red", err=True)
                sys.exit(1)

        return run

    return wrap


def _print(result: Any, as_json: bool, text: str) -> None:
    click.echo(json.dumps(result, indent=1) if as_json else text)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _overrides(pairs: tuple[str, ...]) -> dict[str, Any]:
    from ganzoo.recipe_files import parse_value

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
_SEED = click.IntRange(0, 2**32 - 1)


class _Time(click.FloatRange):
    """A finite time."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


_width = click.option(
    "--width", default=1.0, type=click.FloatRange(0, 1, min_open=True), help="Share of its channels, if it has several."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ganzoo")
def main() -> None:
    """A Keras model zoo of GANs with pretraining and generators that export to phones."""


@main.command("list")
@click.argument("pattern", default="*")
@_json
@_verb(tensorflow=False)
def list_(pattern: str, as_json: bool) -> None:
    """List the entries of the zoo."""
    from ganzoo.registry import get_entry, list_entries

    entries = [get_entry(name) for name in list_entries(pattern)]
    rows = [{"name": e.name, "summary": e.summary, "paper": e.paper, "weights": bool(e.weights)} for e in entries]
    width = max((len(entry.name) for entry in entries), default=0)
    text = "\n".join(f"{e.name:{width}}  {'weights' if e.weights else '       '}  {e.summary}" for e in entries)
    _print(rows, as_json, text or f"No entry matches '{pattern}'.")


@main.command()
@click.argument("name")
@click.option("--all", "every", is_flag=True, help="With every key that can be set, and its default.")
@_json
@_verb(tensorflow=False)
def show(name: str, every: bool, as_json: bool) -> None:
    """Show an entry's or a run's recipe, weights and scores."""
    import yaml

    from ganzoo.quiet import load_tensorflow
    from ganzoo.registry import get_entry

    entry = get_entry(name)
    shown = dict(entry.raw)
    if every:
        load_tensorflow()
        shown = entry.recipe().to_dict()
    _print(shown, as_json, yaml.safe_dump(shown, sort_keys=False, allow_unicode=True).rstrip())


@main.command()
@click.argument("data")
@click.option("--size", default=64, show_default=True, help="Pixels a side.")
@click.option("--channels", default=3, show_default=True, help="1 (grey) or 3.")
@click.option("--fit", default="crop", show_default=True, help="crop or pad oblong images.")
@click.option("--background", default="white", show_default=True, help="Behind transparency and padding.")
@click.option("--classes", is_flag=True, help="Read folders as classes.")
@click.option("--sheet", type=click.Path(dir_okay=False), help="Write a contact sheet (PNG).")
@_json
@_verb(tensorflow=False)
def data(
    data: str, size: int, channels: int, fit: str, background: str, classes: bool, sheet: str, as_json: bool
) -> None:
    """Show what would be trained on: counts, sizes, classes, problems."""
    from ganzoo.data import ImageOptions
    from ganzoo.data.description import describe_data

    if sheet and Path(sheet).suffix.lower() != ".png":
        raise DataError(f"The contact sheet is a PNG: name it so. Received: {sheet}.")
    if sheet and not Path(sheet).absolute().parent.is_dir():
        raise DataError(f"There is no folder {Path(sheet).parent} for the contact sheet. Make it, or name another.")
    report = describe_data(data, ImageOptions(size, channels, fit, background, classes))
    if sheet:
        report.contact_sheet(sheet)
    _print(report.to_dict(), as_json, report.table() + (f"\nContact sheet: {sheet}" if sheet else ""))


_DATA = "A folder, a zip, arrays, tfds:NAME, or a built-in name."


def _training_options(function: Callable, data: Callable | None = None) -> Callable:
    for option in reversed(
        [
            data or click.option("--data", required=True, help=_DATA),
            click.option("--run", required=True, type=click.Path(file_okay=False), help="The run directory."),
            click.option("--minutes", type=_Time(min=0), help="Stop after so many minutes in all."),
            click.option("--samples", type=click.IntRange(min=1), help="Stop after so many samples in all."),
            click.option("--seed", type=_SEED, help="The run's seed."),
            click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a key of the recipe."),
            click.option("--init", "inits", multiple=True, metavar=_INIT, help="First weights of a part."),
            click.option("--strategy", default="auto", show_default=True, help="auto, none or mirrored."),
            _json,
        ]
    ):
        function = option(function)
    return function


def _train(
    function: Callable, name: str, sets: tuple[str, ...], inits: tuple[str, ...], as_json: bool, **arguments: Any
) -> None:
    result = function(name, overrides=_overrides(sets), init=_sources(inits), **arguments)
    text = f"{result['samples']:,} samples in {result['seconds'] / 60:.1f} minutes. Report: {result['report']}"
    if "parts" in result:
        text += f"\nParts: {', '.join(result['parts'])}"
    _print(result, as_json, text)


@main.command()
@click.argument("name")
@_training_options
@_verb(resumes=True)
def train(**arguments: Any) -> None:
    """Train an entry on data; the same command on an existing run goes on."""
    from ganzoo.training import train as function

    _train(function, **arguments)


@main.command()
@click.argument("name")
@click.option("--how", help="all (the default), freeze_d, scale or consolidate.")
@_training_options
@_verb(resumes=True)
def finetune(**arguments: Any) -> None:
    """Train from an entry's published weights, or from a run's."""
    from ganzoo.finetuning import finetune as function

    _train(function, **arguments)


@main.command()
@click.argument("teacher")
@click.argument("student")
@functools.partial(
    _training_options, data=click.option("--data", help=f"What is real: {_DATA} Samples of TEACHER by default.")
)
@_verb(resumes=True)
def distill(teacher: str, student: str, **arguments: Any) -> None:
    """Train the entry STUDENT to make what TEACHER (an entry or a run) makes of the same latents."""
    from ganzoo.finetuning import distill as function

    _train(functools.partial(function, teacher), student, **arguments)


_WHICH = """Which to take, as far as it was measured (docs/pretraining.md has the numbers): none where published
weights or a run of yours suit the images (`ganzoo finetune`), nor where you have more than a quarter of an hour;
variational for both networks (--init generator=RUN:decoder, --init discriminator.trunk=RUN:trunk) for some thousand
images and a few minutes. features, those of your own classifier too, and denoising were level with none or a little
worse; autoencoder for both networks, and all methods of the trunk alone (rotation, simclr, masked, classifier), set
short runs back. `ganzoo doctor DATA` looks at the images and gives the commands."""


_STUDY = """`zoo_configs/_studies/STUDY.yaml` names its sets and rows, and the command for all of it."""


def _choices(name: str, found: dict[str, str], more: str) -> str:
    width = max(map(len, found))
    listed = "\n".join(f"  {key:{width}}  {text}" for key, text in found.items())
    return f"\b\n{name} is one of\n{listed}\n\n{more}"


def _methods() -> str:
    from ganzoo.pretraining import list_methods

    return _choices("METHOD", list_methods(), _WHICH)


def _studies() -> str:
    from ganzoo.study import list_studies

    return _choices("STUDY", list_studies(), _STUDY)


class _ListingCommand(click.Command):
    """Its help ends with a list, which is read when it is asked for."""

    def __init__(self, *args: Any, listing: Callable[[], str], **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._listing = listing

    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        self.epilog = self._listing()
        super().format_epilog(context, formatter)


@main.command(cls=_ListingCommand, listing=_methods)
@click.argument("method")
@click.option("--for", "name", required=True, metavar="NAME", help="The entry (or run) whose parts are pretrained.")
@_training_options
@_verb(resumes=True)
def pretrain(method: str, **arguments: Any) -> None:
    """Pretrain parts of an entry: `ganzoo train NAME --init PART=RUN:PART` starts from them."""
    from ganzoo.training import pretrain as function

    _train(functools.partial(function, method), **arguments)


@main.command()
@click.argument("name")
@click.option("--data", required=True, help="Real data.")
@click.option("--samples", type=click.IntRange(min=1), help="Generated samples, at most.")
@click.option("--features", multiple=True, metavar="NET", help="self_supervised, squeezenet, efficientnet_lite2.")
@click.option("--seed", default=0, show_default=True, type=_SEED)
@click.option(
    "--subsamples", default=0, type=click.IntRange(min=0), help="Tell deviations over so many halves: 2 or more."
)
@_width
@_json
@_verb()
def evaluate(
    name: str,
    data: str,
    samples: int | None,
    features: tuple[str, ...],
    seed: int,
    subsamples: int,
    width: float,
    as_json: bool,
) -> None:
    """Score a generator: a card of several scores, the network-free one first."""
    from ganzoo.evaluation import evaluate as function

    card = function(name, data, samples, tuple(dict.fromkeys(features)) or None, seed, subsamples, width)
    _print(card.to_dict(), as_json, card.table())


@main.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option("--out", default="comparison.html", show_default=True, type=click.Path(dir_okay=False), help="The page.")
@_json
@_verb(tensorflow=False)
def compare(runs: tuple[str, ...], out: str, as_json: bool) -> None:
    """Write one page with the scores of several runs over time, pretraining included, and their samples."""
    from ganzoo.comparison import compare_runs

    result = compare_runs(runs, out)
    _print(result, as_json, f"{len(result['runs'])} runs: {result['out']}")


@main.command()
@click.argument("name")
@click.option("--out", required=True, type=click.Path(), help="FILE.png, FILE.npy or a folder.")
@click.option("--count", default=64, show_default=True)
@click.option("--seed", default=0, show_default=True, type=_SEED)
@click.option("--truncation", type=float, help="Draw latents towards their mean: 1 is none, less is more alike.")
@click.option("--condition", type=int, help="One class for all.")
@_width
@_json
@_verb()
def generate(
    name: str,
    out: str,
    count: int,
    seed: int,
    truncation: float | None,
    condition: int | None,
    width: float,
    as_json: bool,
) -> None:
    """Write samples to a grid, an array or a folder."""
    from ganzoo.sampling import generate as function

    path = function(name, out, count, seed, truncation, condition, width)
    _print({"out": str(path), "count": count}, as_json, f"{count} samples: {path}")


@main.command()
@click.argument("name")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="The folder to write to.")
@click.option("--format", "formats", default="tflite,saved_model", show_default=True, help="Some of these, and onnx.")
@click.option(
    "--quantize", default="none,float16,auto", show_default=True, help="The TFLite files: some of these, dynamic, int8."
)
@click.option("--target", default="cpu", show_default=True, help="What auto chooses for: cpu or gpu.")
@click.option("--data", help="Real samples to judge files by, if not the run's own.")
@_width
@_json
@_verb()
def export(
    name: str, out: str, formats: str, quantize: str, target: str, data: str | None, width: float, as_json: bool
) -> None:
    """Export a generator to TFLite, SavedModel and ONNX, each file judged against Keras.

    `generator.tflite` is what auto takes: on a CPU the fastest of all TFLite files whose FID over the same latents is
    within the recipe's export.fid_within of the float32 file's, on a GPU float16.
    """
    from ganzoo.export import export_generator

    card = export_generator(name, out, _listed(formats), _listed(quantize), target, data, width)
    _print(card, as_json, (Path(out) / "MODEL_CARD.md").read_text())


@main.command()
@click.argument("path", type=click.Path())
@_json
@_verb()
def verify(path: str, as_json: bool) -> None:
    """Check an exported file again against what lies beside it."""
    from ganzoo.export import verify_export

    result = verify_export(path)
    _print(result, as_json, json.dumps(result, indent=1))


@main.command()
@click.argument("path", type=click.Path())
@click.option("--port", default=8300, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--network", is_flag=True, help="For phones on the local network, not this machine alone.")
@click.option("--out", type=click.Path(file_okay=False), help="Write the page as static files instead.")
@_verb(tensorflow=False)
def serve(path: str, port: int, network: bool, out: str | None) -> None:
    """Serve an export as a page on which a phone makes images by itself."""
    from ganzoo.export.serve import as_qr_code, site
    from ganzoo.export.serve import serve as function

    if out:
        site(path).write(Path(out))
        click.echo(f"The page: {Path(out) / 'index.html'}, for any web server.")
        return

    def ready(address: str, server: Any) -> None:
        click.echo((as_qr_code(address) if network else "") + f"{address} (Ctrl-C ends it)")

    function(path, port, network, ready)


@main.command()
@click.argument("data", required=False)
@click.option(
    "--fakes",
    metavar="NAME",
    help="A run (or entry) whose samples the backbones shall tell from DATA, not the trial's.",
)
@click.option(
    "--trial",
    type=_Time(min=0),
    metavar="SECONDS",
    help="Of training, to measure how fast it is and which backbone tells most; 20 by default, 0 leaves it out.",
)
@click.option("--backbone", "also", multiple=True, metavar="NAME", help="Probe this too; may be given again.")
@_json
@_verb()
def doctor(data: str | None, fakes: str | None, trial: float | None, also: tuple[str, ...], as_json: bool) -> None:
    """Say what is installed and missing; with DATA, what the images are like and how to train on them."""
    from ganzoo.doctor import TRIAL, check_installation, examine, text

    if data is None and (fakes or also or trial is not None):
        raise DataError("--fakes, --trial and --backbone are about DATA: name it too.")
    result = check_installation() if data is None else examine(data, fakes, TRIAL if trial is None else trial, also)
    _print(result, as_json, text(result))


@main.command(cls=_ListingCommand, listing=_studies)
@click.argument("study")
@click.option("--out", required=True, type=click.Path(file_okay=False), help="A folder for runs and results.")
@click.option("--data", "pairs", multiple=True, required=True, metavar="SET=DATA", help="Data of one of its sets.")
@click.option("--row", "rows", multiple=True, help="Only this row; may be given again.")
@click.option("--seed", "seeds", multiple=True, type=_SEED, help="Only this seed; may be given again.")
@click.option("--minutes", type=_Time(min=0.01), help="Of a cell; the study's by default.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change a key of all recipes.")
@click.option("--source", "sources", multiple=True, metavar="SET=RUN", help="The GAN that rows fine-tune on a set.")
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
    as_json: bool,
) -> None:
    """Do a study of the zoo, such as 'pretraining'; the same command goes on with it."""
    from ganzoo.study import bench as function

    data = dict(_split(pair, "--data", "SET=DATA") for pair in pairs)
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
    _print(cells, as_json, f"{len(cells)} cells: {Path(out) / 'results.csv'}")


@main.command()
@click.option("--run", default="runs/demo", show_default=True, type=click.Path(file_okay=False))
@click.option("--minutes", default=4.0, show_default=True, type=_Time(min=0.05), help="Minutes of training.")
@_json
@_verb(resumes=True)
def demo(run: str, minutes: float, as_json: bool) -> None:
    """Train digits in a few minutes, score them, export them to TFLite, and write a report."""
    from ganzoo.demonstration import demo as function

    result = function(run, minutes)
    _print(result, as_json, result["text"])
