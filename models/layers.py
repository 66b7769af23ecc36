"""Building blocks that the networks share; features are `[n, h, w, channels]`.

No convolution has a stride: a picture is folded into channels at once and features are halved by averaging, which
loses no frequency to aliasing, and whose gradient is cheap on every kind of device.
"""

import jax
import jax.numpy as jnp
from flax import nnx


def as_levels(images: jax.Array) -> jax.Array:
    """Grey levels of 0 to 1 from `[...]` images of uint8 or of float in 0 to 1."""
    return images.astype(jnp.float32) / 255.0 if images.dtype == jnp.uint8 else images


def folded(images: jax.Array, factor: int) -> jax.Array:
    """`[n, h, w]` images as `[n, h / factor, w / factor, factor ** 2]` features; nothing is lost."""
    count, height, width = images.shape
    blocks = images.reshape(count, height // factor, factor, width // factor, factor)
    return blocks.transpose(0, 1, 3, 2, 4).reshape(count, height // factor, width // factor, factor**2)


def unfolded(features: jax.Array, factor: int) -> jax.Array:
    """The inverse of `folded`."""
    count, height, width, _ = features.shape
    blocks = features.reshape(count, height, width, factor, factor).transpose(0, 1, 3, 2, 4)
    return blocks.reshape(count, height * factor, width * factor)


def halved(features: jax.Array) -> jax.Array:
    """Half the resolution by averaging two by two."""
    count, height, width, channels = features.shape
    return features.reshape(count, height // 2, 2, width // 2, 2, channels).mean(axis=(2, 4))


def doubled(features: jax.Array) -> jax.Array:
    """Twice the resolution by repeating."""
    return features.repeat(2, axis=1).repeat(2, axis=2)


def convolution(inputs: int, outputs: int, size: int, rngs: nnx.Rngs) -> nnx.Conv:
    """A square convolution without bias, since a normalisation follows."""
    return nnx.Conv(inputs, outputs, (size, size), padding="SAME", use_bias=False, rngs=rngs)


class GroupNorm(nnx.GroupNorm):
    """Group normalisation (Wu and He, ECCV 2018) over `[n, h, w, channels]`, in few passes over the features.

    Sums are of each channel first and of its group then: summing over places and the channels of a group at once keeps
    a CPU's vectors half empty. The rest is one multiplication and one addition for each value.
    """

    def __call__(self, features: jax.Array, *, mask: jax.Array | None = None) -> jax.Array:
        """Normalise each group of channels to mean 0 and deviation 1, then scale and shift each channel.

        In float32, whatever the type of the features, which is that of the result.

        Raises:
            ValueError: there is a mask; none of the networks has one.
        """
        if mask is not None:
            raise ValueError("masked features are not normalised here")
        assert self.scale is not None and self.bias is not None  # noqa: S101, PT018
        values = features.astype(jnp.float32)
        mean, mean_square = self._of_groups(values), self._of_groups(jnp.square(values))
        variance = jnp.maximum(mean_square - jnp.square(mean), 0.0)
        factor = self._of_channels(jax.lax.rsqrt(variance + self.epsilon)) * self.scale[...].astype(jnp.float32)
        shift = self.bias[...].astype(jnp.float32) - self._of_channels(mean) * factor
        return (values * factor[:, None, None] + shift[:, None, None]).astype(features.dtype)

    def _of_groups(self, values: jax.Array) -> jax.Array:
        """The mean of each group, `[n, groups]`."""
        count, height, width, _ = values.shape
        channels = values.sum(axis=(1, 2)) / (height * width)
        return channels.reshape(count, self.num_groups, -1).mean(axis=2)

    def _of_channels(self, groups: jax.Array) -> jax.Array:
        """The value of its group for each channel, `[n, channels]`."""
        return groups.repeat(self.group_size, axis=1)


class ConvBlock(nnx.Module):
    """A 3x3 convolution, group normalisation and ReLU."""

    def __init__(self, inputs: int, outputs: int, groups: int, *, rngs: nnx.Rngs) -> None:
        self.conv = convolution(inputs, outputs, 3, rngs)
        self.norm = GroupNorm(outputs, num_groups=groups, rngs=rngs)

    def __call__(self, features: jax.Array) -> jax.Array:
        """Map `[n, h, w, inputs]` to `[n, h, w, outputs]`."""
        return nnx.relu(self.norm(self.conv(features)))


class ResidualBlock(nnx.Module):
    """Two 3x3 convolutions with group normalisation, added to their input (He et al., CVPR 2016)."""

    def __init__(self, inputs: int, outputs: int, groups: int, *, rngs: nnx.Rngs) -> None:
        self.conv1 = convolution(inputs, outputs, 3, rngs)
        self.norm1 = GroupNorm(outputs, num_groups=groups, rngs=rngs)
        self.conv2 = convolution(outputs, outputs, 3, rngs)
        self.norm2 = GroupNorm(outputs, num_groups=groups, rngs=rngs)
        self.shortcut = convolution(inputs, outputs, 1, rngs) if inputs != outputs else None

    def __call__(self, features: jax.Array) -> jax.Array:
        """Map `[n, h, w, inputs]` to `[n, h, w, outputs]`."""
        residual = nnx.relu(self.norm1(self.conv1(features)))
        residual = self.norm2(self.conv2(residual))
        kept = features if self.shortcut is None else self.shortcut(features)
        return nnx.relu(kept + residual)
