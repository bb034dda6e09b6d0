"""How good exported files still are: their FID over the same latents, and whether the generator copies images."""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo import progress
from ganzoo.core.gan import GAN
from ganzoo.domains import get_domain
from ganzoo.errors import EvaluationError, ExportError, GanzooError
from ganzoo.metrics import real_set
from ganzoo.metrics.neighbours import nearest
from ganzoo.metrics.real_set import Closest, RealSet
from ganzoo.runs.evaluate import read_reals
from ganzoo.runs.kept_data import described, run_of
from ganzoo.weights import preset_files

from .generator import Generator
from .reference import draw_inputs, one_by_one

_MOST_REALS = 20_000
_PAIRS = 8
_NEW = 0.1  # of new samples, the share that is close: a tenth of the training images are so close to another one
_WARN_ABOVE = 0.3  # from this share on
# Measured (tests/benchmarks/neighbour_samples.md): with fewer training images blobs had a share of up to 0.48, from 500
# on of 0.02 at most. Copies have a share of 1 whatever the number, so they are reported anyway.
FEWEST_TRAINED, _COPIES = 500, 0.9

log = logging.getLogger("ganzoo")


def find_reals(gan: GAN, name: str | None, data: Any = None, split: str | None = None) -> RealSet | None:
    """The real samples that an export is judged by: of `data`, of a run's own data, or those of a preset.

    Args:
        gan: what is exported.
        name: the entry, run or preset that it came from, if any.
        data: as for `ganzoo.train`.
        split: the part of the data that is read; the recipe's `data.split` by default.

    Returns:
        None where nothing is given and none is kept.
    """
    domain = get_domain(gan.recipe.domain)
    if not hasattr(domain, "real_set"):
        if data is not None:
            raise ExportError(f"No real samples judge exports of the domain '{gan.recipe.domain}': leave --data out.")
        return None
    if data is not None:
        return domain.real_set(read_reals(gan, data, split).samples, _MOST_REALS)
    if name is None:
        return None
    known = described(run_of(Path(name)))
    if known.get("given"):
        try:
            found = read_reals(gan, known["given"], split)
            reals = domain.real_set(found.samples, _MOST_REALS)
        except GanzooError as error:  # no longer there, or too few
            log.warning("The export is judged without real samples: %s Give --data.", error)
            return None
        if split is None and known.get("count") not in (None, len(found)):
            log.warning("%s has %d samples now, %d when the run read it.", known["given"], len(found), known["count"])
        return reals
    kept = real_set.load(preset_files.weights_file(name).parent)
    if kept is not None or not (gan.recipe.distillation and gan.recipe.distillation.alone):
        return kept
    try:  # by those of the teacher
        return find_reals(gan, gan.recipe.distillation.teacher)
    except GanzooError as error:
        log.warning("The export is judged without real samples: %s Give --data.", error)
        return None


