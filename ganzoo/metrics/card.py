"""The scorecard as an object: what `ganzoo.metrics.scorecard.scorecard` returns, as JSON and as text for a terminal."""

import math
import textwrap
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

BEST = {"fid": "lower", "kid": "lower", "precision": "higher", "recall": "higher", "density": "1", "coverage": "higher"}
TOO_FEW = "too few to tell"
_MOST_NEEDED = 100_000
SLICED = "sliced Wasserstein x1000"
ENOUGH = 10_000  # samples, for scores as in papers
FEW_FOR_PAPERS = (
    f"fewer than {ENOUGH:,} samples: FID is biased upwards. Compare with FIDs of as many samples and real images only."
)
WITH_CONTRAST = f"{SLICED}, with contrast"

EXPLAINED = {
    "sliced Wasserstein, with contrast": "how far colours, contrast and edges of generated patches are from those of "
    "real ones; 0 is best. Both sets are normalised by the real images",
    "sliced Wasserstein, without contrast": "the same, but each set is normalised by itself, so that contrast and "
    "overall colour play no part; 0 is best. If only the first is far from real vs real, contrast or colour is wrong",
    "variance ratio": "contrast of generated patches (variance) divided by that of real ones; below 1: too faint",
    "lattice": "regular patterns that upsampling leaves. Power: how far the spectrum rises at periods of 2, 4 and 8 "
    "pixels, compared with real images; well above 1: a lattice. Unevenness: how much edges prefer some columns or "
    "rows of a grid of 8 pixels; well above real vs real: a lattice",
    "+-": "half of the 95% interval of a score: with other samples, real images and fits it would lie within",
    "networks": "self_supervised was fitted to half of the real images; over several fits its scores are means, and "
    "the ranges are below them. random is a control with random weights: what it sees needs no training",
    "FID, KID": "how far the features of generated images, as a set, are from those of real ones; 0 is best",
    "precision": "share of generated images that lie among the real ones; low: many do not look real",
    "recall": "share of real images that lie among the generated ones; low: little variety",
    "density": "how many real images lie near a generated one, compared with a real one; 1 is best",
    "spread of the features": "variance of the features, divided by that of real images; low: samples are alike",
    "near-identical samples": "samples whose features are nearer to those of another sample than 99% of real images "
    "are to each other",
    "coverage": "share of real images that have a generated one nearby; low: parts of the data are left out",
}


class _Scores(BaseModel):
    """Scores with their floors, and what is known of their certainty."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    scores: dict[str, float | None]
    floor: dict[str, float | None]  # the same of real against real
    margins: dict[str, float] = {}  # half the 95% interval of score - floor; none in cards of earlier versions
    intervals: dict[str, float] = {}  # half the 95% interval of the score itself; none in cards of earlier versions

    def told(self, name: str) -> bool:
        """Whether the score can be told from its floor, see `ganzoo.metrics.margins`; True where it is not known."""
        score, floor, margin = self.scores.get(name), self.floor.get(name), self.margins.get(name)
        return None in (score, floor, margin) or abs(score - floor) > margin

    def needed(self, name: str, samples: int) -> int | None:
        """How many samples a difference of this size needs, where `samples` are too few; None: more than 100,000."""
        apart = abs(self.scores[name] - self.floor[name])
        found = samples * (self.margins[name] / max(apart, 1e-12)) ** 2
        return None if found > _MOST_NEEDED else math.ceil(found * (1 - 1e-9))

    def shown(self) -> dict[str, float | str | None]:
        """The scores, with `TOO_FEW` in place of those that cannot be told from their floor."""
        return {name: score if self.told(name) else TOO_FEW for name, score in self.scores.items()}

    def too_few(self, samples: int) -> str | None:
        """A line that says which scores cannot be told from real images, and how many samples that would need."""
        untold = [name for name in self.scores if not self.told(name)]
        if not untold:
            return None
        needs = {name: self.needed(name, samples) for name in untold}
        listed = (f"{label(name)} {'over 100,000' if count is None else f'{count:,}'}" for name, count in needs.items())
        return (
            f"{TOO_FEW}: {samples:,} samples do not tell these scores from those of real images. Samples that a "
            f"difference of this size needs, about: {', '.join(listed)}"
        )


class ImageScores(_Scores):
    """One kind of score over the images themselves, with no network; by level, frequency or direction."""

    best: str  # "lower", or "1"
    floors: dict[str, tuple[float, ...]] = {}  # over several splits of the real images, `floor` first


class Repeats(BaseModel):
    """How alike samples are in the features of a network, and how alike as many real images are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    spread: float  # variance of the features, divided by that of the real images; 1 is best
    spread_reals: float
    near: int | None  # samples nearer to another one than 99% of distinct real images are; None: all reals are equal
    near_reals: int | None


