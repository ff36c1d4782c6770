"""Keras 2 (tf_keras) in tf.keras' place: the OD API and facedet's networks are written for it.

It is asked for here and not when facedet is imported, so that a process that only detects faces keeps the Keras it has.
"""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # read when tf.keras is first used

from tensorflow import keras

if not keras.Model.__module__.startswith("tf_keras"):
    raise RuntimeError(
        "tf.keras is Keras 3, facedet's training needs Keras 2 (tf_keras): set TF_USE_LEGACY_KERAS=1 in the environment, or import "
        "facedet's training before tf.keras is used."
    )
