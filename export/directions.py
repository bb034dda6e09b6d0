"""Directions in a generator's latents along which samples change most, for a client's sliders.

SeFa (Shen and Zhou 2021, https://arxiv.org/abs/2007.06600): for a first layer y = A z + b, the unit vectors n that make
||A n|| largest: the eigenvectors of A^T A, the largest eigenvalues first. Where several layers take the latents, A is
all of them one above the other.
"""

import keras
import numpy as np
from keras import layers

_COUNT = 8


def principal_directions(network: keras.Model, latents: str, count: int = _COUNT) -> np.ndarray:
    """The `count` strongest directions (or as many as there are), unit vectors `(count, dim)`, float32.

    Args:
        network: a generator; its input `latents` is a vector.
        latents: the name of that input.
        count: how many at most.

    Returns:
        None at all, `(0, dim)`, where no dense layer takes the latents, as they are or beside others.
    """
    given = network.input[latents]
    dim = given.shape[-1]
    functional = getattr(network, "_functional", None) or network
    nodes = [
        node for depth in sorted(functional._nodes_by_depth, reverse=True) for node in functional._nodes_by_depth[depth]
    ]
    places = {id(given): 0}  # tensors that hold the latents, and from which number on
    kernels = []
    for node in nodes:
        layer, offset = node.operation, 0
        for tensor in node.input_tensors:
            if id(tensor) in places:
                start = offset + places[id(tensor)]
                if isinstance(layer, layers.Concatenate):
                    places[id(node.output_tensors[0])] = start
                elif isinstance(layer, layers.Dense):
                    kernels.append(np.asarray(layer.kernel, np.float64)[start : start + dim])
            offset += tensor.shape[-1] or 0
    if not kernels:
        return np.zeros((0, dim), np.float32)
    first = np.concatenate(kernels, axis=1)  # A^T
    _, vectors = np.linalg.eigh(first @ first.T)
    strongest = vectors[:, ::-1][:, :count].T
    signs = np.sign(strongest[np.arange(len(strongest)), np.abs(strongest).argmax(axis=1)])
    return (strongest * signs[:, None]).astype(np.float32)
