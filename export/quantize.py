"""TFLite files with 8-bit numbers, by Google's `litert-quantizer`.

- dynamic: weights in int8, activations are rounded as they come.
- int8: activations in int8, too, between the least and the greatest value that each had over many latents. (The
  library's own calibration takes a moving average, which clips.)

Inputs and outputs stay float32 in both: phones' runtimes for the web take no int8 ones. Operators may be kept in float.
"""

import logging
import re
import warnings
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ganzoo import progress
from ganzoo.errors import ExportError
from ganzoo.startup import no_output, no_stderr

from .files import Run, builtin_operators
from .reference import Reference, one_by_one
from .signature import OUTPUT, SIGNATURE

# LiteRT runs a depthwise convolution with 8-bit weights and float activations without XNNPACK, many times slower than
# in float (`tests/benchmarks/exports.py` measures it), and such weights are few.
SLOW_IF_DYNAMIC = ("DEPTHWISE_CONV_2D",)
WITH_WEIGHTS = ("FULLY_CONNECTED", "CONV_2D", "TRANSPOSE_CONV")  # quick with 8-bit weights and float activations
_BITS = 8


@dataclass(frozen=True)
class Operator:
    """An operator of a TFLite file: its scope (the names of its outputs), and its kind."""

    scope: str
    kind: str

    @property
    def layer(self) -> str:
        """The Keras layer that it stems from, as near as its name tells."""
        parts = self.scope.split(";")[0].split("/")
        return re.sub(r"_\d+$", "", parts[1] if len(parts) > 1 else parts[0])


class Quantizer:
    """A float32 TFLite file's content, to be quantised in many ways.

    Args:
        content: of the file.
        inputs: by name, `(N, ...)`, over which the ranges of activations are taken.
    """

    def __init__(self, content: bytes, inputs: Mapping[str, np.ndarray]):
        self.content = content
        self._inputs = inputs

    @cached_property
    def operators(self) -> list[Operator]:
        """Those that hold or make numbers which could be 8-bit ones, in the file's order."""
        from litert_quantizer.qtyping import TFLOperationName
        from litert_quantizer.utils import tfl_flatbuffer_utils

        names = builtin_operators()
        known = {one.value for one in TFLOperationName}
        model = tfl_flatbuffer_utils.read_model(self.content)
        graph = model.subgraphs[0]
        found = []
        for operator in graph.operators:
            kind = names[model.operatorCodes[operator.opcodeIndex].builtinCode]
            if kind in known or kind == "TRANSPOSE_CONV":
                found.append(Operator(tfl_flatbuffer_utils.get_op_scope(operator, graph.tensors), kind))
        return found

    def dynamic(self) -> bytes:
        """Weights in int8 but for the operators that would be slow."""
        from litert_quantizer import recipe

        slow = [one for one in self.operators if one.kind in SLOW_IF_DYNAMIC]
        return self._quantize(recipe.dynamic_wi8_afp32(), slow, None)

    def int8(self, keep: Collection[Operator] = ()) -> bytes:
        """Weights and activations in int8; of the operators of `keep` the weights alone, as far as that is quick."""
        from litert_quantizer import recipe

        return self._quantize(recipe.static_wi8_ai8(), keep, self._ranges)

    def error_shares(self, reference: Reference) -> dict[Operator, float]:
        """Each operator's share of the mean squared error of int8, the largest first.

        Each is measured with that operator alone in int8, against the samples that the float file makes; an operator
        without an error has no share. The shares sum to 1.
        """
        exact = run(self.content, reference.each())
        errors = {}
        for operator in self.operators:
            made = run(self._quantize([], (), self._ranges, only=operator), reference.each())
            errors[operator] = float(np.mean(np.square(made - exact)))
        total = sum(errors.values()) or 1.0
        ordered = sorted((one for one in errors if errors[one] > 0), key=errors.__getitem__, reverse=True)
        return {one: errors[one] / total for one in ordered}

    @cached_property
    def _ranges(self) -> dict[str, Any]:
        from litert_quantizer import calibrator, recipe, recipe_manager
        from litert_quantizer.utils import qsv_utils

        manager = recipe_manager.RecipeManager()
        manager.load_quantization_recipe(recipe.static_wi8_ai8())
        with progress.task("Measuring the ranges for 8 bits"), warnings.catch_warnings(), no_output():
            warnings.simplefilter("ignore")
            found = calibrator.Calibrator(self.content, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
            found.calibrate({SIGNATURE: list(one_by_one(self._inputs))}, manager)
        return found.get_model_qsvs()

    def _quantize(
        self, rules: list[dict[str, Any]], keep: Iterable[Operator], ranges: Any, only: Operator | None = None
    ) -> bytes:
        from litert_quantizer import quantizer
        from litert_quantizer.qtyping import TFLOperationName

        logging.getLogger("absl").setLevel(logging.ERROR)
        made = quantizer.Quantizer(self.content, rules or None)
        anything, never = TFLOperationName.ALL_SUPPORTED, quantizer.AlgorithmName.NO_QUANTIZE
        if only is not None:
            made.add_static_config(_exactly(only), anything, _BITS, _BITS)
        for kind in (TFLOperationName.INPUT, TFLOperationName.OUTPUT):
            made.update_quantization_recipe(".*", kind, algorithm_key=never)
        for operator in keep:
            if ranges is not None and operator.kind in WITH_WEIGHTS:
                made.add_dynamic_config(_exactly(operator), anything, _BITS)
            else:
                made.update_quantization_recipe(_exactly(operator), anything, algorithm_key=never)
        try:
            with no_output():
                done = made.quantize(ranges, enable_progress_bar=False, enable_progress_report=False)
        except (ValueError, RuntimeError, KeyError) as error:
            raise ExportError(f"litert-quantizer fails on this generator: {str(error).splitlines()[0]}") from error
        return bytes(done.quantized_model)


def opened(content: bytes) -> Run:
    """A function from batches of one to samples, of a TFLite file's content."""
    from ai_edge_litert.interpreter import Interpreter

    with no_stderr():
        runner = Interpreter(model_content=content, num_threads=1).get_signature_runner(SIGNATURE)
    return lambda given: runner(**given)[OUTPUT]


def run(content: bytes, inputs: Iterable[Mapping[str, np.ndarray]]) -> np.ndarray:
    """Samples of a TFLite file's content."""
    one = opened(content)
    return np.concatenate([one(given) for given in inputs])


def _exactly(operator: Operator) -> str:
    return f"^{re.escape(operator.scope)}$"
