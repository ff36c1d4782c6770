"""AInnoFace (Zhang et al. 2019, arXiv:1905.01585), two steps as SRN's (Chi et al. 2019, arXiv:1809.02693): feature_extractor.type 'ainnoface_resnet'.

A ResNet of [facedet.detector] depth and six levels, strides 4 to 128. The first step sees each level's raw map, the second the
feature pyramid; one class head and one box head serve all levels and both steps.

    classes of the three fine levels    two steps: an anchor that the first finds to be background by more than filtered_background
                                        is left out of the second, in training and in inference
    boxes of the three coarse levels    two steps: the second starts from the first's boxes, and is matched with them

The first step's other outputs would serve nothing, so that the network has none: classes of the coarse levels, boxes of the fine ones.
"""

import dataclasses
import functools
import math

import tensorflow as tf

from facedet.assign import codecs, targets
from facedet.detectors.base import Detector, EncodedBoxes, Faces, Predictions
from facedet.detectors.ssd import BOX, CLASS, SSD
from facedet.errors import ConfigError
from facedet.keras2 import keras
from facedet.layers import resnet
from facedet.layers.blocks import Blocks, enlarged, initializer, layers, regularizer
from facedet.recipe.recipe import Recipe

LEVELS, FINE_LEVELS = 6, 3
FIRST_CLASS, FIRST_BOX = "first_class", "first_box"  # heads of the fine levels, and of the coarse ones, each counted from 0
FIRST_STEP = {"matched_threshold": 0.7, "unmatched_threshold": 0.3}  # SRN's; the second step's are model.ssd.matcher's
_WIDTHS = {False: 64, True: 256}  # of pyramid and heads, by whether the ResNet has bottlenecks
_MOST_RESIZED = math.log(1000 / 16)  # of a side by one step: no first step makes boxes that the second could not be matched with
_STEEP = 2.0**15  # a float16's largest power of two: what is filtered is, but for 3e-5 of a logit


def build(recipe: Recipe) -> SSD:
    _require_honoured(recipe)
    return AInnoFace(recipe)


