"""What goes into an exported generator and what comes out, as plain data."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

    from ganzoo.core.gan import GAN

SIGNATURE, OUTPUT, TRUNCATION = "serving_default", "samples", "truncation"
LAYOUTS = {3: "batch, height, width, channels"}
COLOURS = {1: "grey", 3: "RGB"}


def describe(gan: "GAN", network: "keras.Model") -> dict[str, Any]:
    """The signature `serving_default`; shapes are without the batch.

    Returns:
        `name`, `inputs` (latents first, then conditions, `truncation` last; each with name, shape, dtype, distribution;
        a class also with `classes`, truncation with `default`) and `outputs` (name, shape, dtype, range, layout, and of
        images the order of colours).
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
    truncation = {
        "name": TRUNCATION,
        "shape": [],
        "dtype": "float32",
        "distribution": "1 leaves the latents as they are, less (more than 0) draws them to their mean",
        "default": 1.0,
    }
    shape = list(network.output.shape[1:])
    samples = {"name": OUTPUT, "shape": shape, "dtype": "float32", "range": [-1.0, 1.0]}
    samples["layout"] = LAYOUTS.get(len(shape), "batch first")
    if len(shape) == 3:
        samples["colours"] = COLOURS.get(shape[-1], "unknown")
    return {"name": SIGNATURE, "inputs": [*latents, *conditions, truncation], "outputs": [samples]}
