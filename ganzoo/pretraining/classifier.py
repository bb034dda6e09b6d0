"""A classifier of the data's own classes on the discriminator's trunk."""

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from ganzoo.augmentations.diff_augment import augment
from ganzoo.core.phases import Batch
from ganzoo.pretraining.task import Task
from ganzoo.recipes.schema import Fraction, NonNegativeInt, Section


class Classifier(Task):
    """Cross-entropy on the recipe's augmented images."""

    labelled = True
    uses = ("augment",)

    class Options(Section):
        """The number of classes (null: as many as the data have), and how far labels are smoothed."""

        classes: NonNegativeInt | None = None
        label_smoothing: Fraction = 0.1

    def build_parts(self) -> dict[str, keras.Model]:
        """`classifier`: images -> logits of the classes."""
        if self.settings.classes is None:
            raise self.refuse("the data do not say how many classes they have: set pretrain.classes.")
        if self.settings.classes < 2:
            raise self.refuse("a classifier needs data with two classes or more: a folder with one folder a class.")
        return {"classifier": self.with_head("classifier", outputs=self.settings.classes, pool=True)}

    def exported(self) -> dict[str, keras.Model]:
        """`embedding`: a vector for each class, its logit's weights, for the head of a conditional discriminator."""
        kernel = self.heads["classifier"].get_layer("outputs").kernel
        class_id = keras.Input((), dtype="int32", name="class_id")
        table = layers.Embedding(kernel.shape[1], kernel.shape[0], name="classes")
        model = keras.Model(class_id, table(class_id), name="embedding")
        table.set_weights([np.array(kernel).T])
        return {"embedding": model}

    def loss(self, batch: Batch) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        """The cross-entropy with smoothed labels."""
        policy, probability = self.gan.recipe.augment.policy, self.gan.recipe.augment.probability
        seen = augment(batch.real, policy, batch.random.child("augment"), probability)
        logits = self.parts["classifier"](seen, training=True)
        classes, labels = logits.shape[-1], batch.conditions["class_id"]
        smooth = self.settings.label_smoothing
        target = (1.0 - smooth) * tf.one_hot(labels, classes) + smooth / classes
        right = tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), labels), tf.float32)
        return tf.nn.softmax_cross_entropy_with_logits(target, logits), {"accuracy": right}
