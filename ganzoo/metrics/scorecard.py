"""The scorecard: never one number, and never two numbers under different protocols.

The real set is put in an order of its own, and split into two disjoint halves A and B of N // 2, the same for every
seed. With M fakes, n = min(M, N // 2, max_samples). The scores compare n fakes with n images of A; the floor compares n
images of B with the same n of A: it is what a perfect generator would get. The self-supervised network is fitted to A
alone, so to it both fakes and B are new. One split is one draw: the sliced Wasserstein floor is also given for others,
and differences of scores smaller than the range of these floors mean nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ganzoo.data.images.duplicates import split_in_two, twins
from ganzoo.errors import EvaluationError
from ganzoo.metrics import diversity, margins
from ganzoo.metrics.arrays import canonical_order, check_images, content_hash
from ganzoo.metrics.card import Fit, NetworkScores, Repeats, Scorecard
from ganzoo.metrics.feature_scores import (
    DENSITY_NEIGHBOURS,
    PRECISION_NEIGHBOURS,
    all_scores,
    feature_scores,
    named_scores,
)
from ganzoo.metrics.image_scores import image_scores
from ganzoo.metrics.marks import flattering
from ganzoo.metrics.networks.base import FeatureNetwork
from ganzoo.metrics.networks.feature_networks import feature_network
from ganzoo.metrics.networks.features import extract
from ganzoo.metrics.sliced_wasserstein import PROTOCOL, sliced_wasserstein

SCORING_VERSION = 3  # raise it whenever the same images would get other numbers
_SPLIT_SEED = 0  # of the halves, for every seed of a scorecard
_QUICK_DIRECTIONS = 64  # of the sliced Wasserstein distance where only its spread is wanted
_SPLITS = 3  # for which the floor of the sliced Wasserstein distance is taken


def scorecard(
    real: np.ndarray,
    fake: np.ndarray,
    networks: Sequence[str | FeatureNetwork] = ("self_supervised", "squeezenet"),
    seen_by_discriminator: Sequence[Mapping[str, str]] = (),
    max_samples: int | None = None,
    seed: int = 0,
    subsamples: int = 0,
    fits: int = 1,
) -> Scorecard:
    """Score `fake` against `real`, both uint8 N x H x W x C of the same H, W and C.

    Args:
        real: the whole real set; half of it is kept for the floor.
        fake: generated images.
        networks: names of `feature_networks.list_feature_networks()`, or networks.
        seen_by_discriminator: for each pretrained part of the discriminator, `{"backbone": "efficientnet_lite0",
            "family": "efficientnet_lite", "trained_on": "imagenet"}`.
        max_samples: compare no more than these.
        seed: of the split, the choice of fakes and the sliced distance.
        subsamples: with 2 or more, every score has its standard deviation too: that of the scores of so many random
            halves of both sets, drawn without replacement, which estimates the whole's (the delete-half jackknife; a
            bootstrap doubles samples, and with them biases all of these scores).
        fits: how often the network called "self_supervised" is fitted, with seeds of its own; over several, its scores
            are means, and the card has those of each fit.

    Raises:
        EvaluationError: the sets do not fit each other, or there are too few samples for the neighbours.
    """
    ordered, groups, half_a, compared, other_reals, fakes = _split(real, fake, max_samples, seed)
    count, half = len(fakes), len(half_a)
    pairs = _subsamples(count, subsamples, seed)

    others = [(compared, other_reals), *_other_splits(ordered, groups, count, seed)]
    halved = margins.halves_of(count, seed)
    sliced, *more = image_scores(compared, fakes, others, seed, halved)

    built = _built(networks, half_a, fits)
    images = (compared, other_reals, fakes)
    return Scorecard(
        sliced_wasserstein=sliced.scores,
        sliced_wasserstein_deviation=_deviations(
            [sliced_wasserstein(compared[one], fakes[other], seed, _QUICK_DIRECTIONS) for one, other in pairs]
        ),
        sliced_wasserstein_margins=sliced.margins,
        sliced_wasserstein_intervals=sliced.intervals,
        sliced_wasserstein_floor=sliced.floor,
        sliced_wasserstein_floors=sliced.floors["average"],
        images=tuple(more),
        networks=tuple(
            _over_fits([_network_scores(one, *images, seen_by_discriminator, pairs, halved) for one in fitted], count)
            for fitted in built
        ),
        fakes_given=len(fake),
        identical=diversity.identical(fakes),
        identical_reals=diversity.identical(other_reals),
        protocol=_protocol(ordered, (count, half), seed, built),
    )


def _protocol(
    ordered: np.ndarray, counts: tuple[int, int], seed: int, built: Sequence[Sequence[FeatureNetwork]]
) -> dict:
    """What must be equal for scores to be comparable; `counts`: compared samples, and those of half A."""
    return {
        "scoring_version": SCORING_VERSION,
        "samples": counts[0],
        "reals": len(ordered),
        "fitted_to": counts[1],
        "real_sha256": content_hash(ordered),
        "resolution": list(ordered.shape[1:]),
        "seed": seed,
        "sliced_wasserstein": PROTOCOL,
        "neighbours": {"precision_recall": PRECISION_NEIGHBOURS, "density_coverage": DENSITY_NEIGHBOURS},
        "networks": {fitted[0].name: _describe(fitted) for fitted in built},
    }


def _other_splits(
    ordered: np.ndarray, groups: Sequence[np.ndarray], count: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of `count` real images from other random halves; `groups`: twins, which are in the same half."""
    pairs = []
    for split in range(1, _SPLITS):
        order = np.random.default_rng((seed, split)).permutation(len(ordered))
        one, other = split_in_two(order, groups)
        pairs.append((ordered[one[:count]], ordered[other[:count]]))
    return pairs