class AInnoFace(SSD):
    def __init__(self, recipe: Recipe):
        super().__init__(recipe, _network)
        self._columns |= {CLASS: _class_columns(recipe), FIRST_CLASS: _class_columns(recipe), FIRST_BOX: 4}
        counts = [level["count"] for level in self.anchor_table()["levels"]]
        self._fine, self._coarse = slice(0, sum(counts[:FINE_LEVELS])), slice(sum(counts[:FINE_LEVELS]), None)
        if not self._losses.on_boxes:
            raise ConfigError('model.ssd.loss.localization_loss: the loss of boxes is wanted: [facedet.loss] localization: "log_iou".')

    def losses(self, outputs: dict, faces: Faces) -> dict[str, tf.Tensor]:
        first = targets.assign(faces, self.anchors_yxyx, self.input.height, dataclasses.replace(self.recipe.matching, **FIRST_STEP))
        first_logits, refined = self._logits(outputs, FIRST_CLASS), self._refined(outputs)
        kept, starts = tf.stop_gradient(self._kept(first_logits)), tf.stop_gradient(refined)
        second = self._without_filtered(self._second_targets(faces, starts), kept)
        return {
            "Loss/first_classification_loss": self._classification(first_logits, _part(first, self._fine)),
            "Loss/first_localization_loss": self._localization(refined, _part(first, self._coarse)),
            "Loss/classification_loss": self._classification(self._logits(outputs, CLASS), second),
            "Loss/localization_loss": self._localization(self._boxes(outputs, starts), second),
        }

    def decode(self, outputs: dict) -> Predictions:
        scores, kept = tf.sigmoid(self._logits(outputs, CLASS)), self._kept(self._logits(outputs, FIRST_CLASS))
        scores = tf.concat([scores[:, self._fine] * kept, scores[:, self._coarse]], 1)
        return Predictions(self._boxes(outputs, self._refined(outputs)), scores)

    def encode(self, outputs: dict) -> EncodedBoxes:
        return Detector.encode(self, outputs)  # the coarse boxes start from no fixed anchors

    def initialize(self, source: str) -> int:
        depth = self.recipe.options.depth
        if source == "imagenet":
            raise ConfigError(
                f"train_config.fine_tune_checkpoint: imagenet: Keras has no ResNet whose 3x3 convolutions stride. Name an .npz of torchvision's: "
                f"numpy.savez('resnet{depth}.npz', **torchvision.models.resnet{depth}(weights='DEFAULT').state_dict())."
            )
        return resnet.load_torchvision(self.network, source, depth)

    def _logits(self, outputs: dict, kind: str):
        """[B, A] of the face, above the background's; of max-out the greatest of each count."""
        values, options = self._joined(outputs, kind), self.recipe.options
        if values.shape[-1] > 1:
            scores = tf.split(values, values.shape[-1], -1)
            background, face = scores[: options.max_out_background], scores[options.max_out_background :]
            values = functools.reduce(tf.maximum, face) - functools.reduce(tf.maximum, background)
        return tf.squeeze(values, 2)

    def _kept(self, first_logits):
        """[B, fine A]: 0 where the first step finds background by more than filtered_background, else 1."""
        most = self.recipe.options.filtered_background
        if most >= 1:
            return tf.ones_like(first_logits)
        least_logit = math.log((1 - most) / max(most, 1e-6))
        return tf.minimum(tf.nn.relu((first_logits - least_logit) * _STEEP), 1.0)

    def _refined(self, outputs: dict):
        """[B, coarse A, 4] ycenter, xcenter, height, width: the first step's boxes."""
        return self._decoded(self._joined(outputs, FIRST_BOX), self.anchors_yxhw[self._coarse][None])

    def _boxes(self, outputs: dict, refined):
        """[B, A, 4]: the second step's, of the coarse levels from `refined`."""
        codes = self._joined(outputs, BOX)
        fine = self._decoded(codes[:, self._fine], self.anchors_yxhw[self._fine][None])
        return tf.concat([fine, self._decoded(codes[:, self._coarse], refined)], 1)

    def _decoded(self, codes, starts_yxhw):
        sides = tf.clip_by_value(codes[..., 2:], -_MOST_RESIZED, _MOST_RESIZED)
        return self.codec.decode(tf.concat([codes[..., :2], sides], 2), starts_yxhw)

    def _second_targets(self, faces: Faces, starts_yxhw) -> targets.Targets:
        """Each picture has coarse anchors of its own."""
        fine, told = self.anchors_yxyx[self._fine], []
        for i, (boxes, weights, points) in enumerate(zip(*faces, strict=True)):
            anchors = tf.concat([fine, codecs.corners(starts_yxhw[i])], 0)
            told.append(targets.assign(Faces([boxes], [weights], [points]), anchors, self.input.height, self.recipe.matching))
        return targets.Targets(*(tf.concat(parts, 0) for parts in zip(*told, strict=True)))

    def _without_filtered(self, told: targets.Targets, kept) -> targets.Targets:
        kept = tf.concat([kept, tf.ones_like(told.weights[:, self._coarse])], 1)
        return told._replace(positive=told.positive & (kept > 0), weights=told.weights * kept, background=told.background * kept)

    def _classification(self, logits, told: targets.Targets):
        """Scalar, of [B, A] logits."""
        loss = self.recipe.loss
        weights = tf.where(told.positive, told.weights, told.background * loss.negative_class_weight)
        found = self._losses.classification(logits[..., None], self._classes(told), weights[..., None])
        return loss.classification_weight / self._positives(told) * tf.reduce_sum(found)

    def _localization(self, boxes_yxhw, told: targets.Targets):
        """Scalar, of [B, A, 4] boxes."""
        at = tf.where(told.weights > 0)  # few of many
        predicted, wanted = codecs.corners(tf.gather_nd(boxes_yxhw, at)), tf.gather_nd(told.boxes_yxyx, at)
        found = self._losses.localization(predicted[None], wanted[None], tf.gather_nd(told.weights, at)[None])
        return self.recipe.loss.localization_weight / self._positives(told) * tf.reduce_sum(found)

    def _positives(self, told: targets.Targets):
        return self._normalizer(tf.reduce_sum(tf.cast(told.positive, tf.float32)))


