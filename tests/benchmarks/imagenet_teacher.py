"""Does the frozen ImageNet network help `image/projected_mobile_64` in equal time? Train one variant and score it.

    python tests/benchmarks/imagenet_teacher.py emoji plain results --seconds 1200 --seed 0

`emoji` is a folder of images (`tests/data/emoji.py` makes this one from Debian's fonts-noto-color-emoji).
Times are processor seconds of the training steps alone, counted by the process, so runs beside each other on separate
cores (`taskset -c 0`, `taskset -c 1`) compare fairly. Each run writes NAME_SEED.json (scorecard, samples seen, recipe
changes), a grid of the averaged generator and one of the live one.
"""

import argparse
import json
import time
from pathlib import Path

LAZY = [{"name": name, "weight": 1.0, "every": 8} for name in ("r1", "r2")]


def _model(**options):
    return {"model": {"projected_weight": 0.0, "matching_weight": 0.0, **options}}


VARIANTS = {
    "recipe": {},
    "plain": _model(),
    "plain_rough_start": _model(smooth_start=False),
    "plain_colour": {**_model(), "augment": {"policy": ["colour", "translation", "cutout"]}},
    "plain_small_batch": {**_model(), "training": {"batch_size": 16}},
    "hybrid_relativistic": {**_model(projected_weight=1.0), "objective": "relativistic", "regularizers": LAZY},
    "matching_stays_strong": {"model": {"matching_weight": 10.0, "matching_until": 0}},
    "matching_at_64": {"model": {"backbone_size": 64, "matching_every": 2}},
    "matching_with_images": {"model": {"matching_levels": [1, 2, 4, 8, 16, 32]}},
    "matching_random_stays_strong": {
        "model": {"matching_weight": 10.0, "matching_until": 0, "backbone_weights": "random"}
    },
    "matching_random_network": {"model": {"backbone_weights": "random"}},
}


def main() -> None:
    """Train, score, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("variant", choices=VARIANTS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=1200.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    import keras

    from ganzoo.data.stream import batches
    from ganzoo.domains import image
    from ganzoo.runs.evaluate import score
    from ganzoo.zoo.create import create

    class Budget(keras.callbacks.Callback):
        """Stops after so many processor seconds; the first steps, which trace the graph, do not count."""

        def on_train_batch_end(self, batch, logs=None):
            if batch == 2:
                self.start = time.process_time()
            self.model.stop_training = batch > 2 and time.process_time() - self.start > options.seconds

    keras.utils.set_random_seed(options.seed)
    gan = create("image/projected_mobile_64", seed=options.seed, **VARIANTS[options.variant])
    gan.compile()
    data = image.read(options.data, gan.recipe.data)
    stream = batches(data, gan.recipe.training.batch_size, options.seed)
    gan.fit(stream, steps_per_epoch=2**40, verbose=0, callbacks=[Budget()])

    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.variant}_{options.seed}"
    image.save_grid(path.with_suffix(".png"), gan.generate(64, seed=1))
    image.save_grid(options.out / f"{path.name}_live.png", gan.generate(64, seed=1, live=True))
    card = score(gan, data.samples)
    result = {
        "variant": options.variant,
        "changes": VARIANTS[options.variant],
        "seed": options.seed,
        "processor_seconds": options.seconds,
        "samples_seen": gan.sample_count,
        "scorecard": card.to_dict(),
    }
    path.with_suffix(".json").write_text(json.dumps(result, indent=1))
    print(f"{path.name}: {gan.sample_count:,} samples seen\n{card.table()}")


if __name__ == "__main__":
    main()
