"""Scores that see a lattice: the regular pattern that upsampling layers leave in generated images.

Transposed convolutions and sub-pixel layers repeat their errors every 2, 4 or 8 pixels (Odena et al. 2016,
"Deconvolution and checkerboard artifacts", https://distill.pub/2016/deconv-checkerboard), which shows as peaks of the
power spectrum at these frequencies (Durall et al. 2020, "Watch your up-convolution", https://arxiv.org/abs/2003.01826).

spectrum:  peak(p) = exp(mean over images, rows and columns of log(P(1/p) / neighbours' P)),  P the power of one row or
           column, neighbours' P the geometric mean of the two frequencies beside 1/p; score = peak(p) of the generated
           images / peak(p) of the real ones
gradient:  profile(c) = mean |x(c + 1) - x(c)| for c modulo 8, less its mean over 8 neighbouring columns, divided by the
           mean over all columns; score = 100 * root mean square over c of (profile of the generated - of the real ones)

A peak is relative to its neighbours, so that neither blur nor contrast nor noise counts. Logarithms are taken row by
row, so that plain rows, where a lattice is seen best, count as much as rows full of edges. The spectrum also sees
a lattice whose sign or phase changes between images, but only its own periods; the gradient sees every pattern that is
fixed to a grid of 8 pixels.
"""

import dataclasses

import numpy as np

from ganzoo.metrics.arrays import check_images

PERIODS = (2, 4, 8)  # pixels
_GRID = 8
_NOISE = 1.0  # variance, in steps of 255: rows without content have no peaks
_AXES = {"columns": 2, "rows": 1}
_AT_ONCE = 256


@dataclasses.dataclass(frozen=True)
class Regularity:
    """What the scores need of each of N images.

    Attributes:
        peaks: log of the peaks at `PERIODS`, (N, 3), the mean over rows and columns.
        gradients: mean absolute gradient across "columns" (N, W - 1) and "rows" (N, H - 1).
    """

    peaks: np.ndarray
    gradients: dict[str, np.ndarray]

    def of(self, chosen: np.ndarray) -> "Regularity":
        """That of some of the images, by their indices."""
        return Regularity(self.peaks[chosen], {name: rows[chosen] for name, rows in self.gradients.items()})


def regularity(images: np.ndarray) -> Regularity:
    """The statistics of uint8 images N x H x W x 1 or 3, 8 pixels or more a side; colours are averaged."""
    images = check_images(images)
    parts = []
    for start in range(0, len(images), _AT_ONCE):
        grey = images[start : start + _AT_ONCE].mean(axis=3, dtype=np.float32)
        peaks = np.mean([_log_peaks(grey, axis) for axis in _AXES.values()], axis=0)
        gradients = {name: np.abs(np.diff(grey, axis=axis)).mean(axis=3 - axis) for name, axis in _AXES.items()}
        parts.append((peaks, gradients))
    together = {name: np.concatenate([gradients[name] for _, gradients in parts]) for name in _AXES}
    return Regularity(np.concatenate([peaks for peaks, _ in parts]), together)


def spectrum_scores(real: Regularity, fake: Regularity) -> dict[str, float]:
    """`{"period 2": ratio, "period 4": ..., "period 8": ...}`: 1 is best, above 1 there is a lattice of that period.

    A ratio below 1 means that the real images have such a pattern (as from JPEG blocks) and the generated ones less.
    """
    ratios = np.exp(fake.peaks.mean(axis=0) - real.peaks.mean(axis=0))
    return {f"period {period}": float(ratio) for period, ratio in zip(PERIODS, ratios, strict=True)}


def gradient_scores(real: Regularity, fake: Regularity) -> dict[str, float]:
    """`{"columns": unevenness, "rows": unevenness}` in percent of the mean gradient; 0 is best.

    A finite sample's unevenness is above 0: compare it with real against real.
    """
    found = {}
    for name in _AXES:
        apart = _profile(fake.gradients[name]) - _profile(real.gradients[name])
        found[name] = 100.0 * float(np.sqrt(np.mean(apart**2)))
    return found


def _log_peaks(grey: np.ndarray, axis: int) -> np.ndarray:
    """(N, periods): log power at each period above that of the two neighbouring frequencies, mean over all lines.

    Lines are cut to a multiple of 8 pixels, so that each period falls on a frequency of the transform.
    """
    lines = np.moveaxis(grey, axis, 2)
    length = lines.shape[2] // _GRID * _GRID
    first = (lines.shape[2] - length) // 2
    spectrum = np.abs(np.fft.rfft(lines[:, :, first : first + length], axis=2)) ** 2
    power = np.log(spectrum + _NOISE * length)
    peaks = []
    for period in PERIODS:
        place = length // period
        beside = [power[..., near] for near in (place - 1, place + 1) if near < power.shape[2]]
        peaks.append((power[..., place] - np.mean(beside, axis=0)).mean(axis=1))
    return np.stack(peaks, axis=1)


def _profile(gradients: np.ndarray) -> np.ndarray:
    """(8,): the mean gradient by place modulo 8, without what changes slowly over places, in units of the mean."""
    from scipy import ndimage

    by_place = gradients.mean(axis=0, dtype=np.float64)
    window = np.r_[0.5, np.ones(_GRID - 1), 0.5] / _GRID
    above = by_place - ndimage.correlate1d(by_place, window, mode="mirror")
    means = np.array([above[place::_GRID].mean() if place < len(above) else 0.0 for place in range(_GRID)])
    return means / max(float(by_place.mean()), 1e-6)