def network_scores(
    real: np.ndarray, fake: np.ndarray, networks: Sequence[str | FeatureNetwork], seed: int = 0
) -> dict[str, dict[str, float | None]]:
    """The scores of `scorecard` over networks alone, without floors: `{network's name: {score: value or None}}`."""
    _, _, half_a, compared, _, fakes = _split(real, fake, None, seed)
    return {
        network.name: feature_scores(extract(network, compared, cached=True), extract(network, fakes))[0]
        for (network,) in _built(networks, half_a)
    }


def compare(a: Scorecard, b: Scorecard) -> dict:
    """Ratios b / a: `{"sliced_wasserstein" or the name of another score: {level: ratio}, network: {score: ratio}}`.

    Below 1 means that `b` is better for distances, worse for the others. A ratio is None where a score is None, or
    where `a`'s is not above 0 (an unbiased KID may fall below it).

    Raises:
        EvaluationError: the protocols differ; the text names every key that does.
    """
    differing = _differences(a.protocol, b.protocol)
    if differing:
        raise EvaluationError(
            "Scores under different protocols may not be compared. Evaluate both in the same way. They differ in: "
            + "; ".join(differing)
        )
    ratios = {"sliced_wasserstein": _ratios(a.sliced_wasserstein, b.sliced_wasserstein)}
    peers = {image.name: image for image in b.images}
    ratios |= {image.name: _ratios(image.scores, peers[image.name].scores) for image in a.images if image.name in peers}
    others = {network.name: network for network in b.networks}
    return ratios | {network.name: _ratios(network.scores, others[network.name].scores) for network in a.networks}


