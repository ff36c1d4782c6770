"""A small .tflite with five landmarks, or six, made for the tests: it finds red squares, each a face with its points at known places.

Input 96 x 128. Cells of 8 pixels, a box and its points around each cell's centre; a cell that is red is a face.
"""

import functools

import numpy as np

HEIGHT, WIDTH, CELL = 96, 128, 8
ROWS, COLUMNS = HEIGHT // CELL, WIDTH // CELL
MOST = 6
BOX_HEIGHT, BOX_WIDTH = 0.4, 0.2  # of the input
# y, x from the cell's centre, fractions of the input; no two alike, so that none can be taken for another
POINTS_YX = np.asarray([(-0.06, -0.05), (-0.07, 0.04), (0.01, 0.005), (0.08, -0.03), (0.09, 0.02)], np.float32)
SIXTH_YX = np.asarray([(0.02, 0.07)], np.float32)
THRESHOLDS = {"max_detections": MOST, "score_threshold": 0.05, "iou_threshold": 0.5}


def make(raw: bool = False, precision: str = "float32", points: int = 5, turned: bool = False, **details) -> bytes:
    """The bytes of a file.

    points: of a face, 5 or 6; 0: the output is left out.  turned: its outputs stand in the opposite order.  details: other values, or more, of facedet.json.
    """
    from facedet.export.formats import flatbuffer, metadata

    computed = points or 5
    joined = flatbuffer.unpack(_body(precision, computed))
    made = flatbuffer.join(joined, flatbuffer.unpack(_tail(raw, computed)))
    names = ["raw_boxes", "raw_scores"] if raw else ["detection_boxes", "detection_scores"]
    names += [names[0].replace("boxes", "landmarks")] * bool(points) + ["num_detections"] * (not raw)
    outputs = {name: made[name] for name in (reversed(names) if turned else names)}
    packed = flatbuffer.finish(joined, "image", outputs, "for tests", (metadata.NAME, b""))
    told = {"precision": precision, "with_nms": not raw, **THRESHOLDS, **({"landmarks": points} if points else {})}
    return metadata.append_files(packed, {**told, **details})


def padding(place: str, fill=(0, 0, 0)) -> dict:
    """As details have it."""
    return {"place": place, "fill": list(fill)}


@functools.cache
def _body(precision: str, points: int) -> bytes:
    """Image -> for each cell a code of box, score and points. Two levels, so that pooling, resizing and sums are among its operators."""
    import tensorflow as tf

    red = np.zeros((4, 4, 3, 1), np.float32)
    red[..., 0, 0], red[..., 1, 0], red[..., 2, 0] = 1 / 16, -1 / 32, -1 / 32
    codes = np.concatenate([[0, 0, 0, 0], POINTS_YX.ravel(), SIXTH_YX.ravel()]).astype(np.float32)[: 4 + 2 * points]

    def body(image):
        fine = tf.nn.relu6(tf.nn.conv2d(image / 255.0, red, 4, "SAME"))
        cells = tf.nn.max_pool2d(fine, 2, 2, "SAME")
        coarse = tf.image.resize(tf.nn.max_pool2d(cells, 2, 2, "SAME"), (ROWS, COLUMNS), "bilinear")
        cells = tf.nn.relu(cells + 0.05 * coarse)
        scores = tf.nn.bias_add(tf.nn.conv2d(cells, np.full((1, 1, 1, 1), 16, np.float32), 1, "SAME"), [-8.0])
        return {
            "scores": scores,
            "codes": tf.nn.bias_add(tf.nn.conv2d(cells, np.zeros((1, 1, 1, len(codes)), np.float32), 1, "SAME"), codes),
        }

    return _convert(body, {"image": [1, HEIGHT, WIDTH, 3]}, precision)


@functools.cache
def _tail(raw: bool, points: int) -> bytes:
    import tensorflow as tf

    rows, columns = np.mgrid[:ROWS, :COLUMNS].astype(np.float32)
    centers = np.stack([(rows + 0.5) / ROWS, (columns + 0.5) / COLUMNS], -1).reshape(-1, 2)

    def tail(scores, codes):
        codes, scores = tf.reshape(codes, [-1, 4 + 2 * points]), tf.reshape(scores, [-1])
        center, size = codes[:, :2] + centers, tf.exp(tf.minimum(codes[:, 2:4], 1.0)) * (BOX_HEIGHT, BOX_WIDTH)
        scores = tf.nn.softmax(tf.stack([tf.zeros_like(scores), scores], -1))[:, 1]
        landmarks = tf.reshape(tf.reshape(codes[:, 4:], [-1, points, 2]) + centers[:, None], [-1, 2 * points])
        if raw:
            return {"raw_boxes": tf.concat([center, size], -1)[None], "raw_scores": scores[None, :, None], "raw_landmarks": landmarks[None]}
        corners = tf.concat([center - size / 2, center + size / 2], -1)
        kept, count = tf.raw_ops.NonMaxSuppressionV4(
            boxes=corners, scores=scores, max_output_size=MOST, iou_threshold=THRESHOLDS["iou_threshold"],
            score_threshold=THRESHOLDS["score_threshold"], pad_to_max_output_size=True,
        )  # fmt: skip
        found = {"detection_boxes": corners, "detection_scores": scores, "detection_landmarks": landmarks}
        return {**{name: tf.gather(values, kept)[None] for name, values in found.items()}, "num_detections": tf.reshape(count, [1])}

    return _convert(tail, {"scores": [1, ROWS, COLUMNS, 1], "codes": [1, ROWS, COLUMNS, 4 + 2 * points]}, "float32")


def _convert(function, inputs: dict, precision: str) -> bytes:
    import tensorflow as tf

    module = tf.Module()
    module.serve = tf.function(function)
    concrete = module.serve.get_concrete_function(**{name: tf.TensorSpec(shape, tf.float32, name) for name, shape in inputs.items()})
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    if precision == "int8":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.representative_dataset = lambda: ([picture([(3, 3)]).astype(np.float32)[None]] for _ in range(2))
    return converter.convert()


def picture(cells, scale_y: int = 1, scale_x: int = 1, rows: int = ROWS, columns: int = COLUMNS) -> np.ndarray:
    """Grey, with the cells (row, column) red; of rows x columns cells, each of CELL * scale pixels."""
    image = np.full((rows, columns, 3), 60, np.uint8)
    for row, column in cells:
        image[row, column] = 255, 0, 0
    return image.repeat(CELL * scale_y, 0).repeat(CELL * scale_x, 1)
