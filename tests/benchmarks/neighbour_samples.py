"""From how many samples on the scores from nearest neighbours can be believed.

    python tests/benchmarks/neighbour_samples.py OUT.json [SET=DATA]...
    python tests/benchmarks/neighbour_samples.py table FILE.json

For random choices of N images of each set, the feature network is fitted to half of them and N // 2 samples of known
quality are scored against that half, as `ganzoo.metrics.scorecard` does: other real images ("new", the best there can
be), and two kinds of samples that are certainly bad and in which no image of the set can be seen: coloured fog (random
4 x 4 colours, enlarged smoothly) and blobs (two or three soft discs). The share of samples that are closer to a
training image than nine tenths of these are to each other, which hints at memorisation, is taken over all N images;
there the real images' copies with slight noise, and a half-and-half mixture of copies and new ones, are samples too.

SET=DATA: what `ganzoo.data.images.load_images` takes; `digits=mnist5k` by default.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from ganzoo.data.images import ImageOptions, load_images
from ganzoo.metrics.neighbours import density_coverage, nearest, nearest_others, precision_recall
from ganzoo.metrics.networks.features import extract
from ganzoo.metrics.networks.self_supervised import fitted_network

SIDE = 32
COUNTS = (32, 64, 126, 252, 500, 1_000, 2_000, 4_000)
DRAWS = {32: 4, 64: 4, 126: 4, 252: 4, 500: 3, 1_000: 2, 2_000: 1, 4_000: 1}
SAMPLES = 1_000  # at most, for the hint at memorisation


def fog(count: int, random: np.random.Generator, channels: int) -> np.ndarray:
    """Smooth random colours."""
    coarse = random.integers(0, 256, (count, 4, 4, 3)).astype(np.uint8)
    images = [np.asarray(Image.fromarray(one).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for one in coarse]
    return _channels(np.stack(images), channels)


def blobs(count: int, random: np.random.Generator, background: np.ndarray, channels: int) -> np.ndarray:
    """Two or three soft discs of random colours on the set's usual background."""
    ys, xs = np.mgrid[:SIDE, :SIDE]
    images = np.empty((count, SIDE, SIDE, 3))
    for image in images:
        image[:] = background
        for _ in range(random.integers(2, 4)):
            y, x = random.uniform(0.25 * SIDE, 0.75 * SIDE, 2)
            mask = np.exp(-((ys - y) ** 2 + (xs - x) ** 2) / (2 * random.uniform(2, 6) ** 2))[..., None]
            image[:] = image * (1 - mask) + random.integers(0, 256, 3) * mask
    return _channels(images.astype(np.uint8), channels)


def _channels(images: np.ndarray, channels: int) -> np.ndarray:
    return images if channels == 3 else images.mean(axis=3, keepdims=True).astype(np.uint8)


def study(images: np.ndarray, count: int, draw: int) -> dict:
    """Scores of samples of known quality against `count` of the images."""
    random = np.random.default_rng((count, draw))
    order = random.permutation(len(images))
    chosen, others = images[order[:count]], images[order[count:]]
    half, channels = count // 2, images.shape[-1]
    compared = chosen[:half]
    network = fitted_network(compared)
    real = extract(network, compared)
    background = np.median(images[:500, 0, 0].reshape(-1, channels), axis=0)
    made = {
        "new": others[:SAMPLES] if len(others) >= half else chosen[half:],
        "fog": fog(max(half, SAMPLES), random, channels),
        "blobs": blobs(max(half, SAMPLES), random, background, channels),
    }
    features = {name: extract(network, samples) for name, samples in made.items()}
    features["new"] = extract(network, chosen[half:]) if len(features["new"]) < half else features["new"]
    found = {"count": count, "compared": half, "draw": draw, "dim": network.dim, "scores": {}, "close": {}}
    for name, given in features.items():
        given = given[:half]
        found["scores"][name] = {**precision_recall(real, given, 3), **density_coverage(real, given, 5)}
    whole = extract(network, chosen)
    limit = float(np.quantile(nearest_others(whole), 0.1))
    noisy = np.clip(chosen + random.normal(0, 8, chosen.shape), 0, 255).astype(np.uint8)
    features["copies"] = extract(network, noisy[:SAMPLES])
    if len(others) >= 50:
        fresh = features["new"] = extract(network, others[:SAMPLES])
        features["half copies"] = np.concatenate([features["copies"][: len(fresh)], fresh[: len(features["copies"])]])
    else:
        del features["new"]
    for name, given in features.items():
        distances, _ = nearest(whole, given)
        found["close"][name] = float(np.mean(distances < limit))
    return found


def table(results: list[dict]) -> str:
    """The ranges over the draws, in Markdown."""
    lines = [
        "| set | real images | compared | samples | precision | recall | density | coverage | close |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, count in dict.fromkeys((one["set"], one["count"]) for one in results):
        mine = [one for one in results if (one["set"], one["count"]) == (name, count)]
        for kind in ("new", "fog", "blobs", "copies", "half copies"):
            scores = [one["scores"][kind] for one in mine if kind in one["scores"]]
            close = [one["close"][kind] for one in mine if kind in one["close"]]
            cells = [_range([one[key] for one in scores]) for key in ("precision", "recall", "density", "coverage")]
            lines.append(f"| {name} | {count} | {count // 2} | {kind} | {' | '.join([*cells, _range(close)])} |")
    return "\n".join(lines)


def _range(values: list[float]) -> str:
    low, high = (f"{end(values):.2f}" if values else "" for end in (min, max))
    return low if low == high else f"{low} to {high}"


def main(arguments: list[str]) -> None:
    """Write the results of all sets, as they come; or print those of a file as a table."""
    out, *pairs = arguments
    if out == "table":
        print(table(json.loads(Path(pairs[0]).read_text())))
        return
    sets = dict(pair.split("=", 1) for pair in pairs) or {"digits": "mnist5k"}
    results = []
    for name, data in sets.items():
        images = load_images(data, ImageOptions(SIDE, 1 if name == "digits" else 3)).samples
        for count in COUNTS:
            for draw in range(DRAWS[count] if count <= len(images) else 0):
                results.append({"set": name, **study(images, count, draw)})
                Path(out).write_text(json.dumps(results))
                print(results[-1], flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
