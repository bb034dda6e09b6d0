"""Which operators of an int8 file stay in float, and which file `auto` takes."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from .quantize import Operator, Quantizer
from .reference import Reference

ROUNDS = 9  # of timing: the interval without its two extremes has a coverage of 1 - 2 * (1 + 9) / 2**9 = 0.96
_ROUND_SECONDS = 0.04  # for each file
_WORTHWHILE = 0.95  # of the other file's time: a smaller gain is not worth rounding
_FLOATS = ("float32", "float16")
RULE = (
    f"How it was chosen: all files are timed in turn, in {ROUNDS} rounds. Beside the median of the rounds' ratios is "
    "their interval without the two extremes (96% of such intervals hold the true median). An 8-bit file is taken only "
    "if it is faster than the float file beyond noise: the interval is below 1, and the median is "
    f"{_WORTHWHILE:g} or less. Of those the fastest is taken; of files level with it within noise, the smallest."
)
_KEPT = (1, 2, 4, 8, 12, 16, 24, 32)  # so many operators in float are tried, those with the largest errors


def int8_with_floats(
    quantizer: Quantizer, reference: Reference, error: Callable[[bytes], float], allowed: float
) -> tuple[bytes, dict[str, Any]]:
    """The int8 file with the fewest operators in float whose error is allowed, or else the one with the least error.

    Args:
        quantizer: of the float file.
        reference: over whose inputs each operator's share of the error is measured.
        error: what is to be at most `allowed`, of a file's content.
        allowed: the limit.

    Returns:
        The content; and, for the card, `passed`, `error`, and of the operators in float their layer, kind and share of
        the error.
    """
    content = quantizer.int8()
    least, kept, shares = error(content), [], {}
    if least > allowed:
        shares = quantizer.error_shares(reference)
    harmful = list(shares)
    for count in dict.fromkeys(min(count, len(harmful)) for count in _KEPT):
        if least <= allowed:
            break
        tried = quantizer.int8(harmful[:count])
        if (found := error(tried)) < least:
            least, kept, content = found, harmful[:count], tried
    in_float = [_listed(one, shares[one]) for one in kept]
    return content, {"passed": least <= allowed, "error": least, "in_float": in_float}


def time_in_rounds(runs: Mapping[str, Callable[[], Any]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Times of several files that can be compared: measured in turn, round after round, so that noise meets all alike.

    Args:
        runs: by the name of each file, what runs it once.
        rounds: of each file; every second round goes through them in reverse.

    Returns:
        Milliseconds by name, one number for each round: the minimum of three or more invocations in a row.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            runs[name]()  # the caches hold the file that ran before
            spent: list[float] = []
            while len(spent) < 3 or sum(spent) < _ROUND_SECONDS:
                began = time.perf_counter()
                runs[name]()
                spent.append(time.perf_counter() - began)
            times[name].append(1000 * min(spent))
    return times


def ratio(times: Sequence[float], others: Sequence[float]) -> tuple[float, float, float]:
    """The ratio of two files' times: lower end of its interval, median, upper end.

    Of the ratios of the single rounds the smallest and the greatest are left out; the others span the interval. Over
    nine rounds it holds the true median with a probability of 96%, whatever the distribution of the noise.
    """
    ratios = sorted(one / other for one, other in zip(times, others, strict=True))
    return ratios[1], float(np.median(ratios)), ratios[-2]


def faster(times: Sequence[float], others: Sequence[float]) -> bool:
    """Whether a file is faster beyond noise: the interval of `ratio` is below 1, its median at 0.95 or below."""
    _, middle, high = ratio(times, others)
    return high < 1.0 and middle <= _WORTHWHILE


def choose(
    files: Sequence[Mapping[str, Any]],
    target: str,
    fid_within: float,
    times: Mapping[str, Sequence[float]] | None = None,
) -> tuple[str, str]:
    """The precision that `auto` takes, and why.

    On a processor an 8-bit file has to earn its place: it must be faster than the float file beyond noise (`faster`).
    The float file is float16, half the size of float32, unless its FID is too great or float32 is faster beyond noise.
    Of several 8-bit files the fastest is taken, and of those that are level with it within noise the smallest.

    Args:
        files: of a float32, a float16 and 8-bit files what the card says, each with `fid_change` (a share, or None).
        target: `cpu` or `gpu`.
        fid_within: how much greater than the float file's a FID may be, as a share.
        times: what `time_in_rounds` returned, by precision; only `cpu` with real samples needs it.
    """
    by_precision = {file["precision"]: file for file in files}
    if target == "gpu":
        half = by_precision["float16"]
        change = "" if half["fid_change"] is None else f" Its FID changes by {half['fid_change']:+z.2%}."
        return "float16", f"float16, since phones' graphics processors calculate in it and run no 8-bit files.{change}"
    if by_precision["float32"]["fid_change"] is None:
        return "float16", (
            "float16: there were no real samples to judge 8-bit files by (--data, or a run whose data are still there)."
        )
    good = [name for name, file in by_precision.items() if file["fid_change"] <= fid_within]
    usual = "float16" if "float16" in good and not faster(times["float32"], times["float16"]) else "float32"
    quick = [name for name in good if name not in _FLOATS and faster(times[name], times[usual])]
    chosen = usual
    if quick:
        first = min(quick, key=lambda name: ratio(times[name], times[usual])[1])
        level = [name for name in quick if name == first or not faster(times[first], times[name])]
        chosen = min(level, key=lambda name: by_precision[name]["bytes"])
    return chosen, _reason(chosen, usual, by_precision, good, times, fid_within)


def _reason(
    chosen: str,
    usual: str,
    files: Mapping[str, Mapping[str, Any]],
    good: Sequence[str],
    times: Mapping[str, Sequence[float]],
    fid_within: float,
) -> str:
    def against(name: str) -> str:
        low, middle, high = ratio(times[name], times[usual])
        return f"{middle:.2f} ({low:.2f} to {high:.2f})"

    size = files[chosen]["bytes"] / files["float32"]["bytes"]
    facts = f"{size:.2f} of float32's size, with a FID that changes by {files[chosen]['fid_change']:+z.2%}"
    others = [name for name in good if name not in (chosen, usual)]
    if chosen == usual:
        text = f"{chosen}: no 8-bit file with a good FID is faster beyond noise. It has {facts}."
    else:
        text = f"{chosen}: {against(chosen)} of {usual}'s time on one thread and {facts}."
    if others:
        text += f" Times of the others to {usual}'s: {', '.join(f'{name} {against(name)}' for name in others)}."
    if bad := [f"{name} ({file['fid_change']:+z.1%})" for name, file in files.items() if name not in good]:
        text += f" A FID more than {fid_within:.0%} above float32's: {', '.join(bad)}."
    return text


def _listed(operator: Operator, share: float) -> dict[str, Any]:
    return {"layer": operator.layer, "kind": operator.kind, "share_of_error": share}