@dataclass(frozen=True)
class Judge:
    """The FID of a generator's files over the same latents.

    Attributes:
        generator: what is exported.
        reals: what the distance is taken to.
        count: of latents.
    """

    generator: Generator
    reals: RealSet
    count: int

    @cached_property
    def inputs(self) -> dict[str, np.ndarray]:
        """Latents, every class in turn."""
        return draw_inputs(self.generator, self.count)

    @cached_property
    def images(self) -> np.ndarray:
        """Keras' samples, uint8."""
        return self._images(self.generator.samples(self.inputs))

    @cached_property
    def features(self) -> np.ndarray:
        """Of Keras' samples."""
        return self.reals.features_of(self.images)

    @cached_property
    def fid(self) -> float:
        """Of Keras' samples."""
        return self.reals.fid(self.features)

    @cached_property
    def closest(self) -> Closest:
        """See `RealSet.closest`, of Keras' samples."""
        return self.reals.closest(self.images, self.features)

    def fid_of(self, run: Callable[[Mapping[str, np.ndarray]], np.ndarray]) -> float:
        """The FID of a file that takes batches of one."""
        each = progress.each(one_by_one(self.inputs), "Scoring the file (FID)", self.count)
        made = np.concatenate([run(one) for one in each])
        return self.reals.fid(self._images(made))

    def memorised(self) -> dict[str, Any]:
        """What share of the samples is close to a training image, what it would be of new ones, and a warning.

        Returns:
            `samples` (that were judged; 0 where all training images are alike), `training_samples`, `variants`
            (whether shifted, mirrored and slightly blurred copies are found as well), `closer_share` (None where it is
            withheld: where all training images are alike; or with fewer training images than `FEWEST_TRAINED`, where
            bad samples that copy nothing can have a share of up to a half), `reason` (why it is withheld, or None),
            `expected_share` (of new samples), `expected_range` (between which it is for new samples in 95% of cases),
            `warning` (or None).
        """
        trained = len(self.reals.features)
        found: dict[str, Any] = {
            "samples": 0,
            "training_samples": trained,
            "variants": self.reals.with_variants,
            "closer_share": None,
            "reason": None,
            "expected_share": _NEW,
            "expected_range": _expected_range(self.count, trained),
            "warning": None,
        }
        try:
            closest = self.closest
        except EvaluationError as error:
            return found | {"reason": str(error), "warning": str(error)}
        share, judged = closest.share, len(closest.close)
        found |= {"samples": judged, "expected_range": _expected_range(judged, trained)}
        if trained < FEWEST_TRAINED and share < _COPIES:
            reason = (
                f"{trained} training images are too few to tell copies from other samples: {FEWEST_TRAINED} are "
                "needed. See the closest pairs."
            )
            return found | {"reason": reason}
        if share > _WARN_ABOVE:
            found["warning"] = (
                f"{share:.0%} of the samples are as close to a training image as only a tenth of the training images "
                f"are to each other. Of new samples, {found['expected_range'][0]:.0%} to "
                f"{found['expected_range'][1]:.0%} are. The generator may have memorised training images. See the "
                "closest pairs; train it on more images, for a shorter time, or with more augmentation."
            )
        return found | {"closer_share": share}

    def draw_closest(self, path: Path) -> bool:
        """Write the closest pairs as an image, samples above the nearest training images; False if there are none."""
        if self.reals.images is None:
            return False
        try:
            distances, indices = self.closest.distances, self.closest.indices
        except EvaluationError:  # all training images are alike
            distances, indices = nearest(self.reals.features, self.features)
        chosen: dict[int, int] = {}
        for sample in np.argsort(distances):
            chosen.setdefault(int(indices[sample]), int(sample))  # each training image once
            if len(chosen) == _PAIRS:
                break
        reals = self.reals.images[list(chosen)]
        fakes = self.images[list(chosen.values())]
        domain = get_domain(self.generator.gan.recipe.domain)
        domain.save_grid(path, np.concatenate([fakes, reals]), len(chosen))
        return True

    def _images(self, samples: np.ndarray) -> np.ndarray:
        return get_domain(self.generator.gan.recipe.domain).from_unit(samples)


def _expected_range(samples: int, trained: int) -> list[float]:
    """The share of close ones among new samples, in 95% of cases."""
    spread = 2.0 * math.sqrt(_NEW * (1 - _NEW) * (1 / samples + 1 / trained))
    return [round(max(_NEW - spread, 0.0), 3), round(_NEW + spread, 3)]


def refuse_if_memorised(found: Mapping[str, Any], within: float | None) -> None:
    """Raises `ExportError` where the recipe's `export.memorised_within` is exceeded by a share that is not withheld.

    It is also raised where the recipe has that key and no sample could be judged.
    """
    share = found["closer_share"]
    if within is not None and not found["samples"]:
        raise ExportError(
            f"The export is refused, as the recipe limits copies (export.memorised_within: {within:.0%}) and none can "
            f"be judged. {found['reason']} Or set that key to null."
        )
    if within is not None and share is not None and share > within:
        raise ExportError(
            f"The export is refused: {share:.0%} of the samples are as close to a training image as only a tenth of "
            f"the training images are to each other. Allowed by the recipe: {within:.0%} (export.memorised_within). "
            "Train on more images or for a shorter time, or raise that key."
        )
