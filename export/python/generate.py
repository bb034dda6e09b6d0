"""Images from a ganzoo `.tflite`, on a Raspberry Pi or anywhere: `pip install ai-edge-litert pillow`, nothing else.

python generate.py generator.tflite image.png [--seed N] [--truncation T] [--class-id C]
"""

import argparse
import json

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_litert.schema_py_generated import Model
from PIL import Image

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("model")
parser.add_argument("out")
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--truncation", type=float, default=1.0)
parser.add_argument("--class-id", type=int, default=0)
options = parser.parse_args()

with open(options.model, "rb") as file:
    model = Model.GetRootAs(file.read())
entries = [model.Metadata(i) for i in range(model.MetadataLength())]
buffer = next(entry.Buffer() for entry in entries if entry.Name() == b"ganzoo")
metadata = json.loads(model.Buffers(buffer).DataAsNumpy().tobytes())

inputs = {}
for given in metadata["inputs"]:
    if given["distribution"] == "standard normal":
        random = np.random.default_rng(options.seed)
        inputs[given["name"]] = random.standard_normal((1, *given["shape"])).astype("float32")
    else:  # one number each: a class or the truncation
        value = options.class_id if "classes" in given else options.truncation
        inputs[given["name"]] = np.array([value], given["dtype"])
sample = Interpreter(options.model).get_signature_runner("serving_default")(**inputs)["samples"][0]
low, high = metadata["outputs"][0]["range"]
pixels = np.clip(np.rint((sample - low) / (high - low) * 255), 0, 255).astype("uint8")
Image.fromarray(pixels.squeeze()).save(options.out)
