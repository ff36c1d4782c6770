"""The layers that the networks are made of, with the hyperparameters of a pipeline config. Plain Keras layers only."""

import dataclasses
import functools
from collections.abc import Callable

from facedet.errors import ConfigError
from facedet.keras2 import keras

layers = keras.layers


@dataclasses.dataclass(frozen=True)
class Hyperparams:
    """conv_hyperparams of a pipeline config, read once."""

    initializer: Callable[[], keras.initializers.Initializer]  # a new one each time: one object gives equal shapes equal values
    regularizer: keras.regularizers.Regularizer | None
    depthwise_regularizer: keras.regularizers.Regularizer | None
    bn_momentum: float
    bn_epsilon: float
    activation: str  # 'relu6' or 'relu'

    @classmethod
    def from_proto(cls, proto) -> "Hyperparams":
        """proto: object_detection.protos.Hyperparams. ConfigError names a field that the networks cannot honour."""
        activation = {1: "relu", 2: "relu6"}.get(proto.activation)
        if activation is None:
            raise ConfigError(f"conv_hyperparams.activation: {proto.activation}: only RELU and RELU_6 can be quantized.")
        regularizer = None
        kind = proto.regularizer.WhichOneof("regularizer_oneof")
        if kind == "l1_regularizer":
            regularizer = keras.regularizers.L1(proto.regularizer.l1_regularizer.weight)
        elif kind == "l2_regularizer":
            regularizer = keras.regularizers.L2(proto.regularizer.l2_regularizer.weight * 0.5)  # as the OD API counts it
        if regularizer is not None and not getattr(regularizer, "l1", 0) and not getattr(regularizer, "l2", 0):
            regularizer = None
        return cls(
            initializer=_initializer(proto.initializer),
            regularizer=regularizer,
            depthwise_regularizer=regularizer if proto.regularize_depthwise else None,
            bn_momentum=proto.batch_norm.decay,
            bn_epsilon=proto.batch_norm.epsilon,
            activation=activation,
        )


def _initializer(proto):
    kind = proto.WhichOneof("initializer_oneof")
    if kind == "truncated_normal_initializer":
        chosen = proto.truncated_normal_initializer
        return functools.partial(keras.initializers.TruncatedNormal, chosen.mean, chosen.stddev)
    if kind == "random_normal_initializer":
        chosen = proto.random_normal_initializer
        return functools.partial(keras.initializers.RandomNormal, chosen.mean, chosen.stddev)
    if kind == "variance_scaling_initializer":
        chosen = proto.variance_scaling_initializer
        mode = ("fan_in", "fan_out", "fan_avg")[chosen.mode]
        distribution = "uniform" if chosen.uniform else "truncated_normal"
        return functools.partial(keras.initializers.VarianceScaling, chosen.factor, mode, distribution)
    raise ConfigError(f"conv_hyperparams.initializer: {kind}: use truncated_normal, random_normal or variance_scaling.")


def make_divisible(value: float, divisor: int = 8, minimum: int | None = None) -> int:
    """The multiple of `divisor` nearest to `value`, at least `minimum` and never below 90% (MobileNetV2's own rule)."""
    minimum = divisor if minimum is None else minimum
    rounded = max(minimum, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


class Blocks:
    """Convolution, batch norm and activation by the hyperparameters of one part of a network."""

    def __init__(self, hyperparams: Hyperparams, explicit_padding: bool = False):
        self.hyperparams, self.explicit_padding = hyperparams, explicit_padding

    def conv(self, x, filters, kernel, stride=1, name=None, use_bias=False, bias_initializer="zeros"):
        """[B, h, w, c] -> [B, h / stride, w / stride, filters]."""
        x, padding = self._pad(x, kernel, stride, name)
        return layers.Conv2D(
            filters, kernel, stride, padding, use_bias=use_bias, bias_initializer=bias_initializer, name=name,
            kernel_initializer=self.hyperparams.initializer(), kernel_regularizer=self.hyperparams.regularizer,
        )(x)  # fmt: skip

    def depthwise(self, x, kernel=3, stride=1, name=None):
        x, padding = self._pad(x, kernel, stride, name)
        return layers.DepthwiseConv2D(
            kernel, stride, padding, use_bias=False, name=name,
            depthwise_initializer=self.hyperparams.initializer(), depthwise_regularizer=self.hyperparams.depthwise_regularizer,
        )(x)  # fmt: skip

    def batch_norm(self, x, name=None):
        return layers.BatchNormalization(momentum=self.hyperparams.bn_momentum, epsilon=self.hyperparams.bn_epsilon, name=name)(x)

    def activation(self, x, name=None):
        return layers.ReLU(6.0 if self.hyperparams.activation == "relu6" else None, name=name)(x)

    def conv_bn(self, x, filters, kernel, stride=1, name="conv", activate=True):
        x = self.batch_norm(self.conv(x, filters, kernel, stride, name), name + "_BN")
        return self.activation(x, name + "_relu") if activate else x

    def depthwise_bn(self, x, kernel=3, stride=1, name="depthwise"):
        return self.activation(self.batch_norm(self.depthwise(x, kernel, stride, name), name + "_BN"), name + "_relu")

    def _pad(self, x, kernel, stride, name):
        """use_explicit_padding: the same zeros on both sides at stride 2, as PyTorch and the OD API pad; else TensorFlow's 'same'."""
        if self.explicit_padding and stride > 1 and kernel > 1:
            return layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad" if name else None)(x), "valid"
        return x, "same"
