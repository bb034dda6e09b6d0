"""`ganzoo bench scores`: the scores themselves are measured, on images that are worse by a known amount.

For each set of images: which score sees which damage, from which strength on (`ganzoo.metrics.sensitivity`); and how
far each score of a generator spreads over latents, real images and fits (`ganzoo.metrics.spread`).
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ganzoo import progress
from ganzoo.data.images.duplicates import without_twins
from ganzoo.domains import get_domain
from ganzoo.errors import DataError, RecipeError, unknown_name
from ganzoo.files.reading import read_json
from ganzoo.files.writing import write_json, write_text
from ganzoo.metrics.arrays import canonical_order, content_hash
from ganzoo.metrics.judge import Judge, Remembered, best_of
from ganzoo.metrics.networks.feature_networks import feature_network
from ganzoo.metrics.real_set import real_set
from ganzoo.metrics.scorecard import SCORING_VERSION
from ganzoo.metrics.sensitivity import DAMAGES, Damage, Pool, Unsuitable, modes_of, verdict
from ganzoo.metrics.spread import spread_at, summary
from ganzoo.recipes import entries
from ganzoo.reports import scores_study
from ganzoo.runs.class_names import labels_for
from ganzoo.runs.evaluate import fakes
from ganzoo.zoo.load import load

log = logging.getLogger("ganzoo")

NAME, SUMMARY = "scores", "Which score sees which damage of images, and how far each score spreads"
RESULTS, TABLES = "results.json", "results.md"
REAL_IMAGES = "real images"  # in place of an entry: other real images are taken as samples
NETWORKS = ("self_supervised", "random", "squeezenet")
COUNTS = (50, 100, 250, 500, 1_000, 2_000)
DEFAULT_DATA = {"digits": "mnist5k"}
_SOURCES = {"mnist5k": "image/wgan_gp_32"}
_OTHER_SOURCE = "image/projected_mobile_64"
_LEAST = 50  # images on each side
_BLOCK = 500  # samples of one seed
_CLOSE_OF = 100  # samples that are compared with the training images


class Plan(NamedTuple):
    """How much is measured.

    Attributes:
        samples: images of each damaged set; fewer where a set is small.
        fits: of the self-supervised network.
        draws: at the largest number of samples, of samples and real images; up to three times as many at smaller ones.
        counts: numbers of samples for which the spread is taken.
        networks: the feature networks.
        seed: of everything that is random.
    """

    samples: int = 250
    fits: int = 3
    draws: int = 4
    counts: tuple[int, ...] = COUNTS
    networks: tuple[str, ...] = NETWORKS
    seed: int = 0

    def draws_of(self, count: int) -> int:
        """How many draws of `count` samples are taken."""
        return int(np.clip(self.draws * 500 // count, self.draws, 3 * self.draws))


def bench_scores(
    out: str | Path,
    data: Mapping[str, Any] | None = None,
    *,
    sources: Mapping[str, str] | None = None,
    damages: Sequence[str] | None = None,
    plan: Plan | None = None,
) -> dict[str, Any]:
    """Measure the scores, or continue; what is done is kept.

    Args:
        out: a folder for `results.json` (all values), `results.md` (tables) and `damages_SET.png` (what was judged).
        data: images by names of their own; the digits that ship with ganzoo by default.
        sources: by the names of the sets, the entry or run whose samples' spread is measured, and in whose size the
            images are read: `image/wgan_gp_32` for the digits, `image/projected_mobile_64` for others.
        damages: some of the damages, by name; all by default.
        plan: how much is measured.

    Returns:
        What is in `results.json`.

    Raises:
        RecipeError: an unknown damage or set, or results in `out` that were measured under other conditions.
        DataError: a set has too few images.
    """
    data, plan = dict(data or DEFAULT_DATA), plan or Plan()
    known = [damage.name for damage in DAMAGES]
    for name in damages or ():
        if name not in known:
            raise RecipeError(unknown_name("damage", name, known))
    if unused := sorted(set(sources or ()) - set(data)):
        raise RecipeError(f"A source is given for {', '.join(unused)}, but no data. Give --data for it too.")
    out = Path(out)
    path = out / RESULTS
    results = read_json(path, dict) if path.is_file() else {"sets": {}}
    chosen = [damage for damage in DAMAGES if not damages or damage.name in damages]
    sets = [
        _Set(name, source, (sources or {}).get(name) or _SOURCES.get(str(source), _OTHER_SOURCE), plan, results, out)
        for name, source in data.items()
    ]
    for one in sets:
        one.measure_damages(chosen)
    for one in sets:
        one.measure_spread()
    return results


class _Set:
    """One set of images, and what was measured on it."""

    def __init__(self, name: str, data: Any, source: str, plan: Plan, results: dict[str, Any], out: Path):
        self._name, self._source, self._plan, self._results, self._out = name, source, plan, results, out
        self._made: list[np.ndarray] = []  # samples, a block for each seed
        recipe = entries.get_entry(source).recipe()
        found = get_domain(recipe.domain).read(data, recipe.data, True)
        kept = without_twins(found.samples)
        self._found = found
        self._kept = kept[canonical_order(found.samples[kept])]
        self._images = found.samples[self._kept]
        wanted = {
            "images": len(self._images),
            "images_sha256": content_hash(self._images)[:16],
            "size": list(self._images.shape[1:]),
            "source": source,
            "plan": {key: value for key, value in plan._asdict().items() if key != "counts"},
            "scoring_version": SCORING_VERSION,
        }
        wanted = {key: list(value) if isinstance(value, tuple) else value for key, value in wanted.items()}
        wanted["plan"]["networks"] = list(plan.networks)
        self._kept_results = results["sets"].setdefault(name, {"conditions": wanted, "damages": {}, "spread": {}})
        different = [key for key in wanted if self._kept_results["conditions"].get(key) != wanted[key]]
        if different:
            raise RecipeError(
                f"{out / RESULTS} has results of '{name}' that were measured under other conditions "
                f"({', '.join(different)}). Name another --out."
            )

    def _keep(self) -> None:
        self._out.mkdir(parents=True, exist_ok=True)
        write_json(self._out / RESULTS, self._results, indent=None)
        write_text(self._out / TABLES, scores_study.tables(self._results))

    def _parts(self) -> tuple[np.ndarray, np.ndarray, Pool]:
        """Training images, other real images, and the held-out ones that are damaged: no image is in two of them."""
        total = len(self._images)
        count = min(self._plan.samples, total // 4)
        if count < _LEAST:
            raise DataError(
                f"A study of scores needs {4 * _LEAST} different images or more. Received: {total} of '{self._name}'."
            )
        order = np.random.default_rng(self._plan.seed).permutation(total)
        side = total // 4
        one, other, rest = order[:side], order[side : side + count], order[2 * side :]
        labels = None if self._found.labels is None else np.asarray(self._found.labels)[self._kept][rest]
        held_out = self._images[rest]
        modes = modes_of(held_out, labels, self._plan.seed)
        pool = Pool(held_out, count, self._images[one], modes, self._plan.seed)
        return pool.training, self._images[other], pool

    def measure_damages(self, damages: Sequence[Damage]) -> None:
        """Which score sees what; what is measured is kept."""
        missing = [damage for damage in damages if damage.name not in self._kept_results["damages"]]
        if not missing:
            return
        training, other, pool = self._parts()
        scores_study.sheet(self._out / f"damages_{self._name}.png", pool, DAMAGES)
        judge = Judge(
            training[: pool.count],
            other,
            self._networks,
            real_set(training),
            self._plan.seed,
            min(_CLOSE_OF, pool.count),
        )
        untouched = {score: _rounded(one) for score, one in judge.scores(pool.images[: pool.count]).items()}
        self._kept_results |= {"samples": pool.count, "training_images": len(training), "untouched": untouched}
        for damage in progress.each(missing, f"Damaging images ({self._name})", len(missing)):
            self._kept_results["damages"][damage.name] = self._judged(damage, pool, judge)
            self._keep()

    def _judged(self, damage: Damage, pool: Pool, judge: Judge) -> dict[str, Any]:
        """The scores at each strength, and what each score sees."""
        strengths, rows, skipped = [0.0], [self._kept_results["untouched"]], {}
        for strength in damage.strengths[1:]:
            try:
                found = judge.scores(damage(pool, strength))
            except Unsuitable as reason:
                skipped[f"{strength:g}"] = str(reason)
                continue
            strengths.append(strength)
            rows.append({score: _rounded(one) for score, one in found.items()})
        verdicts = {
            score: verdict(strengths, [scores_study.measured(row[score]) for row in rows], best_of(score))._asdict()
            for score in rows[0]
        }
        return {
            "unit": damage.unit,
            "strengths": strengths,
            "skipped": skipped,
            "scores": {score: [row[score] for row in rows[1:]] for score in rows[0]},
            "verdicts": verdicts,
        }

    @cached_property
    def _networks(self) -> dict[str, list[Remembered]]:
        """The networks, fitted to the training images of `_parts`, in as many fits as each has."""
        training, fits = self._parts()[0], self._plan.fits
        return {
            name: [
                Remembered(feature_network(name, training, fit)) for fit in range(fits if name == NETWORKS[0] else 1)
            ]
            for name in self._plan.networks
        }

    def measure_spread(self) -> None:
        """The spread of the source's scores, and of those of other real images taken as samples."""
        done, total = self._kept_results["spread"], len(self._images)
        wanted = {self._source: total // 2, REAL_IMAGES: total // 3}
        missing = [
            (kind, count)
            for kind, most in wanted.items()
            for count in self._plan.counts
            if count <= most and str(count) not in done.get(kind, {})
        ]
        if not missing:
            return
        for kind, count in progress.each(missing, f"Drawing samples anew ({self._name})", len(missing)):
            draws = self._plan.draws_of(count)
            given = None if kind == REAL_IMAGES else self._samples(draws, count)
            values = spread_at(self._images, given, self._networks, count, draws, self._plan.seed)
            found = {score: summary(one) for score, one in values.items()}
            done.setdefault(kind, {})[str(count)] = {
                score: {key: _rounded(value) for key, value in one.items()} | {"draws": draws}
                for score, one in found.items()
            }
            self._keep()

    def _samples(self, draws: int, count: int) -> np.ndarray:
        """`draws` sets of `count` samples of the source, (draws, count, height, width, channels)."""
        while len(self._made) * _BLOCK < draws * count:
            seed = self._plan.seed + len(self._made)
            self._made.append(fakes(self._gan, _BLOCK, _BLOCK, seed, labels_for(self._gan, self._found)))
        made = np.concatenate(self._made)[: draws * count]
        return made.reshape(draws, count, *made.shape[1:])

    @cached_property
    def _gan(self) -> Any:
        return load(self._source)


def _rounded(value: Any) -> Any:
    """Numbers to six digits: more would be noise in a committed file."""
    if isinstance(value, tuple | list):
        return [_rounded(one) for one in value]
    return float(f"{value:.6g}")