def halves(real: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The real images in an order of their own, and the two halves A and B into which every command splits them.

    The split depends on the images alone, neither on their order nor on a seed: the network that is fitted to A is the
    same for the checks of a training, for every scorecard and for exports, and is found in the cache by all of them.
    Images that are equal or look equal (`ganzoo.data.images.duplicates.twins`) are in the same half, so that B is new
    to what has seen A. A and B have N // 2 images each, or slightly fewer where twins do not fit.
    """
    ordered = real[canonical_order(real)]
    return ordered, *_in_halves(ordered, twins(ordered))


def _in_halves(ordered: np.ndarray, groups: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    shuffled = np.random.default_rng(_SPLIT_SEED).permutation(len(ordered))
    one, other = split_in_two(shuffled, groups)
    return ordered[one], ordered[other]


def _split(real: np.ndarray, fake: np.ndarray, max_samples: int | None, seed: int) -> tuple[Any, ...]:
    """The reals in their own order; their twins; half A; and, equally many of each, reals of A and B, and fakes."""
    real, fake = check_images(real, "real"), check_images(fake, "fake")
    if real.shape[1:] != fake.shape[1:]:
        raise EvaluationError(
            f"Real and generated images must have the same size and channels. Received: {real.shape} and {fake.shape}."
        )
    ordered = real[canonical_order(real)]
    groups = twins(ordered)
    half_a, half_b = _in_halves(ordered, groups)
    count = min(len(fake), len(half_a), len(fake) if max_samples is None else max_samples)
    if count <= DENSITY_NEIGHBOURS:
        raise EvaluationError(
            f"A scorecard needs {DENSITY_NEIGHBOURS + 1} generated images and twice as many real ones. "
            f"Received: {len(real)} real, {len(fake)} generated, max_samples {max_samples}."
        )
    chosen = np.arange(count)
    if seed != _SPLIT_SEED:  # the halves stay: only which of their images are compared depends on the seed
        chosen = np.random.default_rng((seed, len(half_a))).permutation(len(half_a))[:count]
    generator = np.random.default_rng(seed)
    generator.permutation(len(ordered))
    fakes = fake[generator.permutation(len(fake))[:count]]
    return ordered, groups, half_a, half_a[chosen], half_b[chosen], fakes


def _built(
    networks: Sequence[str | FeatureNetwork], half: np.ndarray, fits: int = 1
) -> list[tuple[FeatureNetwork, ...]]:
    """Each network, in as many fits as it has."""
    if fits < 1:
        raise EvaluationError(f"The self-supervised network is fitted once or more often. Received: fits {fits}.")
    return [
        tuple(feature_network(one, half, fit) for fit in range(fits if one == "self_supervised" else 1))
        if isinstance(one, str)
        else (one,)
        for one in networks
    ]


def _describe(fitted: Sequence[FeatureNetwork]) -> dict:
    described = fitted[0].describe()
    return described if len(fitted) == 1 else described | {"fits": [network.version for network in fitted]}


def _over_fits(found: Sequence[NetworkScores], count: int) -> NetworkScores:
    """Means over several fits of one network; repeats are those of the first fit."""
    if len(found) == 1:
        return found[0]
    scores, floor = (_means([getattr(one, key) for one in found]) for key in ("scores", "floor"))
    apart = [{name: one.scores[name] - one.floor[name] for name in one.margins} for one in found]
    known = set().union(*(diversity.marks(one.scores, one.floor, one.repeats, count) for one in found))
    marks = tuple(mark for mark in found[0].marks if mark not in known)
    return found[0].model_copy(
        update={
            "scores": scores,
            "floor": floor,
            "marks": marks + diversity.marks(scores, floor, found[0].repeats, count),
            "deviations": _means([one.deviations for one in found]),
            "margins": margins.margins_over_fits([one.margins for one in found], apart),
            "intervals": margins.intervals_over_fits([one.intervals for one in found], [one.scores for one in found]),
            "fits": tuple(Fit(seed=i, scores=one.scores, floor=one.floor) for i, one in enumerate(found)),
        }
    )


def _means(found: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    columns = {name: [one[name] for one in found] for name in found[0]}
    return {name: None if None in values else float(np.mean(values)) for name, values in columns.items()}


def _subsamples(count: int, subsamples: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pairs of random halves of `count` samples: those of the reals, those of the fakes."""
    if subsamples == 1:
        raise EvaluationError("A deviation is over two subsamples or more. Received: 1.")
    if subsamples and count // 2 <= DENSITY_NEIGHBOURS:
        raise EvaluationError(
            f"Deviations are taken over halves, and those of {count} samples do not have {DENSITY_NEIGHBOURS} "
            "neighbours each. Give more samples, or no subsamples."
        )
    generator = np.random.default_rng((seed, subsamples))
    draws = ((generator.permutation(count), generator.permutation(count)) for _ in range(subsamples))
    return [(one[: count // 2], other[: count // 2]) for one, other in draws]


def _deviations(found: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """The standard deviation of each score over several cards; None where one has none."""
    if len(found) < 2:
        return {}
    columns = {name: [scores[name] for scores in found] for name in found[0]}
    return {name: None if None in values else float(np.std(values, ddof=1)) for name, values in columns.items()}


def _network_scores(
    network: FeatureNetwork, compared, other_reals, fakes, seen, pairs, halved: Sequence[margins.Halves] = ()
) -> NetworkScores:
    real, made = extract(network, compared, cached=True), extract(network, fakes)
    other = extract(network, other_reals, cached=True)
    scores, reasons = feature_scores(real, made)
    floor, _ = feature_scores(real, other)
    deviations = _deviations([all_scores(real[one], made[two]) for one, two in pairs])
    limit = diversity.near_limit(real)
    repeats = Repeats(
        spread=diversity.spread(real, made),
        spread_reals=diversity.spread(real, other),
        near=diversity.near_identical(made, limit),
        near_reals=diversity.near_identical(other, limit),
    )
    known = [name for name in scores if scores[name] is not None]
    apart, own = _uncertainty((real, made, other), known, halved)
    return NetworkScores(
        name=network.name,
        family=network.family,
        trained_on=network.trained_on,
        dim=network.dim,
        marks=flattering(network, seen) + diversity.marks(scores, floor, repeats, len(made)),
        scores=scores,
        floor=floor,
        repeats=repeats,
        margins=apart,
        intervals=own,
        deviations={name: None if scores[name] is None else value for name, value in deviations.items()},
        reasons=reasons,
    )


def _uncertainty(
    features: Sequence[np.ndarray], names: Sequence[str], halved: Sequence[margins.Halves]
) -> tuple[dict[str, float], dict[str, float]]:
    """Margins and intervals of the scores called `names`, from features of real images, samples, other real images."""
    real, made, other = features
    if not halved:
        return {}, {}
    scores = [named_scores(real[half.real], made[half.fake], names) for half in halved]
    floors = [named_scores(real[half.real], other[half.other], names) for half in halved]
    return margins.margins(scores, floors), margins.intervals(scores)


def _ratios(a: Mapping[str, float | None], b: Mapping[str, float | None]) -> dict[str, float | None]:
    return {key: b[key] / a[key] if a[key] is not None and b[key] is not None and a[key] > 0 else None for key in a}


def _differences(a: Mapping, b: Mapping, path: str = "") -> list[str]:
    found = []
    for key in sorted({*a, *b}):
        left, right = a.get(key), b.get(key)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            found += _differences(left, right, f"{path}{key}.")
        elif left != right:
            found.append(f"{path}{key} ({left} and {right})")
    return found
