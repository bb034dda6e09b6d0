"""What goes into an exported generator and what comes out, as plain data."""

from typing import Any

import keras

from ganzoo.gan import GAN

LAYOUTS = {3: "batch, height, width, channels"}


def describe(gan: GAN, generator: keras.Model) -> dict[str, Any]:
    """The signature `serving_default`; shapes are without the batch.

    Returns:
        `name`, `inputs` (latents first; each with name, shape, dtype, distribution; a class also with `classes`) and
        `outputs` (name, shape, dtype, range, layout).
    """
    latents = [
        {"name": name, "shape": list(spec.shape), "dtype": "float32", "distribution": "standard normal"}
        for name, spec in gan.latents_spec().items()
    ]
    conditions = [
        {
            "name": name,
            "shape": [],
            "dtype": "int32",
            "distribution": f"a class from 0 to {spec.classes - 1}",
            "classes": spec.classes,
        }
        for name, spec in gan.conditions_spec().items()
    ]
    shape = list(generator.output.shape[1:])
    samples = {"name": "samples", "shape": shape, "dtype": "float32", "range": [-1.0, 1.0]}
    samples["layout"] = LAYOUTS.get(len(shape), "batch first")
    return {"name": "serving_default", "inputs": latents + conditions, "outputs": [samples]}
