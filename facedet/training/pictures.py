"""The training pictures of a run, in endless batches: what cannot be decoded is named and left out."""

from collections.abc import Sequence

import tensorflow as tf

from facedet.augment import pipeline
from facedet.data import records
from facedet.recipe.recipe import Recipe
from facedet.training.strategy import Devices

UNDECODABLE_SHARE = 0.01  # of the pictures: more that cannot be decoded end a run


class TrainingPictures:
    """paths: of the records.  count: the pictures that they hold.  undecodable: names of those that are left out."""

    def __init__(self, paths: Sequence[str], recipe: Recipe, devices: Devices, count: int, say=print):
        self.paths, self.count, self.undecodable = paths, count, set[str]()
        self._recipe, self._devices, self._say = recipe, devices, say

    def dataset(self):
        """The batches, a part for each replica."""
        size = self._recipe.training.batch_size // self._devices.num_replicas

        def read(context: tf.distribute.InputContext) -> tf.data.Dataset:
            own, workers = self.paths, context.num_input_pipelines
            if len(own) % workers == 0:  # else all read all shards, each in an order of its own: no picture is to come up more often
                own = own[context.input_pipeline_id :: workers]
            batches = pipeline.dataset(own, self._recipe.augmentation, self._recipe.input, size, on_undecodable=self._leave_out)
            # said of endless batches: else the workers ask each other in each step whether all have one
            return batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))

        # names have no place on a GPU: what a step takes goes there when it takes it
        options = tf.distribute.InputOptions(experimental_fetch_to_device=False)
        return self._devices.strategy.distribute_datasets_from_function(read, options)

    def explain(self, error: tf.errors.OpError, step: int, newest: str | None) -> None:
        """RecordsError for what ended the data set, when the checkpoint of this step is saved; nothing where it is no fault of the records."""
        if self._too_many_undecodable():
            raise records.RecordsError(
                f"step {step}: {len(self.undecodable)} of {self.count} training pictures cannot be decoded, more than "
                f"{UNDECODABLE_SHARE:.0%}, such as {', '.join(sorted(self.undecodable)[:3])}. {newest or 'No checkpoint'} is whole. "
                "Convert the data set again."
            ) from error
        if isinstance(error, tf.errors.DataLossError):
            for path in self.paths:
                records.read_back(path)  # names the damaged one

    def _leave_out(self, name: str) -> None:
        """Called by the input pipeline's threads."""
        if name not in self.undecodable:
            self.undecodable.add(name)
            self._say(f"{name} cannot be decoded and is left out ({len(self.undecodable)} of {self.count} pictures so far).")
        if self._too_many_undecodable():
            raise records.RecordsError("too many pictures cannot be decoded")

    def _too_many_undecodable(self) -> bool:
        return len(self.undecodable) > UNDECODABLE_SHARE * self.count
