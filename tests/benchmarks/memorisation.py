"""What an export's check for copies of training images sees: the share of close samples of known kinds.

    python tests/benchmarks/memorisation.py OUT.json [SET=DATA]...
    python tests/benchmarks/memorisation.py table FILE.json > FILE.md
    python tests/benchmarks/memorisation.py publish ENTRY=DATA...

Of each set a fifth is held out, without twins of the others, and the rest is what a generator was trained on. Samples
are copies of training images that were changed as the columns say, or the images held out, of which about a tenth
should be close. "twice": two thirds of the training images are in the set twice. "by distance alone": the rule without
variants, by which published references of earlier versions are still judged. A second table gives how far the features
move with each change, in multiples of the limit of that rule.

`publish` takes the limit of a published entry's training images and writes it into the entry's `reals.safetensors`,
whose network and features stay what they are.

SET=DATA: what `ganzoo.data.images.load_images` takes; `digits=mnist5k` by default (32 x 32; other sets are read at 64 x
64). For clip art and emoji: `clipart=FOLDER emoji=FOLDER`, made by `python tests/data/clipart.py FOLDER` and by
`extract_emoji(FOLDER, tones=False)` of `tests/data/emoji.py`.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, shift

from ganzoo.data.images import ImageOptions, load_images
from ganzoo.data.images.duplicates import without_twins
from ganzoo.metrics.neighbours import nearest, nearest_others
from ganzoo.metrics.real_set import RealSet, load, real_set, save
from ganzoo.weights.preset_files import weights_file

SAMPLES = 400
KINDS = ("copies", "noise", "shifted", "half a pixel", "flipped", "blurred", "blurred more", "flipped, shifted", "new")


def changed(images: np.ndarray, random: np.random.Generator) -> dict[str, np.ndarray]:
    """Copies of images, each kind changed in one way."""
    moves = [(y, x) for y in range(-2, 3) for x in range(-2, 3) if (y, x) != (0, 0)]

    def moved(given: np.ndarray) -> np.ndarray:
        chosen = random.integers(0, len(moves), len(given))
        return np.stack([np.roll(one, moves[move], axis=(0, 1)) for one, move in zip(given, chosen, strict=True)])

    def blurred(deviation: float) -> np.ndarray:
        return _rounded(gaussian_filter(images.astype(np.float32), (0, deviation, deviation, 0), mode="nearest"))

    return {
        "copies": images,
        "noise": _rounded(images + random.normal(0, 4, images.shape)),
        "shifted": moved(images),
        "half a pixel": _rounded(shift(images.astype(np.float32), (0, 0.5, 0.5, 0), order=1, mode="nearest")),
        "flipped": images[:, :, ::-1],
        "blurred": blurred(0.7),
        "blurred more": blurred(1.0),
        "flipped, shifted": moved(images[:, :, ::-1]),
    }


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def shares(reals: RealSet, given: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
    """The share of close samples of each kind, by the rule and by the distance alone."""
    alone = float(np.quantile(nearest_others(reals.features, reals.tolerance), 0.1))
    found: dict[str, dict[str, float]] = {"by variants": {}, "by distance alone": {}}
    for kind, samples in given.items():
        found["by variants"][kind] = round(reals.closest(samples).share, 3)
        distances, _ = nearest(reals.features, reals.features_of(samples))
        found["by distance alone"][kind] = round(float(np.mean(distances <= alone)), 3)
    return found


def study(images: np.ndarray) -> dict:
    """All shares of one set."""
    random = np.random.default_rng(0)
    images = images[without_twins(images)]
    images = images[random.permutation(len(images))]
    held_out, trained = images[: len(images) // 5], images[len(images) // 5 :]
    given = changed(trained[:SAMPLES], random) | {"new": held_out[:SAMPLES]}
    found: dict = {"training images": len(trained), "held out": len(held_out), "rules": {}}
    for name, reals in (
        ("once", real_set(trained)),
        ("twice", real_set(np.concatenate([trained, trained[: 2 * len(trained) // 3]]))),
    ):
        start = time.perf_counter()
        limit = reals.limit
        taken = time.perf_counter() - start
        start = time.perf_counter()
        reals.closest(np.resize(trained, (2_000, *trained.shape[1:])))
        judged = time.perf_counter() - start
        found["rules"][name] = {"limit": limit, "limit_seconds": round(taken, 2), "judged_seconds": round(judged, 2)}
        found["rules"][name] |= shares(reals, given)
        if name == "once":
            alone = float(np.quantile(nearest_others(reals.features, reals.tolerance), 0.1))
            own = reals.features[:SAMPLES]
            moved = {kind: np.linalg.norm(reals.features_of(one) - own, axis=1) for kind, one in given.items()}
            found["moved"] = {
                kind: [round(float(value) / alone, 2) for value in np.quantile(moved[kind], (0.5, 0.9))]
                for kind in KINDS[:-1]
            }
    return found


def table(results: dict) -> str:
    """The shares and the distances, in Markdown."""
    lines = [
        f"Share of close samples, of {SAMPLES} of each kind (of fewer where fewer images are held out).",
        "",
        f"| set | training images | rule | {' | '.join(KINDS)} |",
        f"|---|---|---|{'---|' * len(KINDS)}",
    ]
    for name, result in results.items():
        for form, rules in result["rules"].items():
            for rule in ("by variants", "by distance alone"):
                cells = " | ".join(f"{rules[rule][kind]:.2f}" for kind in KINDS)
                count = result["training images"]
                lines.append(f"| {name} | {count:,}{', two thirds twice' * (form == 'twice')} | {rule} | {cells} |")
    lines += [
        "",
        "How far features move from those of the training image, in multiples of the limit of the distance alone: "
        "median, and what nine tenths are below.",
        "",
        f"| set | {' | '.join(KINDS[:-1])} |",
        f"|---|{'---|' * (len(KINDS) - 1)}",
    ]
    for name, result in results.items():
        cells = [f"{median:.2f}, {most:.2f}" for median, most in (result["moved"][kind] for kind in KINDS[:-1])]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def publish(entry: str, data: str) -> float:
    """Write the limit of the training images into the published entry's file; the limit."""
    folder = weights_file(entry).parent
    kept = load(folder)
    images = load_images(data, ImageOptions(kept.size[0])).samples
    distances, indices = nearest(kept.features, kept.features_of(images))  # they may be in another order
    if len(images) != len(kept.features) or distances.max() > 0.1:
        raise SystemExit(f"{data} are not the training images of {entry}: features are {distances.max():.3g} apart.")
    found = RealSet(kept.network, kept.arrays, kept.features[indices], kept.size, images)
    save(RealSet(kept.network, kept.arrays, kept.features, kept.size, kept_limit=found.limit), folder)
    print(f"{entry}: features within {distances.max():.3g}, limit {found.limit:.4f}")
    return found.limit


def main(arguments: list[str]) -> None:
    """Write the results of all sets, as they come; or print those of a file as tables."""
    out, *pairs = arguments
    if out == "table":
        print(table(json.loads(Path(pairs[0]).read_text())))
        return
    if out == "publish":
        for pair in pairs:
            publish(*pair.split("=", 1))
        return
    sets = dict(pair.split("=", 1) for pair in pairs) or {"digits": "mnist5k"}
    results = {}
    for name, data in sets.items():
        images = load_images(data, ImageOptions(32 if data == "mnist5k" else 64)).samples
        results[name] = study(images)
        Path(out).write_text(json.dumps(results, indent=1) + "\n")
        print(name, json.dumps(results[name], indent=1), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