def _part(told: targets.Targets, anchors: slice) -> targets.Targets:
    return targets.Targets(*(column[:, anchors] for column in told))


def _class_columns(recipe: Recipe) -> int:
    """Numbers of an anchor's class: one logit, or with max-out the background's scores and the face's."""
    options = recipe.options
    both = options.max_out_background + options.max_out_face
    return both if both > 2 else 1


def _network(recipe: Recipe, anchors_per_location: list[int], columns: dict[str, int]) -> keras.Model:
    extractor, predictor, depth = recipe.feature_extractor, recipe.box_predictor, recipe.options.depth
    per_place, *others = sorted(set(anchors_per_location))
    if len(anchors_per_location) != LEVELS or others:
        raise ConfigError(
            f"model.ssd.anchor_generator: {anchors_per_location} anchors of a place on the levels: {LEVELS} levels, all with as many, are "
            "wanted, since they share their heads."
        )
    image = keras.Input((*recipe.input.size, 3), name="image")
    blocks = Blocks(extractor.hyperparams, extractor.use_explicit_padding)
    width = _WIDTHS[resnet.DEPTHS[depth][1]]
    raw = resnet.backbone(image, blocks, depth)
    second = _pyramid(raw, blocks, width)
    for level, filters in ((5, raw[-1].shape[-1] // 2), (6, width)):
        raw.append(blocks.conv(raw[-1], filters, 3, 2, f"raw_{level}", use_bias=True))
    first = [blocks.conv(x, width, 1, name=f"first_{level}", use_bias=True) for level, x in enumerate(raw, 1)]
    class_count = _class_columns(recipe)
    bias = [0.0] * (recipe.options.max_out_background if class_count > 1 else 0)
    bias += [predictor.class_prediction_bias_init] * (class_count - len(bias))
    class_head = _Head("class_head", width, bias * per_place, recipe)
    box_head = _Head("box_head", width, [0.0] * 4 * per_place, recipe)
    outputs = {}
    for kind, head, maps in (
        (FIRST_CLASS, class_head, first[:FINE_LEVELS]), (FIRST_BOX, box_head, first[FINE_LEVELS:]), (CLASS, class_head, second), (BOX, box_head, second)
    ):  # fmt: skip
        outputs |= {f"{kind}_head_{level}": head(x) for level, x in enumerate(maps)}
    return keras.Model(image, outputs, name=f"ainnoface_resnet{depth}")


def _pyramid(stages: list, blocks: Blocks, width: int) -> list:
    """The four stages' maps -> the second step's six, all of `width` channels."""
    above, maps = None, []
    for level in range(len(stages), 0, -1):
        x = blocks.conv(stages[level - 1], width, 1, name=f"lateral_{level}", use_bias=True)
        if above is not None:
            x = layers.Add(name=f"merge_{level}")([x, enlarged(above, x.shape[1:3], f"upsample_{level}", "bilinear")])
        else:
            coarsest = x
        above = x
        maps.insert(0, blocks.conv(x, width, 3, name=f"second_{level}", use_bias=True))
    x = coarsest
    for level in (5, 6):
        x = blocks.conv(x, width, 3, 2, f"second_{level}", use_bias=True)
        maps.append(x)
    return maps


class _Head:
    """[B, h, w, width] -> [B, h, w, len(bias)], by the same layers wherever it is called.

    A 3x3 convolution, receptive field enrichment, another 3x3, a 1x1. bias: where the last convolution's starts.
    """

    def __init__(self, name: str, width: int, bias: list[float], recipe: Recipe):
        self._hyperparams, self._name = recipe.feature_extractor.hyperparams, name
        conv = self._conv
        self._before, self._after = conv(width, 3, "before"), conv(width, 3, "after")
        self._branches = [
            [conv(width // 4, 1, f"{h}x{w}_in"), conv(width // 4, (h, w), f"{h}x{w}"), conv(width // 4, 1, f"{h}x{w}_out")]
            for h, w in ((1, 5), (5, 1), (1, 3), (3, 1))
        ]
        self._join, self._joined = layers.Concatenate(name=f"{name}_join"), conv(width, 1, "joined")
        self._add = layers.Add(name=f"{name}_add")
        last = recipe.box_predictor.hyperparams
        self._last = layers.Conv2D(
            len(bias), 1, name=name, bias_initializer=lambda shape, dtype=None: tf.constant(bias, dtype, shape),
            kernel_initializer=initializer(last), kernel_regularizer=regularizer(last),
        )  # fmt: skip

    def __call__(self, x):
        x = self._before(x)
        branches = [functools.reduce(lambda y, conv: conv(y), branch, x) for branch in self._branches]
        x = self._add([self._joined(self._join(branches)), x])
        return self._last(self._after(x))

    def _conv(self, filters: int, kernel, part: str):
        """x -> ReLU of a convolution."""
        name = f"{self._name}_{part}"
        conv = layers.Conv2D(
            filters, kernel, padding="same", name=name,
            kernel_initializer=initializer(self._hyperparams), kernel_regularizer=regularizer(self._hyperparams),
        )  # fmt: skip
        relu = layers.ReLU(name=name + "_relu")
        return lambda x: relu(conv(x))


def _require_honoured(recipe: Recipe) -> None:
    extractor, predictor, coder, loss = recipe.feature_extractor, recipe.box_predictor, recipe.box_coder, recipe.loss
    refused = (
        (coder.kind != "faster_rcnn", "model.ssd.box_coder: it learns no landmarks, and steps in faster_rcnn_box_coder's code"),
        (recipe.add_background_class, "model.ssd.add_background_class: true: max_out_background scores the background"),
        (recipe.score_converter != "SIGMOID", "model.ssd.post_processing.score_converter: SIGMOID is wanted"),
        (extractor.fpn is not None, "model.ssd.feature_extractor.fpn: the levels are six, strides 4 to 128, as wide as depth makes them"),
        (extractor.num_layers != LEVELS, f"model.ssd.feature_extractor.num_layers: {extractor.num_layers}: there are {LEVELS} levels"),
        (extractor.depth_multiplier != 1, f"model.ssd.feature_extractor.depth_multiplier: {extractor.depth_multiplier:g}: a ResNet has 1"),
        (extractor.use_depthwise or predictor.use_depthwise, "use_depthwise: true: its convolutions are whole"),
        (extractor.stem_channels or extractor.expansions or extractor.blocks, "[facedet.backbone]: of MobileNetV2; depth tells a ResNet"),
        (extractor.hyperparams.activation != "relu", "model.ssd.feature_extractor.conv_hyperparams.activation: a ResNet has RELU"),
        (predictor.kernel_size != 1, f"convolutional_box_predictor.kernel_size: {predictor.kernel_size}: its last convolution is 1x1"),
        (loss.classification, f"[facedet.loss] classification: {loss.classification}: two steps know model.ssd.loss's alone"),
        (loss.message.HasField("hard_example_miner"), "model.ssd.loss.hard_example_miner: the first step filters what is easy"),
        (loss.normalize_by_code_size, "model.ssd.normalize_loc_loss_by_codesize: true: boxes are compared, not codes"),
    )  # fmt: skip
    for wrong, why in refused:
        if wrong:
            raise ConfigError(f"{why}; nothing in ainnoface_resnet honours it otherwise.")
