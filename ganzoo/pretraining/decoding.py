"""Methods in which the entry's generator makes images from codes of real ones."""

from collections.abc import Mapping

import keras
import numpy as np
import tensorflow as tf

from ganzoo.core.inputs import ClassCondition
from ganzoo.pretraining.task import Task

ROW = 8  # images in a row of a grid


class Decoding(Task):
    """A generator with one vector of latents, the part `decoder_name`, that is fed with codes."""

    decoder_name = "decoder"

    def decoder(self) -> keras.Model:
        """The generator under the part's name. Sets `latents_name` and `latents_width`.

        Raises:
            RecipeError: the entry's generator takes other latents.
        """
        spec = self.gan.latents_spec()
        if len(spec) != 1 or len(next(iter(spec.values())).shape) != 1:
            raise self.refuse("a decoder needs a generator with one vector of latents.")
        ((self.latents_name, latents),) = spec.items()
        self.latents_width = latents.shape[0]
        generator = self.gan.generator
        return keras.Model(generator.input, generator.output, name=self.decoder_name)

    def codes_of(self, reals: tf.Tensor) -> tf.Tensor:
        """Codes `(n, latents)` of images in a grid, in inference mode."""
        raise NotImplementedError

    def conditions_spec(self) -> dict[str, ClassCondition]:
        """The generator's."""
        return self.gan.conditions_spec()

    def decode(self, codes: tf.Tensor, conditions: Mapping[str, tf.Tensor], training: bool = True) -> tf.Tensor:
        """Images `(n, height, width, channels)`, float32 in the generator's range, of codes `(n, latents)`."""
        inputs = {self.latents_name: codes, **conditions}
        return tf.cast(self.parts[self.decoder_name](inputs, training=training), tf.float32)

    def show(self, examples: Mapping[str, np.ndarray] | None) -> np.ndarray | None:
        """Rows of real images, each above those made of their codes; then two rows of samples."""
        drawn = self.gan.draw_latents(2 * ROW, seed=self.gan.recipe.seed)[self.latents_name]
        shown = [self._shown(drawn, self.gan.draw_conditions(len(drawn)))]
        if examples is not None:
            most = min(len(examples["real"]), 3 * ROW)
            count = most // ROW * ROW or most
            reals = examples["real"][:count]
            conditions = {name: examples[name][:count] for name in self.conditions_spec()}
            made = self._shown(self.codes_of(self.domain.to_unit(tf.constant(reals))), conditions)
            shown = [*in_rows(reals, made), *shown]
        return np.concatenate(shown)

    def _shown(self, codes: tf.Tensor, conditions: Mapping[str, np.ndarray]) -> np.ndarray:
        inputs = tf.nest.map_structure(tf.convert_to_tensor, conditions)
        return self.domain.from_unit(self.decode(tf.convert_to_tensor(codes), inputs, training=False).numpy())


def in_rows(*columns: np.ndarray) -> list[np.ndarray]:
    """Images of the first array, eight in a row, each row above those of the others."""
    return [images[start : start + ROW] for start in range(0, len(columns[0]), ROW) for images in columns]
