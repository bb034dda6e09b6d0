"""Why scores over a feature network flatter a generator whose discriminator looked through another."""

from collections.abc import Mapping, Sequence

from ganzoo.errors import EvaluationError
from ganzoo.metrics.networks.base import OF_NOTHING, OF_THE_DATA, FeatureNetwork
from ganzoo.weights.sources import UNKNOWN


def flattering(network: FeatureNetwork, seen: Sequence[Mapping[str, str]]) -> tuple[str, ...]:
    """The reasons, a line each; none where there is no reason known.

    Args:
        network: what scores.
        seen: for each pretrained part of the discriminator, its "backbone", "family" and "trained_on".

    Raises:
        EvaluationError: an entry of `seen` lacks one of these.
    """
    marks = []
    for part in seen:
        missing = {"backbone", "family", "trained_on"} - set(part)
        if missing:
            raise EvaluationError(
                "An entry of seen_by_discriminator needs 'backbone', 'family' and 'trained_on'. "
                f"Received: {dict(part)}, without {sorted(missing)}."
            )
        if part["family"] == network.family:
            marks.append(f"flattering: {part['backbone']}, which trained the generator, is of the same family")
        if part["trained_on"] == network.trained_on:
            marks.append(
                f"flattering: {part['backbone']}, which trained the generator, was trained on {part['trained_on']} too"
            )
        if part["trained_on"] == UNKNOWN and network.trained_on not in (OF_THE_DATA, OF_NOTHING):
            marks.append(
                f"perhaps flattering: what {part['backbone']}, which trained the generator, was trained on is not known"
            )
    return tuple(marks)
