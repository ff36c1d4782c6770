"""The anchors of a pipeline config's anchor_generator, laid by the OD API."""

import numpy as np
from object_detection.builders import anchor_generator_builder
from object_detection.core import box_list_ops


class AnchorGenerator:
    """message: object_detection.protos.AnchorGenerator. per_location: anchors of a place, level by level."""

    def __init__(self, message):
        self._generator = anchor_generator_builder.build(message)
        self.per_location = list(self._generator.num_anchors_per_location())

    def lay(self, places: list[tuple[int, int]], height: int, width: int) -> np.ndarray:
        """places: rows and columns of each level.  height, width: of the input, px.

        float32 [A, 4]: ymin, xmin, ymax, xmax in fractions of the input, by level, row, column and anchor of a place.
        """
        return box_list_ops.concatenate(self._generator.generate(places, im_height=height, im_width=width)).get().numpy()
