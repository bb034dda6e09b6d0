"""Optional behaviour of a GAN that is composed when the GAN is created, and that the GAN knows by its hooks alone.

What a recipe asks for is decided where everything is known (`ganzoo.zoo.composition`), which names itself here: Keras
makes a GAN of a `.keras` file by its class, and the class must not know what may be added to it.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from ganzoo.core.phases import Batch
from ganzoo.recipes.schema import Recipe

if TYPE_CHECKING:
    from ganzoo.core.gan import GAN


class AddOn:
    """More networks, variables and terms of the losses for one GAN. Every hook may stay as it is.

    Attributes:
        reads_weights: whether its terms of the generator's loss depend on the generator's weights beside the samples.
    """

    reads_weights = False

    def build(self, gan: "GAN") -> None:
        """Make networks and variables, once the GAN has its generator and its discriminator."""

    def networks(self) -> dict[str, keras.Model]:
        """Networks that the discriminator's loss trains too, by name, each by an optimizer like the discriminator's."""
        return {}

    def only_for_training(self) -> dict[str, keras.Model]:
        """Networks of the run's state that are not trained, and that no preset keeps, by name."""
        return {}

    def numbers(self) -> dict[str, Any]:
        """Variables of the run's state beside the networks', by name."""
        return {}

    def on_compile(self, gan: "GAN") -> None:
        """Check what the training needs, and get it."""

    def on_first_weights(self, gan: "GAN") -> None:
        """Fix what depends on the first weights, before the first step."""

    def discriminator_terms(self, batch: Batch) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Scalars to add to the discriminator's loss, in turn, and what is logged."""
        return [], {}

    def generator_terms(self, gan: "GAN", fake: Any, batch: Batch) -> dict[str, tf.Tensor]:
        """Named terms of the generator's loss, per example `(batch,)` or one scalar for all, which are logged too."""
        return {}

    def pretrained_sources(self) -> list[dict[str, str]]:
        """The pretrained networks that teach through it, see `PhasedModel.pretrained_sources`."""
        return []


Composer = Callable[[Recipe], Sequence[AddOn]]
_composers: list[Composer] = []


def compose_by(composer: Composer) -> None:
    """Let every GAN that is created from now on have the add-ons that `composer` makes for its recipe."""
    if composer not in _composers:
        _composers.append(composer)


def composed(recipe: Recipe) -> list[AddOn]:
    """New add-ons for a GAN of a recipe, in the order in which they are built and called."""
    return [addon for composer in _composers for addon in composer(recipe)]