class Fit(BaseModel):
    """Scores over one of several fits of a network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int
    scores: dict[str, float | None]
    floor: dict[str, float | None]


class NetworkScores(_Scores):
    """Scores over the features of one network (fid, kid, precision, recall, density, coverage), and their worth."""

    family: str
    trained_on: str
    dim: int
    marks: tuple[str, ...] = ()  # why these scores flatter the generator; empty: no reason known
    fits: tuple[Fit, ...] = ()  # where there are several: `scores` and `floor` are their means
    repeats: Repeats | None = None  # None in cards of earlier versions
    deviations: dict[str, float | None] = {}  # standard deviations of the scores, where they were asked for
    reasons: dict[str, str] = {}  # why a score is None

    def range_over_fits(self, name: str) -> tuple[float, float] | None:
        """The lowest and the highest value of a score over the fits; None where there is one fit, or no score."""
        values = [fit.scores[name] for fit in self.fits]
        return None if None in values or len(values) < 2 else (min(values), max(values))


class PaperScores(BaseModel):
    """FID and KID as papers give them: over Inception-v3, of all samples against all real images, without a floor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    protocol: str  # the package that gives the same numbers
    fid: float
    kid: float  # not multiplied by 1,000
    reals: int
    samples: int
    marks: tuple[str, ...] = ()  # why these scores flatter the generator

    def lines(self) -> list[str]:
        """As text for a terminal."""
        lines = [f"Inception-v3, as {self.protocol} ({self.samples:,} samples, {self.reals:,} real images)"]
        lines += [line for mark in self.marks for line in _wrapped(mark, "  ! ")]
        return lines + [_row(name, value, None, "lower") for name, value in (("fid", self.fid), ("kid", self.kid))]


