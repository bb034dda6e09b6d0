"""Which normalisation do the small discriminators of a Projected GAN need? Train each for equally many images.

    python tests/benchmarks/projected_heads.py EMOJI OUT                            # all four, 25,000 images each
    python tests/benchmarks/projected_heads.py EMOJI OUT --heads both --samples 300000

`EMOJI` is a folder of images (`tests/data/emoji.py` makes this one from Debian's fonts-noto-color-emoji). The recipe is
that of Sauer et al. 2021 (https://arxiv.org/abs/2111.01007) as far as it fits a generator for phones: projected
discriminators alone, hinge loss, no penalty, Adam at 2e-4, batches of 64, fakes made anew for each network, colour,
translation and cutout. Differences that stay: EfficientNet-Lite0 at 128 x 128 instead of Lite1 at 224 x 224, heads of
width 64 instead of 64 to 512, and the generator.

Each run lies in OUT/HEADS-SEED and is resumed by the same command. The scores over time go to OUT/HEADS-SEED.json: over
the self-supervised network, which never saw ImageNet, every `--every` images. `projected_heads.json` next to this
script holds those of all four by the name of the heads.
"""

import argparse
import json
from pathlib import Path
from typing import Any

HEADS = {
    "none": {"spectral": False, "heads_norm": "none"},
    "spectral": {"spectral": True, "heads_norm": "none"},
    "batch": {"spectral": False, "heads_norm": "batch"},
    "both": {"spectral": True, "heads_norm": "batch"},
}


def recipe(heads: str, every: int) -> dict[str, Any]:
    """What is changed of `image/projected_mobile_64`."""
    rates = {"name": "adam", "learning_rate": 2e-4, "beta_1": 0.0, "beta_2": 0.99}
    return {
        "model": {"plain_weight": 0.0, "projected_weight": 1.0, "matching_weight": 0.0, **HEADS[heads]},
        "objective": "hinge",
        "regularizers": [],
        "augment": {"policy": ["colour", "translation", "cutout"]},
        "optimizers": {"generator": rates, "discriminator": rates},
        "training": {"batch_size": 64, "reuse_fakes": False, "snapshot_every": 2 * every, "snapshot_minutes": 0.0},
        "evaluation": {"check_networks": ["self_supervised"], "every": every, "every_samples": 1_000},
        "guards": {"every": every},
    }


def main() -> None:
    """Train, resume, write the scores over time."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("out", type=Path)
    parser.add_argument("--heads", choices=HEADS, action="append")
    parser.add_argument("--samples", type=int, default=25_000)
    parser.add_argument("--every", type=int, default=5_000, help="images between two measurements")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()

    import ganzoo

    for heads in options.heads or HEADS:
        run = options.out / f"{heads}-{options.seed}"
        done = ganzoo.train(
            "image/projected_mobile_64",
            options.data,
            run,
            samples=options.samples,
            seed=options.seed,
            overrides=recipe(heads, options.every),
            progress=False,
        )
        lines = {
            name: [json.loads(line) for line in (run / f"{name}.jsonl").read_text().splitlines()]
            for name in ("checks", "guards")
        }
        lines["checks"] = [check | check.pop("scores") for check in lines["checks"]]
        found = {"heads": heads, "seed": options.seed, "samples": done["samples"], "seconds": done["seconds"], **lines}
        run.with_suffix(".json").write_text(json.dumps(found, indent=1))
        print(f"{heads}: {done['samples']:,} images in {done['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
