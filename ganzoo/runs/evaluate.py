"""Scores of a generator against real data."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo.domains import get_domain
from ganzoo.errors import DataError, EvaluationError
from ganzoo.files.reading import read_json
from ganzoo.files.writing import write_json
from ganzoo.progress import task
from ganzoo.recipes import yaml_files
from ganzoo.reports.run import write_report
from ganzoo.runs.class_names import labels_for
from ganzoo.zoo.load import load

if TYPE_CHECKING:
    from ganzoo.core.gan import GAN
    from ganzoo.data.sample_set import SampleSet
    from ganzoo.metrics.scorecard import Scorecard

FITS = 3  # of the self-supervised network: the scores of one fit differ from those of another


def evaluate(
    source: "GAN | str | Path",
    data: Any,
    samples: int | None = None,
    networks: Sequence[str] | None = None,
    seed: int = 0,
    subsamples: int = 0,
    width: float = 1.0,
    *,
    split: str | None = None,
    fits: int = FITS,
    as_in_papers: bool = False,
) -> "Scorecard":
    """The scorecard of an averaged generator; that of a run is added to its `scores.json` and its report.

    Args:
        source: a GAN, an entry with published weights, or a run directory.
        data: real data, as for `ganzoo.train`. Where both the GAN and the data have classes, these are matched by name
            and generated as often as the data have them.
        samples: how many samples are generated at most; never more than half of the real ones.
        networks: feature networks; by default the recipe's `evaluation.networks`, and "random" as a control beside
            "self_supervised".
        seed: of the samples, and of the choice of the real ones that are compared.
        subsamples: over how many subsamples the standard deviations of the scores are taken: 0 (none), or 2 or more;
            see `ganzoo.metrics.scorecard`.
        width: the share of the generator's channels, see `GAN.widths`; a run keeps the scores of width 1 only.
        split: which part of the data is read ("train", "val", "test", "all"); the recipe's `data.split` by default.
        fits: how often the self-supervised network is fitted (10 to 120 seconds each, then cached): its scores are
            means over the fits. With 1 they can be compared with those of earlier versions and of a training.
        as_in_papers: also FID and KID over Inception-v3 (`ganzoo.metrics.papers`), of as many samples as there are real
            images, or of `samples`.

    Raises:
        EvaluationError: `source` is nothing that can be scored, the classes of the data are not those of the
            generator, or there are too few samples.
        WeightsError: the entry or run has no weights.
    """
    from ganzoo.metrics.papers import scores_as_in_papers

    gan, where = _loaded(source)
    gan = gan.at_width(width)
    real = read_reals(gan, data, split)
    networks = networks or with_control(gan.recipe.evaluation.networks)
    card = score(gan, real.samples, samples, networks, seed, labels_for(gan, real), subsamples, fits)
    if as_in_papers:
        made = fakes(gan, samples or len(real.samples), samples or len(real.samples), seed, labels_for(gan, real))
        papers = scores_as_in_papers(real.samples, made, gan.pretrained_sources())
        card = card.model_copy(update={"papers": papers})
    run = None if where is None else Path(where)
    if run and width == 1.0 and (run / yaml_files.RUN_RECIPE).is_file() and (run / "checkpoints").is_dir():
        remember(run, gan, card)
    return card


def with_control(networks: Sequence[str]) -> tuple[str, ...]:
    """Networks with "random" after "self_supervised": the same network before it was fitted."""
    names = [name for name in networks if name != "random"]
    if "self_supervised" in names:
        names.insert(names.index("self_supervised") + 1, "random")
    return tuple(names)


def _loaded(source: Any) -> tuple["GAN", str | None]:
    """The GAN, and the entry, run or preset that it was loaded from, if any."""
    if isinstance(source, str | Path):
        return load(str(source)), str(source)
    from ganzoo.core.gan import GAN

    if not isinstance(source, GAN):
        raise EvaluationError(
            "Only a generator of this package can be scored. Expected: a GAN, the name of an entry, or a run "
            f"directory. Received: {type(source).__name__}. Score arrays of samples with "
            "ganzoo.metrics.scorecard.scorecard(real, fake)."
        )
    return source, None


def read_reals(gan: "GAN", data: Any, split: str | None = None) -> "SampleSet":
    """Real data in the form that the GAN was trained on: every command that scores reads them here, and so alike.

    Args:
        gan: what is scored.
        data: as for `ganzoo.train`.
        split: the part that is read instead of the recipe's `data.split`.

    Raises:
        DataError: there is no such part, or nothing readable.
    """
    options = gan.recipe.data
    if split is not None:
        if not hasattr(options, "split"):
            raise DataError(f"Data of the domain '{gan.recipe.domain}' have no parts: leave the split out.")
        options = options.model_copy(update={"split": split})
    return get_domain(gan.recipe.domain).read(data, options, bool(gan.conditions_spec()))


@task("Scoring")
def score(
    gan: "GAN",
    real: Any,
    samples: int | None = None,
    networks: Sequence[str] | None = None,
    seed: int = 0,
    labels: Any = None,
    subsamples: int = 0,
    fits: int = 1,
) -> "Scorecard":
    """The scorecard of a GAN's averaged generator against real samples in the domain's units.

    With `labels`, the classes of the real images, the generated classes are as frequent as the real ones; without, a
    conditional generator gives every class equally often.
    """
    from ganzoo.metrics.scorecard import scorecard

    fake = fakes(gan, len(real) // 2, samples, seed, labels)
    networks = networks or gan.recipe.evaluation.networks
    return scorecard(real, fake, networks, gan.pretrained_sources(), seed=seed, subsamples=subsamples, fits=fits)


def quick_scores(
    gan: "GAN", real: Any, networks: Sequence[str], samples: int, labels: Any = None
) -> dict[str, dict[str, float | None]]:
    """What `score` gives over networks, by network and score, without the rest of a scorecard."""
    from ganzoo.metrics.scorecard import network_scores

    return network_scores(real, fakes(gan, len(real) // 2, samples, 0, labels), networks)


def fakes(gan: "GAN", most: int, samples: int | None, seed: int, labels: Any) -> Any:
    """Samples of the averaged generator, `samples` or what its recipe says, and no more than `most`.

    With `labels`, the classes of the real samples, the generated classes are as frequent as these.
    """
    count = max(min(samples or gan.recipe.evaluation.samples, most), 1)
    conditions = None
    if labels is not None:
        drawn = np.resize(np.random.default_rng(seed).permutation(len(labels)), count)
        conditions = {"class_id": np.asarray(labels)[drawn].astype("int32")}
    return gan.generate(count, seed=seed, conditions=conditions)


def remember(run: Path, gan: "GAN", card: "Scorecard") -> None:
    """Add a scorecard to the run's `scores.json` and write its report anew."""
    path = run / "scores.json"
    before = read_json(path, list) if path.is_file() else []
    before.append({"samples": gan.sample_count, "scorecard": card.to_dict()})
    write_json(path, before)
    write_report(run)