class Scorecard(BaseModel):
    """All scores of one set of generated images against one set of real ones; JSON-able.

    `images` holds the scores without a network that earlier versions did not have; cards of these versions lack them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sliced_wasserstein: dict[str, float]  # by level, and "average"; normalised by the reals: with contrast
    sliced_wasserstein_floor: dict[str, float]
    sliced_wasserstein_floors: tuple[float, ...] = ()  # the average's, over several splits, this one first
    sliced_wasserstein_deviation: dict[str, float] = {}  # standard deviations, where they were asked for
    sliced_wasserstein_margins: dict[str, float] = {}  # as `margins` of the other scores
    sliced_wasserstein_intervals: dict[str, float] = {}  # as `intervals` of the other scores
    images: tuple[ImageScores, ...] = ()
    networks: tuple[NetworkScores, ...]
    papers: tuple[PaperScores, ...] = ()  # where they were asked for
    fakes_given: int
    identical: int | None = None  # compared samples that equal an earlier one, byte for byte
    identical_reals: int | None = None  # the same of as many real images
    protocol: dict  # equal protocols: comparable numbers

    def to_dict(self) -> dict:
        """A dict of plain JSON types; `from_dict` reads it."""
        return self.model_dump(mode="json")

    @classmethod
    def from_dict(cls, content: Mapping) -> "Scorecard":
        """The scorecard that `to_dict` wrote, in this or an earlier version."""
        return cls.model_validate(dict(content))

    def without_network(self) -> list[ImageScores]:
        """All scores over the images themselves, the sliced Wasserstein distance with contrast first."""
        floors = {"average": self.sliced_wasserstein_floors} if self.sliced_wasserstein_floors else {}
        sliced = ImageScores(
            name=WITH_CONTRAST,
            best="lower",
            scores=self.sliced_wasserstein,
            floor=self.sliced_wasserstein_floor,
            floors=floors,
            margins=self.sliced_wasserstein_margins,
            intervals=self.sliced_wasserstein_intervals,
        )
        return [sliced, *self.images]

    def table(self) -> str:
        """The scorecard as text for a terminal, the sliced Wasserstein distance first."""
        protocol = self.protocol
        size = "x".join(str(number) for number in protocol["resolution"])
        lines = [f"{'':26}{'score':>15}{'+-':>10}{'real vs real':>15}   best"]
        for index, image in enumerate(self.without_network()):
            lines += _image_lines(image, self.sliced_wasserstein_deviation if index == 0 else {}, protocol["samples"])
        for network in self.networks:
            lines += _network_lines(network, protocol["samples"])
        for paper in self.papers:
            lines += paper.lines()
        lines += _wrapped(
            FEW_FOR_PAPERS if min([one.samples for one in self.papers], default=ENOUGH) < ENOUGH else None
        )
        lines += _wrapped(
            f"{protocol['samples']} samples on each side (given: {protocol['reals']} real and "
            f"{self.fakes_given} generated images), {size}, seed {protocol['seed']}",
            "",
        )
        if self.identical is not None:
            lines.append(
                f"identical to another sample: {self.identical} (of as many real images: {self.identical_reals})"
            )
        for name, entry in protocol["networks"].items():
            lines += _wrapped(f"resize for {name}: {entry['resize']}", "")
        lines += ["", "What the scores say ('real vs real': other real images, the best there can be)"]
        lines += [
            textwrap.fill(f"{name}: {text}", 80, initial_indent="  ", subsequent_indent="    ")
            for name, text in EXPLAINED.items()
        ]
        return "\n".join(lines)


def label(name: str) -> str:
    """The name of a row: levels are named by their size."""
    return f"level {name}" if name[:1].isdigit() else name


def average_first(names: Mapping[str, float]) -> list[str]:
    """Names in their order, except that the average leads."""
    return sorted(names, key=lambda name: name != "average")


def _image_lines(image: ImageScores, deviations: Mapping[str, float], samples: int) -> list[str]:
    lines, shown = [f"{image.name} (no network)"], image.shown()
    for name in average_first(image.scores):
        lines.append(_row(label(name), shown[name], image.floor[name], image.best, image.intervals.get(name)))
    for name, floors in image.floors.items():
        if name == "average" or "average" not in image.floors:
            lines.append(f"    real vs real over {len(floors)} splits, {name}: {min(floors):.4g} to {max(floors):.4g}")
    return lines + _wrapped(_deviations(shown, deviations)) + _wrapped(image.too_few(samples))


def _network_lines(network: NetworkScores, samples: int) -> list[str]:
    fits = f", mean of {len(network.fits)} fits" if network.fits else ""
    lines = [f"{network.name} ({network.dim} features, trained on {network.trained_on}{fits})"]
    lines += [line for mark in network.marks for line in _wrapped(mark, "  ! ")]
    shown, ranges = network.shown(), []
    for score, best in BEST.items():
        lines.append(_row(score, shown[score], network.floor[score], best, network.intervals.get(score)))
        over = network.range_over_fits(score) if network.told(score) else None
        ranges += [f"{score} {over[0]:.3g} to {over[1]:.3g}"] if over else []
    if repeats := network.repeats:
        lines.append(_row("spread of the features", repeats.spread, repeats.spread_reals, "1"))
        lines.append(_row("near-identical samples", repeats.near, repeats.near_reals, "lower"))
    lines += _wrapped(f"over {len(network.fits)} fits: {', '.join(ranges)}" if ranges else None)
    lines += _wrapped(_deviations(shown, network.deviations))
    lines += [line for reason in dict.fromkeys(network.reasons.values()) for line in _wrapped(reason)]
    return lines + _wrapped(network.too_few(samples))


def _deviations(shown: Mapping[str, float | str | None], deviations: Mapping[str, float | None]) -> str | None:
    """The standard deviations that were asked for, but of scores that are not told."""
    known = [
        f"{label(name)} {value:.2g}"
        for name, value in deviations.items()
        if value is not None and not isinstance(shown[name], str)
    ]
    return f"standard deviations: {', '.join(known)}" if known else None


def _wrapped(text: str | None, first: str = "    ") -> list[str]:
    return textwrap.wrap(text or "", 80, initial_indent=first, subsequent_indent="    ", break_on_hyphens=False)


def _row(name: str, score: float | str | None, floor: float | None, best: str, interval: float | None = None) -> str:
    cells = [
        "none" if value is None else value if isinstance(value, str) else f"{value:.5g}" for value in (score, floor)
    ]
    certain = "" if interval is None or score is None or isinstance(score, str) else f"{interval:.2g}"
    return f"  {name:22}{cells[0]:>17}{certain:>10}{cells[1]:>15}   {best}"
