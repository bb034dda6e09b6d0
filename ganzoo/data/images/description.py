"""What would be trained on: counts, sizes, classes, problems, duplicates, and a contact sheet."""

import dataclasses
import hashlib
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ganzoo.data.images import ImageOptions, load_images
from ganzoo.data.images.duplicates import twins
from ganzoo.data.images.image_files import Progress
from ganzoo.data.sample_set import SampleSet
from ganzoo.errors import DataError
from ganzoo.printing import printable

_LISTED = 30
_NAMED = 3  # groups of duplicates, and images of each


def _spread(values: list[float]) -> dict[str, float]:
    return {"min": min(values), "median": float(np.median(values)), "max": max(values)} if values else {}


def _wrapped(name: str, text: str, width: int, indent: int = 17) -> list[str]:
    """A fact's name and its text in lines of at most `width` columns."""
    lines = textwrap.wrap(text, max(width - indent - 1, 20), break_on_hyphens=False) or [""]
    return [f"{name:<{indent}} {lines[0]}", *(f"{'':<{indent}} {line}" for line in lines[1:])]


def count_duplicates(samples: np.ndarray) -> int:
    """How many samples equal an earlier one, value for value, as they would be trained on."""
    seen = {hashlib.blake2b(np.ascontiguousarray(sample), digest_size=16).digest() for sample in samples}
    return len(samples) - len(seen)


@dataclasses.dataclass(frozen=True)
class DataReport:
    """A description of a sample set of images.

    Attributes:
        source: what was read.
        count: readable images.
        shape: height, width and channels that are trained on.
        options: the options of the reading.
        widths, heights: smallest, median and largest of the originals, in pixels.
        aspect_ratios: width / height of the originals, likewise.
        modes: how many originals have each of Pillow's modes.
        classes: how many images each class has; empty without classes.
        duplicates: images that equal an earlier one exactly, after resizing.
        near_duplicates: images that look equal to an earlier one, but do not equal it: see
            `ganzoo.data.images.duplicates`.
        twins: the paths of some images that are equal or look equal, a list for each group; empty where paths are not
            known.
        problems: (path, reason) of each file that was skipped.
        notes: what else was noticed.
        fingerprint: the sha256 of samples and labels.
        sample_set: the samples themselves.
    """

    source: str
    count: int
    shape: tuple[int, ...]
    options: dict[str, Any]
    widths: dict[str, float]
    heights: dict[str, float]
    aspect_ratios: dict[str, float]
    modes: dict[str, int]
    classes: dict[str, int]
    duplicates: int
    near_duplicates: int
    twins: list[list[str]]
    problems: list[tuple[str, str]]
    notes: list[str]
    fingerprint: str
    sample_set: SampleSet = dataclasses.field(repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the samples, as plain JSON types."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del values["sample_set"]
        problems = [{"path": path, "reason": reason} for path, reason in self.problems]
        return values | {"shape": list(self.shape), "problems": problems}

    def table(self, width: int = 80) -> str:
        """The report as text of at most `width` columns; of many problems the first, and the count of each reason."""

        def spread(values: dict[str, float], form: str = ",.0f") -> str:
            return " / ".join(f"{value:{form}}" for value in values.values()) or "unknown"

        def counts(values: dict[str, int]) -> str:
            listed = list(values.items())[:_LISTED]
            more = f", ... ({len(values):,} in all)" if len(values) > _LISTED else ""
            return ", ".join(f"{printable(name)} ({count:,})" for name, count in listed) + more

        height, width_, channels = self.shape
        colour = "grey" if channels == 1 else "colour"
        fit, background = self.options["fit"], self.options["background"]
        classes = counts(self.classes)
        rows = [
            ("source", printable(self.source, 1000)),
            ("images", f"{self.count:,}"),
            ("trained on as", f"{width_} x {height}, {colour}, {fit}, background {background}"),
            ("original widths", f"{spread(self.widths)} (smallest / median / largest)"),
            ("original heights", spread(self.heights)),
            ("aspect ratios", spread(self.aspect_ratios, ".3g")),
            ("modes", counts(self.modes)),
            ("classes", f"{len(self.classes):,}: {classes}" if classes else "none"),
            ("exact duplicates", f"{self.duplicates:,}"),
            ("near duplicates", f"{self.near_duplicates:,} more look equal to an earlier image"),
            *(("for example", ", ".join(printable(path) for path in group)) for group in self.twins),
            *(("note", printable(note, 4000)) for note in self.notes),
            ("skipped", f"{len(self.problems):,}"),
        ]
        lines = [line for name, text in rows for line in _wrapped(name, text, width)]
        if len(self.problems) > _LISTED:
            reasons = Counter(reason.split(" (")[0] for _, reason in self.problems)
            lines += [f"  {count:,} x {reason}" for reason, count in reasons.most_common(_LISTED)]
        for path, reason in self.problems[:_LISTED]:
            lines += [f" {line}" for line in textwrap.wrap(f" {path}: {reason}", width - 1, subsequent_indent="   ")]
        if len(self.problems) > _LISTED:
            lines.append(f"  ... and {len(self.problems) - _LISTED:,} more")
        return "\n".join(lines)

    def contact_sheet(self, path: str | Path, count: int = 64) -> Path:
        """Writes a PNG of up to `count` images, evenly taken, just as they would be trained on; returns its path.

        They are in the order of their classes. A class whose name no installed font can draw is shown as "class 4".
        """
        from ganzoo.data.images.image_grid import font_for, save_grid

        chosen = np.unique(np.linspace(0, self.count - 1, min(count, self.count)).round().astype(int))
        labels, names = self.sample_set.labels, self.sample_set.class_names
        texts = None
        if labels is not None:
            chosen = chosen[np.argsort(labels[chosen], kind="stable")]
            shown = [name if font_for([name])[1] else f"class {number}" for number, name in enumerate(names)]
            texts = [shown[label] for label in labels[chosen]]
        return save_grid(path, self.sample_set.samples[chosen], labels=texts)


def describe_data(data: object, options: ImageOptions | None = None, progress: Progress | None = None) -> DataReport:
    """Reads images as a training would, and says what it found.

    Args:
        data: anything that `ganzoo.data.images.load_images` takes, or a `SampleSet` that is read already.
        options: the form in which they would be trained on; 64 x 64 in colour unless given.
        progress: is called with (done, all) now and then.

    Raises:
        DataError: nothing readable is there, or the samples are no images.
    """
    options = options or ImageOptions()
    found = data if isinstance(data, SampleSet) else load_images(data, options, progress)
    if not isinstance(found.samples, np.ndarray) or found.samples.ndim != 4:
        raise DataError(f"Only images are described, uint8 (N, H, W, C). {found.source} holds other samples.")
    originals = found.originals
    groups, named = twins(found.samples), bool(originals and originals[0].path)
    duplicates = count_duplicates(found.samples)
    return DataReport(
        source=found.source,
        count=len(found),
        shape=tuple(found.samples.shape[1:]),
        options=dataclasses.asdict(options),
        widths=_spread([original.width for original in originals]),
        heights=_spread([original.height for original in originals]),
        aspect_ratios=_spread([original.width / original.height for original in originals]),
        modes=dict(Counter(original.mode for original in originals).most_common()),
        classes=found.class_counts,
        duplicates=duplicates,
        near_duplicates=sum(len(group) - 1 for group in groups) - duplicates,
        twins=[[originals[one].path for one in group[:_NAMED]] for group in groups[:_NAMED] if named],
        problems=[tuple(problem) for problem in found.problems],
        notes=list(found.notes),
        fingerprint=found.fingerprint,
        sample_set=found,
    )
