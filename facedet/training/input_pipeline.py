"""augment.pipeline for callers that have a train_config in place of a recipe."""

from facedet.augment import pipeline
from facedet.augment.pipeline import BOXES, IMAGE, WEIGHTS  # noqa: F401
from facedet.recipe.recipe import Augmentation
from facedet.runtime.input_spec import InputSpec


def dataset(paths, train_config, input_size, seed=None, **options):
    """augment.pipeline.dataset() of a stretched input and the OD API's augmentations."""
    augmentation = Augmentation(tuple(train_config.data_augmentation_options), ())
    return pipeline.dataset(paths, augmentation, InputSpec(*input_size), train_config.batch_size, seed, **options)
