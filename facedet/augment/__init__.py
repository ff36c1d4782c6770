"""Training pictures: records -> augmented batches, in tf.data."""
