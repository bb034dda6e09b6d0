"""What goes into a generator: latents and conditions."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Latent:
    """A latent input of the generator: its shape without the batch, standard normal."""

    shape: tuple[int, ...]


@dataclass(frozen=True)
class ClassCondition:
    """A class as condition: an int32 input `(batch,)` in `[0, classes)`."""

    classes: int
