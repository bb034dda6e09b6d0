"""Which operators of an int8 file stay in float, and which file `auto` takes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .quantize import Operator, Quantizer
from .reference import Reference

_KEPT = (1, 2, 4, 8, 12, 16, 24, 32)  # so many operators in float are tried, those that cost most


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
    told = [_told(one, shares[one]) for one in kept]
    return content, {"passed": least <= allowed, "error": least, "in_float": told}


def choose(files: Sequence[Mapping[str, Any]], target: str, fid_within: float) -> tuple[str, str]:
    """The precision that `auto` takes, and why.

    Args:
        files: of a float32, a float16 and 8-bit files what the card says, each with `fid_change` (a share, or None).
        target: `cpu` (the fastest file that is good) or `gpu`.
        fid_within: how much greater than the float file's a FID may be, as a share.
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
    good = [file for file in files if file["fid_change"] <= fid_within]
    times = {file["precision"]: file["steady"]["1"]["minimum_ms"] for file in files}
    exact = times["float32"]
    chosen = min(good, key=lambda file: (times[file["precision"]], file["bytes"]))["precision"]
    bad = [f"{file['precision']} ({file['fid_change']:+z.1%})" for file in files if file not in good]
    slower = [f"{one} ({times[one] / exact:.2f})" for one in times if one != chosen and by_precision[one] in good]
    size = by_precision[chosen]["bytes"] / by_precision["float32"]["bytes"]
    text = (
        f"{chosen}: the fastest on one thread, {times[chosen] / exact:.2f} of float32's time and {size:.2f} of its "
        f"size, with a FID that changes by {by_precision[chosen]['fid_change']:+z.2%}."
    )
    text += f" Slower: {', '.join(slower)}." if slower else ""
    text += f" A FID more than {fid_within:.0%} above float32's: {', '.join(bad)}." if bad else ""
    return chosen, text


def _told(operator: Operator, share: float) -> dict[str, Any]:
    return {"layer": operator.layer, "kind": operator.kind, "share_of_error": share}
