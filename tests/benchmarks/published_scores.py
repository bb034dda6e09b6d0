"""Score the published weights of every entry on the images that they were trained on.

    python tests/benchmarks/published_scores.py                       # all entries
    python tests/benchmarks/published_scores.py image/dcgan_32 ...    # some; the others' scores are kept
    python docs/zoo_cards.py                                          # then: YAML files, model cards, README, docs

Writes `published_scores.json` next to this script: for each entry, and each of its widths, the whole scorecard of
`ganzoo.evaluate` (three fits of the self-supervised network), the share of samples that are close to a training image,
and for digits what an independent classifier says. It is the only source of the scores in `zoo_configs/*/*.yaml`, the
model cards, the README and the docs.

Digits are built in. Clip art is that of Debian's `openclipart-png`, by `tests/data/clipart.py`.

The classifier is a small convolutional network that is fitted in this script to half of the real digits, three times.
A sample is *no digit* where the largest of the ten probabilities is below a threshold: the one below which 5% of
the real digits are that the network was not fitted to. Half of these give the threshold, the other half check it.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "data"))

import numpy as np
from clipart import link_clipart

from ganzoo.data.images.builtin import digits
from ganzoo.metrics import real_set
from ganzoo.metrics.scorecard import SCORING_VERSION
from ganzoo.recipes import entries
from ganzoo.runs.evaluate import evaluate, read_reals
from ganzoo.weights import preset_files
from ganzoo.zoo.load import load

OUT = Path(__file__).with_suffix(".json")
DATA = {
    "image/dcgan_32": "mnist5k",
    "image/wgan_gp_32": "mnist5k",
    "image/projected_mobile_64": "CLIPART",
    "image/elastic_mobile_64": "CLIPART",
}
NETWORKS = ("self_supervised",)  # for narrower widths; all of them for the whole generator
CLASSIFIERS, EPOCHS = 3, 12
REJECTED = 0.05  # of the real digits that the classifier was not fitted to
SAMPLES = 2_000
_MOVES = 2  # pixels by which the classifier's training digits are shifted at random


def main() -> None:
    """Score the entries that the command line names, all by default, and write the file after each."""
    names = sys.argv[1:] or list(DATA)
    found: dict[str, Any] = json.loads(OUT.read_text()) if OUT.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            if DATA[name] == "CLIPART" and not any(Path(folder).iterdir()):
                link_clipart(folder)
            found[name] = scores(name, folder if DATA[name] == "CLIPART" else DATA[name])
            kept = {entry: found[entry] for entry in DATA if entry in found}
            OUT.write_text(json.dumps(kept, indent=1) + "\n")


def scores(name: str, data: str) -> dict[str, Any]:
    """All scores of an entry's published weights."""
    gan = load(name)
    cards = {
        f"{width:g}": evaluate(name, data, width=width, networks=NETWORKS if width < 1 else None).to_dict()
        for width in gan.widths()
    }
    found = {
        "command": f"ganzoo evaluate {name} --data {DATA[name]}",
        "date": time.strftime("%Y-%m-%d"),
        "commit": _commit(),
        "scoring_version": SCORING_VERSION,
        "sha256": entries.get_entry(name).weights["sha256"],
        "widths": cards,
    }
    found["close_to_training"] = close_to_training(gan, name)
    if DATA[name] == "mnist5k":
        found["classifier"] = by_classifiers(gan)
    return found


def close_to_training(gan: Any, name: str) -> dict[str, Any]:
    """The share, in percent, of samples that an export of these weights takes for close to a training image."""
    kept = real_set.load(preset_files.weights_file(name).parent)
    count = real_set.judged_count(SAMPLES, kept.size)
    close = kept.closest(gan.generate(count, seed=0)).close
    return {"samples": len(close), "training_images": len(kept.features), "percent": 100 * float(np.mean(close))}


def by_classifiers(gan: Any) -> dict[str, Any]:
    """The shares, in percent, of samples and of real digits that several classifiers take for no digit."""
    images = read_reals(gan, "mnist5k").samples
    labels = digits()[1]
    condition = {"class_id": np.arange(SAMPLES) % 10} if gan.conditions_spec() else None
    samples = gan.generate(SAMPLES, seed=0, conditions=condition)
    found: dict[str, list[float]] = {"no_digit": [], "no_digit_real": [], "accuracy_real": []}
    for seed in range(CLASSIFIERS):
        order = np.random.default_rng(seed).permutation(len(images))
        fitted, judging, checking = np.split(order, [len(order) // 2, 3 * len(order) // 4])
        classifier = fit_classifier(images[fitted], labels[fitted], seed)
        probabilities = {
            kind: classifier.predict(_scaled(some), batch_size=250, verbose=0)
            for kind, some in {
                "judging": images[judging],
                "checking": images[checking],
                "samples": samples,
            }.items()
        }
        limit = float(np.quantile(probabilities["judging"].max(axis=1), REJECTED))
        found["no_digit"].append(100 * float(np.mean(probabilities["samples"].max(axis=1) < limit)))
        found["no_digit_real"].append(100 * float(np.mean(probabilities["checking"].max(axis=1) < limit)))
        right = probabilities["checking"].argmax(axis=1) == labels[checking]
        found["accuracy_real"].append(100 * float(np.mean(right)))
        if condition:
            right = probabilities["samples"].argmax(axis=1) == condition["class_id"]
            found.setdefault("asked_class", []).append(100 * float(np.mean(right)))
    return {
        "samples": SAMPLES,
        **{key: {"mean": round(float(np.mean(values)), 3), "of_each": values} for key, values in found.items()},
    }


def fit_classifier(images: np.ndarray, labels: np.ndarray, seed: int) -> Any:
    """A convolutional network of ten classes, fitted to uint8 digits (N, 32, 32, C) that are shifted at random."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((*images.shape[1:3], 1)),
            layers.RandomTranslation(_MOVES / images.shape[1], _MOVES / images.shape[2], fill_mode="constant"),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="sparse_categorical_crossentropy")
    model.fit(_scaled(images), labels, batch_size=50, epochs=EPOCHS, verbose=0)
    return model


def _scaled(images: np.ndarray) -> np.ndarray:
    """Grey values in 0..1, float32 (N, 32, 32, 1)."""
    return images.astype(np.float32).mean(axis=3, keepdims=True) / 255


def _commit() -> str:
    """The commit that the scores were taken with."""
    found = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    return found.stdout.strip()


if __name__ == "__main__":
    main()
