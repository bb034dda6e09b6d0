"""What every reader returns: the samples in memory or on disk, their labels, and what went wrong on the way."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

_HASHED_AT_ONCE = 64 * 2**20


class Problem(NamedTuple):
    """A file that was skipped (its path inside the data), and why."""

    path: str
    reason: str


class Original(NamedTuple):
    """An image as it was found: its path inside the data, width and height in pixels, Pillow's mode."""

    path: str
    width: int
    height: int
    mode: str


@dataclass(frozen=True, eq=False)
class SampleSet:
    """Samples that are read and ready for training.

    Attributes:
        samples: images are uint8 (N, H, W, C), in memory or memory-mapped; other domains may hold a dict of arrays
            that agree in N.
        labels: int32 (N,), or None where there are no classes.
        class_names: the name of each label; empty without classes.
        problems: what was skipped, with the reason.
        source: where the samples come from, in words.
        notes: what the log should say about the reading.
        originals: one for each sample, where known: size and mode before anything was changed.
    """

    samples: np.ndarray | dict[str, np.ndarray]
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    problems: list[Problem] = field(default_factory=list)
    source: str = ""
    notes: tuple[str, ...] = ()
    originals: tuple[Original, ...] = ()

    def __len__(self) -> int:
        return len(next(self._leaves())[1])

    def _leaves(self) -> Iterator[tuple[str, np.ndarray]]:
        leaves = self.samples if isinstance(self.samples, dict) else {"": self.samples}
        yield from sorted(leaves.items())

    def some(self, count: int) -> np.ndarray | dict[str, np.ndarray]:
        """So many samples, or all where there are fewer: always the same random choice of them, in its order."""
        chosen = np.random.default_rng(0).permutation(len(self))[:count]
        if isinstance(self.samples, dict):
            return {name: np.asarray(leaf[chosen]) for name, leaf in self.samples.items()}
        return np.asarray(self.samples[chosen])

    def subset(self, indices: np.ndarray, note: str) -> "SampleSet":
        """The samples of these indices (M,), in memory, with a note of what was left out; itself if all are taken."""
        if len(indices) == len(self):
            return self
        leaves = {name: np.asarray(leaf[indices]) for name, leaf in self._leaves()}
        return replace(
            self,
            samples=leaves if isinstance(self.samples, dict) else leaves[""],
            labels=None if self.labels is None else self.labels[indices],
            notes=(*self.notes, note),
            originals=tuple(self.originals[index] for index in indices) if self.originals else (),
        )

    @cached_property
    def fingerprint(self) -> str:
        """The sha256 of samples and labels: computed once, when asked for."""
        if self.labels is None:
            return self.samples_fingerprint
        return hashlib.sha256(f"{self.samples_fingerprint}|{_hash([('labels', self.labels)])}".encode()).hexdigest()

    @cached_property
    def samples_fingerprint(self) -> str:
        """The sha256 of the samples alone, with their names, shapes and types."""
        return _hash(self._leaves())

    @property
    def class_counts(self) -> dict[str, int]:
        """How many samples each class has, by its name; empty without classes."""
        if self.labels is None:
            return {}
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        return dict(zip(self.class_names, counts.tolist(), strict=True))


def _hash(leaves: Iterable[tuple[str, np.ndarray]]) -> str:
    digest = hashlib.sha256()
    for name, leaf in leaves:
        digest.update(f"{name}|{leaf.dtype.str}|{leaf.shape}\n".encode())
        rows = max(1, _HASHED_AT_ONCE // max(1, leaf[:1].nbytes))
        for start in range(0, len(leaf), rows):
            digest.update(np.ascontiguousarray(leaf[start : start + rows]).data)
    return digest.hexdigest()
