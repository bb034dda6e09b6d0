"""Weights of other frameworks, mapped by a YAML file onto the weights of a part.

A mapping has a line for each weight of the part, `NAME: TENSOR`, or a section with the tensor's name under `from` and
what is done to it, in this order: `unflatten` (a first shape), `transpose` (its axes in the new order) and `reshape`:

    down_16/kernel: {from: features.0.weight, transpose: [2, 3, 1, 0]}  # PyTorch (out, in, h, w) -> (h, w, in, out)
    down_16/bias: features.0.bias
    logits/kernel: {from: classifier.weight, transpose: [1, 0]}
    # after flattened (c, h, w), here (64, 4, 4), where Keras flattens (h, w, c)
    logits/kernel: {from: fc.weight, unflatten: [10, 64, 4, 4], transpose: [2, 3, 1, 0], reshape: [1024, 10]}

A line `trained_on: imagenet` says what the weights were trained on, so that scores over a network of the same data are
marked as flattered; where it is not there, scores over any network of other data than the reals are.

Tensors come from `.safetensors`, or from PyTorch's `.pth`, `.pt` and `.bin`, of which tensors alone are read, without
PyTorch and without running code from the file.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydantic

from ganzoo.errors import RecipeError, WeightsError, unknown_name
from ganzoo.files.tensors import read_safetensors
from ganzoo.recipes.schema import Section
from ganzoo.recipes.yaml_files import read_yaml
from ganzoo.weights.sources import UNKNOWN

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")


class Mapped(Section):
    """One weight: the tensor it is, and what is done to it."""

    tensor: str = pydantic.Field(alias="from")
    unflatten: tuple[int, ...] | None = None
    transpose: tuple[int, ...] | None = None
    reshape: tuple[int, ...] | None = None

    def apply(self, name: str, array: np.ndarray) -> np.ndarray:
        """The array in the weight's form; raises `WeightsError` where its axes do not allow it."""
        try:
            array = array if self.unflatten is None else np.reshape(array, self.unflatten)
            array = array if self.transpose is None else np.transpose(array, self.transpose)
            return np.ascontiguousarray(array if self.reshape is None else np.reshape(array, self.reshape))
        except ValueError as error:
            raise WeightsError(f"{name}: the tensor '{self.tensor}' of shape {array.shape}: {error}.") from None


def is_weights_file(where: str | Path) -> bool:
    """Whether the source of weights is a file of tensors."""
    return Path(where).suffix in SUFFIXES


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """All tensors of a file by name.

    Raises:
        WeightsError: it is missing, broken, or holds more than tensors.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        from ganzoo.weights.torch_files import read_state_dict

        return read_state_dict(path)
    return read_safetensors(path)


def mapped(
    path: str | Path, mapping: str | Path | None, wanted: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors of a file under the names of a part's weights, and what is known of where they come from.

    Args:
        path: the file.
        mapping: the YAML file.
        wanted: the part's weights with their shapes, for errors.

    Returns:
        Arrays by the names of the part's weights, transposed as the mapping says, and their
        `BackboneInfo.source_entry()`.

    Raises:
        WeightsError: there is no mapping, or it names what does not exist; the text lists both sides.
    """
    tensors = read_tensors(path)
    if mapping is None:
        raise WeightsError(
            f"{path} has its own names: give a mapping ({path},mapping=FILE.yaml), with a line "
            f"`NAME: TENSOR` or `NAME: {{from: TENSOR, transpose: [2, 3, 1, 0]}}` for each of these weights: "
            f"{_listed(wanted)}. Its tensors are: {_listed({name: a.shape for name, a in tensors.items()})}."
        )
    lines = dict(read_yaml(Path(mapping)))
    trained_on = str(lines.pop("trained_on", UNKNOWN))
    found = {}
    for name, line in lines.items():
        try:
            rule = Mapped.model_validate_json(pydantic.TypeAdapter(dict).dump_json(_section(line)))
        except pydantic.ValidationError as error:
            detail = error.errors()[0]
            raise RecipeError(
                f"{mapping}, line '{name}': {'.'.join(map(str, detail['loc']))}: {detail['msg']}. Received: {line!r}. "
                "A line is `NAME: TENSOR` or `NAME: {from: TENSOR, transpose: [2, 3, 1, 0]}`."
            ) from None
        if name not in wanted:
            raise WeightsError(unknown_name(f"weight in {mapping}", name, wanted))
        if rule.tensor not in tensors:
            raise WeightsError(unknown_name(f"tensor of {path} in {mapping}", rule.tensor, tensors))
        found[name] = rule.apply(name, tensors[rule.tensor])
    return found, {"backbone": Path(path).name, "family": UNKNOWN, "trained_on": trained_on}


def _section(line: object) -> dict:
    return line if isinstance(line, dict) else {"from": line}


def _listed(shapes: Mapping[str, tuple[int, ...]], most: int = 20) -> str:
    shown = [f"{name} {tuple(shape)}" for name, shape in list(shapes.items())[:most]]
    return ", ".join(shown) + (f", and {len(shapes) - most} more" if len(shapes) > most else "")
