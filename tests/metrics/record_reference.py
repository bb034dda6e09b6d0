"""Record what independent implementations say of two fixed sets of features, into reference.json beside this file.

Run it in an environment that has the extra `reference`: `python tests/metrics/record_reference.py`. The tests compare
ganzoo's scores with the recorded numbers, so they need none of these packages.
"""

import importlib.metadata
import json
from pathlib import Path

import numpy as np

REFERENCE = Path(__file__).with_name("reference.json")
PACKAGES = ("numpy", "torch-fidelity", "pytorch-fid", "clean-fid", "prdc")


def features() -> tuple[np.ndarray, np.ndarray]:
    """Correlated real features (400, 24) and fake ones (350, 24): shifted, wider, one direction collapsed."""
    generator = np.random.default_rng(20240501)
    mixing = generator.standard_normal((24, 24)) / np.sqrt(24)
    real = generator.standard_normal((400, 24)) @ mixing + 0.5
    spread = np.linspace(0.0, 1.4, 24)
    fake = (generator.standard_normal((350, 24)) * spread) @ mixing + 0.6
    return real, fake


def record() -> dict:
    """Every number with the package that computed it."""
    import torch_fidelity.metric_fid
    import torch_fidelity.metric_kid
    from cleanfid.fid import fid_from_feats
    from prdc import compute_prdc
    from pytorch_fid.fid_score import calculate_frechet_distance

    real, fake = features()
    statistics = [(x.mean(axis=0), np.cov(x, rowvar=False)) for x in (real, fake)]
    named = [{"mu": mean, "sigma": covariance} for mean, covariance in statistics]
    fid = torch_fidelity.metric_fid.fid_statistics_to_metric(*named, verbose=False)
    equal = min(len(real), len(fake))  # torch-fidelity compares equally many
    kernel = {"kid_kernel": "poly", "kid_kernel_poly_degree": 3, "kid_kernel_poly_gamma": None}
    kid = torch_fidelity.metric_kid.kernel_mmd(real[:equal], fake[:equal], kid_kernel_poly_coef0=1, **kernel)
    return {
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "checksum": [float(real.sum()), float(fake.sum())],
        "fid": {
            "torch-fidelity": float(next(iter(fid.values()))),
            "pytorch-fid": float(calculate_frechet_distance(*statistics[0], *statistics[1])),
            "clean-fid": float(fid_from_feats(real, fake)),
        },
        "kid": {"torch-fidelity": float(kid), "samples": equal},
        "prdc": {str(k): {n: float(v) for n, v in compute_prdc(real, fake, k).items()} for k in (3, 5)},
    }


if __name__ == "__main__":
    REFERENCE.write_text(json.dumps(record(), indent=2) + "\n")
    print(REFERENCE.read_text())
