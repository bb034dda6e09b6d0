"""Scores of an entry's or a run's generator on data."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ganzoo import presets, registry
from ganzoo.cache import read_json, write_json
from ganzoo.domains import get_domain
from ganzoo.report import write_report

if TYPE_CHECKING:
    from ganzoo.gan import GAN
    from ganzoo.metrics.scorecard import Scorecard


def evaluate(
    name: str,
    data: Any,
    samples: int | None = None,
    networks: Sequence[str] | None = None,
    seed: int = 0,
    subsamples: int = 0,
    width: float = 1.0,
) -> "Scorecard":
    """The scorecard of an entry's or a run's averaged generator; a run keeps it in `scores.json`.

    Args:
        name: an entry with published weights, or a run directory.
        data: real data, as for `ganzoo.train`.
        samples: at most so many generated samples; half as many as there are reals, at most.
        networks: feature networks, the recipe's by default.
        seed: of the samples and of the split of the reals.
        subsamples: over how many the scores' deviations are taken (2 or more), see `ganzoo.metrics.scorecard`.
        width: the share of the generator's channels, see `GAN.widths`; a run keeps the scores of the whole one alone.
    """
    gan = presets.load(name).at_width(width)
    classes = getattr(gan.recipe.model, "classes", None)
    real = get_domain(gan.recipe.domain).read(data, gan.recipe.data, bool(classes))
    labels = real.labels if classes and len(real.class_names) == classes else None
    card = score(gan, real.samples, samples, networks, seed, labels, subsamples)
    run = Path(name)
    if width == 1.0 and (run / registry.RUN_RECIPE).is_file() and (run / "checkpoints").is_dir():
        remember(run, gan, card)
    return card


def score(
    gan: "GAN",
    real: Any,
    samples: int | None = None,
    networks: Sequence[str] | None = None,
    seed: int = 0,
    labels: Any = None,
    subsamples: int = 0,
) -> "Scorecard":
    """The scorecard of a GAN's averaged generator against real samples in the domain's units.

    With `labels`, the classes of the reals, the generated classes are as frequent as the real ones; without, a
    conditional generator gives every class equally often.
    """
    from ganzoo.metrics.scorecard import scorecard

    fake = _fakes(gan, len(real) // 2, samples, seed, labels)
    networks = networks or gan.recipe.evaluation.networks
    return scorecard(real, fake, networks, gan.pretrained_sources(), seed=seed, subsamples=subsamples)


def quick_scores(
    gan: "GAN", real: Any, networks: Sequence[str], samples: int, labels: Any = None
) -> dict[str, dict[str, float | None]]:
    """What `score` gives over networks, by network and score, without the rest of a scorecard."""
    from ganzoo.metrics.scorecard import network_scores

    return network_scores(real, _fakes(gan, len(real) // 2, samples, 0, labels), networks)


def _fakes(gan: "GAN", most: int, samples: int | None, seed: int, labels: Any) -> Any:
    count = max(min(samples or gan.recipe.evaluation.samples, most), 1)
    conditions = None
    if labels is not None:
        drawn = np.random.default_rng(seed).permutation(len(labels))[:count]
        conditions = {"class_id": np.asarray(labels)[drawn].astype("int32")}
    return gan.generate(count, seed=seed, conditions=conditions)


def remember(run: Path, gan: "GAN", card: "Scorecard") -> None:
    """Add a scorecard to the run's `scores.json` and write its report anew."""
    path = run / "scores.json"
    before = read_json(path, list) if path.is_file() else []
    before.append({"samples": gan.sample_count, "scorecard": card.to_dict()})
    write_json(path, before)
    write_report(run)
