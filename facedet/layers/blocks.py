"""The layers that the networks are made of, with the hyperparameters of a pipeline config. Plain Keras layers only."""

from facedet import replicas
from facedet.keras2 import keras
from facedet.recipe.recipe import Hyperparams

layers = keras.layers


def initializer(hyperparams: Hyperparams) -> keras.initializers.Initializer:
    """A new one each time: one object gives equal shapes equal values."""
    kind, *numbers = hyperparams.initializer
    made = {
        "truncated_normal": keras.initializers.TruncatedNormal,
        "random_normal": keras.initializers.RandomNormal,
        "variance_scaling": keras.initializers.VarianceScaling,
    }
    return made[kind](*numbers)


def regularizer(hyperparams: Hyperparams) -> keras.regularizers.Regularizer | None:
    return keras.regularizers.L1L2(hyperparams.l1, hyperparams.l2) if hyperparams.l1 or hyperparams.l2 else None


def make_divisible(value: float, divisor: int = 8, minimum: int | None = None) -> int:
    """The multiple of `divisor` nearest to `value`, at least `minimum` and never below 90% (MobileNetV2's own rule)."""
    minimum = divisor if minimum is None else minimum
    rounded = max(minimum, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def enlarged(x, places: tuple[int, int], name: str, interpolation: str = "nearest"):
    """[B, h, w, c] -> twice the size; where `places`, rows and columns, are odd, as 15 over 8, without what
    lies beyond them."""
    x = layers.UpSampling2D(2, interpolation=interpolation, name=name)(x)
    beyond = [have - wanted for have, wanted in zip(x.shape[1:3], places, strict=True)]
    return layers.Cropping2D(tuple((0, rest) for rest in beyond), name=name + "_crop")(x) if any(beyond) else x


class Blocks:
    """Convolution, batch norm and activation by the hyperparameters of one part of a network."""

    def __init__(self, hyperparams: Hyperparams, explicit_padding: bool = False):
        self.hyperparams, self.explicit_padding = hyperparams, explicit_padding

    def conv(self, x, filters, kernel, stride=1, name=None, use_bias=False, bias_initializer="zeros", dilation=1):
        """[B, h, w, c] -> [B, h / stride, w / stride, filters]."""
        x, padding = self._pad(x, kernel, stride, name)
        return layers.Conv2D(
            filters, kernel, stride, padding, use_bias=use_bias, bias_initializer=bias_initializer, name=name, dilation_rate=dilation,
            kernel_initializer=initializer(self.hyperparams), kernel_regularizer=regularizer(self.hyperparams),
        )(x)  # fmt: skip

    def depthwise(self, x, kernel=3, stride=1, name=None, use_bias=False):
        x, padding = self._pad(x, kernel, stride, name)
        return layers.DepthwiseConv2D(
            kernel, stride, padding, use_bias=use_bias, name=name, depthwise_initializer=initializer(self.hyperparams),
            depthwise_regularizer=regularizer(self.hyperparams) if self.hyperparams.regularize_depthwise else None,
        )(x)  # fmt: skip

    def batch_norm(self, x, name=None):
        kind = layers.BatchNormalization if replicas.count() == 1 else replicas.SynchronizedBatchNormalization
        return kind(momentum=self.hyperparams.bn_momentum, epsilon=self.hyperparams.bn_epsilon, name=name)(x)

    def activation(self, x, name=None):
        return layers.ReLU(6.0 if self.hyperparams.activation == "relu6" else None, name=name)(x)

    def conv_bn(self, x, filters, kernel, stride=1, name="conv", activate=True, dilation=1):
        """Hyperparameters without a batch norm: with a bias in its place; so depthwise_bn()."""
        x = self._normalized(self.conv(x, filters, kernel, stride, name, not self._has_batch_norm, dilation=dilation), name)
        return self.activation(x, name + "_relu") if activate else x

    def depthwise_bn(self, x, kernel=3, stride=1, name="depthwise"):
        x = self._normalized(self.depthwise(x, kernel, stride, name, not self._has_batch_norm), name)
        return self.activation(x, name + "_relu")

    @property
    def _has_batch_norm(self) -> bool:
        return self.hyperparams.bn_momentum is not None

    def _normalized(self, x, name):
        return self.batch_norm(x, name + "_BN") if self._has_batch_norm else x

    def _pad(self, x, kernel, stride, name):
        """use_explicit_padding: the same zeros on both sides at stride 2, as PyTorch and the OD API pad; else TensorFlow's 'same'."""
        if self.explicit_padding and stride > 1 and kernel > 1:
            return layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad" if name else None)(x), "valid"
        return x, "same"
