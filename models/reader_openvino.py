"""The network of `models/reader.py` in OpenVINO's operations, from a bundle's weights: the same sums, another engine.

Features are `[n, channels, h, w]` here. Needs no JAX.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.bundle import Bundle
from models.openvino_runtime import openvino

OUTPUTS: Final = ("logits", "maps", "embeddings", "lungs")
_MAP_STRIDE: Final = 8
_FOLD: Final = 4
_UNFOLD: Final = 2
_TAIL: Final = 0.01
_MARGIN: Final = 0.08
_LEAST_LUNGS: Final = 0.01
_TONE_FLOOR: Final = 0.05
_EPSILON: Final = 1e-6
_WHOLE: Final = (0.0, 0.0, 1.0, 1.0)

Node = Any
"""Of OpenVINO, which may not be installed where types are checked."""
Box = Sequence[Node]
"""Top, left, bottom and right, `[n, 1]` each, as shares of the picture's edge."""


def reader_model(bundle: Bundle, batch: int) -> Any:
    """An `openvino.Model` of uint8 `[batch, size, size]` that gives `OUTPUTS`, in that order.

    Raises:
        ValueError: a parameter is left over, or of another shape.
        KeyError: a parameter, or a field of the architecture, is missing.
        EngineMissing: OpenVINO is not installed.
    """
    reader = _Reader(bundle, batch)
    images = reader.ops.parameter([batch, bundle.spec.size, bundle.spec.size], np.uint8, name="images")
    outputs = reader.read(images)
    unused = sorted(set(bundle.weights) - reader.used)
    if unused:
        raise ValueError(f"weights do not fit the architecture: {unused[0]} and {len(unused) - 1} more are left over")
    return openvino().Model(outputs, [images], bundle.id)


class _Operations:
    """Arithmetic that the whole network shares; numbers become float32 constants."""

    def __init__(self) -> None:
        self.ops = openvino().opset13

    def constant(self, values: Any) -> Node:
        return self.ops.constant(np.ascontiguousarray(values, np.float32))

    def integers(self, *values: int) -> Node:
        return self.ops.constant(np.array(values, np.int64))

    def plus(self, left: Node, right: Any) -> Node:
        return self.ops.add(left, self._node(right))

    def minus(self, left: Any, right: Any) -> Node:
        return self.ops.subtract(self._node(left), self._node(right))

    def times(self, left: Node, right: Any) -> Node:
        return self.ops.multiply(left, self._node(right))

    def over(self, left: Any, right: Any) -> Node:
        return self.ops.divide(self._node(left), self._node(right))

    def at_least(self, left: Node, right: float) -> Node:
        return self.ops.maximum(left, self.constant(right))

    def floats(self, values: Node) -> Node:
        return self.ops.convert(values, "f32")

    def mean(self, values: Node, *axes: int, keep: bool = True) -> Node:
        return self.ops.reduce_mean(values, self.integers(*axes), keep)

    def total(self, values: Node, *axes: int, keep: bool = True) -> Node:
        return self.ops.reduce_sum(values, self.integers(*axes), keep)

    def shaped(self, values: Node, *shape: int) -> Node:
        """0 keeps a dimension, -1 takes what is left."""
        return self.ops.reshape(values, self.integers(*shape), True)

    def with_axis(self, values: Node, axis: int) -> Node:
        return self.ops.unsqueeze(values, self.integers(axis))

    def product(self, left: Node, right: Node) -> Node:
        return self.ops.matmul(left, right, False, False)

    def _node(self, value: Any) -> Node:
        return self.constant(value) if isinstance(value, int | float | np.ndarray) else value


class _Reader(_Operations):
    def __init__(self, bundle: Bundle, batch: int) -> None:
        super().__init__()
        self._weights, self._size, self._batch = bundle.weights, bundle.spec.size, batch
        self._lungs: Mapping[str, Any] = bundle.architecture["lungs"]
        self._classifier: Mapping[str, Any] = bundle.architecture["classifier"]
        self._field: int = bundle.architecture["field"]
        self.used: set[str] = set()

    def read(self, images: Node) -> list[Node]:
        levels = self.over(self.floats(images), 255.0)
        lungs = self.ops.sigmoid(self._find_lungs(levels))
        views = self._views(lungs)
        pictures = self._crop(self._twice(levels), views, self._size, self._field)
        inside = self._crop(self._twice(lungs), views, self._size // 2, self._field // 2)
        logits, maps, embeddings = self._classify(pictures, inside)
        found = (logits, self._place(maps, views), embeddings)
        return [*map(self._mean_of_views, found), lungs]

    def _twice(self, values: Node) -> Node:
        return self.ops.concat([values, values], 0)

    def _mean_of_views(self, values: Node) -> Node:
        first, second = self.ops.split(values, self.ops.constant(np.int64(0)), 2).outputs()
        return self.times(self.plus(first, second), 0.5)

    # Layers

    def _weight(self, name: str, *shape: int) -> NDArray[np.float32]:
        self.used.add(name)
        values = self._weights[name]
        if values.shape != shape:
            raise ValueError(f"{name} is {values.shape}, the architecture has {shape}")
        return np.asarray(values, np.float32)

    def _conv(self, features: Node, path: str, width: int, size: int = 3) -> Node:
        kernel = self._weight(f"{path}.kernel", size, size, _width(features), width).transpose(3, 2, 0, 1)
        around = [size // 2] * 2
        return self.ops.convolution(features, self.constant(kernel), [1, 1], around, around, [1, 1])

    def _norm(self, features: Node, path: str, groups: int) -> Node:
        """As `models.layers.GroupNorm`; OpenVINO's own would need the features in another layout, and back."""
        channels = _width(features)
        scale, bias = (self._weight(f"{path}.{name}", channels).reshape(groups, -1) for name in ("scale", "bias"))
        mean, mean_square = self._of_groups(features, groups), self._of_groups(self.times(features, features), groups)
        variance = self.at_least(self.minus(mean_square, self.times(mean, mean)), 0.0)
        factor = self.over(scale, self.ops.sqrt(self.plus(variance, _EPSILON)))
        shift = self.minus(bias, self.times(mean, factor))
        factor, shift = (self.shaped(each, 0, channels, 1, 1) for each in (factor, shift))
        return self.plus(self.times(features, factor), shift)

    def _of_groups(self, values: Node, groups: int) -> Node:
        """The mean of each group, `[n, groups, 1]`."""
        return self.mean(self.shaped(self.mean(values, 2, 3), 0, groups, -1), 2)

    def _block(self, features: Node, path: str, width: int, groups: int) -> Node:
        return self.ops.relu(self._norm(self._conv(features, f"{path}.conv", width), f"{path}.norm", groups))

    def _residual(self, features: Node, path: str, width: int, groups: int) -> Node:
        inner = self.ops.relu(self._norm(self._conv(features, f"{path}.conv1", width), f"{path}.norm1", groups))
        inner = self._norm(self._conv(inner, f"{path}.conv2", width), f"{path}.norm2", groups)
        kept = features if _width(features) == width else self._conv(features, f"{path}.shortcut", width, 1)
        return self.ops.relu(self.plus(kept, inner))

    def _folded(self, images: Node) -> Node:
        return self.ops.space_to_depth(self.with_axis(images, 1), "blocks_first", _FOLD)

    def _halved(self, features: Node, factor: int = 2) -> Node:
        return self.ops.avg_pool(features, [factor] * 2, [0, 0], [0, 0], [factor] * 2, True)

    def _doubled(self, features: Node) -> Node:
        """By repeating."""
        _, channels, height, width = features.get_output_shape(0)
        spread = self.shaped(features, 0, channels, height, 1, width, 1)
        return self.shaped(self.ops.tile(spread, self.integers(1, 1, 1, 2, 1, 2)), 0, channels, 2 * height, 2 * width)

    # The lungs

    def _find_lungs(self, levels: Node) -> Node:
        """Logits of lung, `[n, size / 2, size / 2]`."""
        widths = self._lungs["widths"]
        features = self.times(self.minus(self._folded(levels), 0.5), 4.0)
        passed: list[Node] = []
        for level, width in enumerate(widths):
            features = self._pair(self._halved(features) if passed else features, f"lungs.down.{level}", width)
            passed.append(features)
        for level, beside in enumerate(reversed(passed[:-1])):
            joined = self.ops.concat([self._doubled(features), beside], 1)
            features = self._pair(joined, f"lungs.up.{level}", _width(beside))
        bias = self._weight("lungs.head.bias", _UNFOLD**2).reshape(1, -1, 1, 1)
        logits = self.plus(self._conv(features, "lungs.head", _UNFOLD**2, 1), bias)
        half = self._size // 2
        return self.shaped(self.ops.depth_to_space(logits, "blocks_first", _UNFOLD), 0, half, half)

    def _pair(self, features: Node, path: str, width: int) -> Node:
        groups = self._lungs["groups"]
        return self._block(self._block(features, f"{path}.0", width, groups), f"{path}.1", width, groups)

    # The lung field

    def _views(self, lungs: Node) -> Box:
        """The boxes of the lungs, and after them the wholes, `[2 * n, 1]` each."""
        top, bottom = self._extent(self.total(lungs, 2, keep=False))
        left, right = self._extent(self.total(lungs, 1, keep=False))
        found = self.ops.greater(self.mean(lungs, 1, 2, keep=True), self.constant(_LEAST_LUNGS))
        found = self.shaped(found, 0, 1)
        sides = zip((top, left, bottom, right), _WHOLE, strict=True)
        return [self._view(self.ops.select(found, side, self.constant(whole)), whole) for side, whole in sides]

    def _view(self, side: Node, whole: float) -> Node:
        return self.ops.concat([side, self.constant(np.full((self._batch, 1), whole))], 0)

    def _extent(self, profile: Node) -> tuple[Node, Node]:
        count = self._size // 2
        sums = self.ops.cum_sum(profile, self.ops.constant(np.int64(1)))
        reached = self.over(sums, self.at_least(self.total(profile, 1), 1e-6))
        before = self.floats(self.ops.less(reached, self.constant(_TAIL)))
        after = self.floats(self.ops.greater(reached, self.constant(1.0 - _TAIL)))
        start = self.over(self.total(before, 1), count)
        end = self.plus(self.minus(1.0, self.over(self.total(after, 1), count)), 1.0 / count)
        more = self.times(self.minus(end, start), _MARGIN)
        return self.at_least(self.minus(start, more), 0.0), self.ops.minimum(self.plus(end, more), self.constant(1.0))

    def _crop(self, pictures: Node, box: Box, inputs: int, outputs: int) -> Node:
        top, left, bottom, right = box
        down = self._hats(self._centres(top, bottom, inputs, outputs), inputs, 2)
        across = self._hats(self._centres(left, right, inputs, outputs), inputs, 1)
        return self.product(self.product(down, pictures), across)

    def _place(self, maps: Node, box: Box) -> Node:
        top, left, bottom, right = box
        down, across = self._laying(top, bottom, 2), self._laying(left, right, 1)
        return self.product(self.product(self.with_axis(down, 1), maps), self.with_axis(across, 1))

    def _laying(self, start: Node, end: Node, axis: int) -> Node:
        extent, cells = self.minus(end, start), self._cells
        first, last = self.over(self.minus(0.0, start), extent), self.over(self.minus(1.0, start), extent)
        centres = self._centres(first, last, cells, self._size // _MAP_STRIDE)
        inside = self.ops.logical_and(
            self.ops.greater_equal(centres, self.constant(-0.5)),
            self.ops.less_equal(centres, self.constant(cells - 0.5)),
        )
        weights = self._hats(self.ops.clamp(centres, 0.0, cells - 1.0), cells, axis)
        return self.times(weights, self.with_axis(self.floats(inside), axis))

    def _centres(self, start: Node, end: Node, inputs: int, outputs: int) -> Node:
        """`[n, outputs]`: where the centre of each output lies, in inputs."""
        steps = self.times(self.minus(end, start), (np.arange(outputs)[None] + 0.5) * inputs / outputs)
        return self.minus(self.plus(self.times(start, inputs), steps), 0.5)

    def _hats(self, centres: Node, inputs: int, axis: int) -> Node:
        """Weights of the inputs, `[n, outputs, inputs]` where `axis` is 2, `[n, inputs, outputs]` where it is 1."""
        cells = np.expand_dims(np.arange(inputs, dtype=np.float32), (0, 3 - axis))
        return self.ops.relu(self.minus(1.0, self.ops.abs(self.minus(cells, self.with_axis(centres, axis)))))

    # The classifier

    @property
    def _cells(self) -> int:
        """Along an edge of the classifier's maps."""
        return int(self._field // (_FOLD * 2 ** (len(self._classifier["widths"]) - 1)))

    def _classify(self, images: Node, lungs: Node) -> tuple[Node, Node, Node]:
        """Logits `[n, findings]`, maps `[n, findings, cells, cells]` and embeddings `[n, width]`."""
        features, weights = self._features(images), self._cell_weights(lungs)
        width, findings = _width(features), self._classifier["findings"]
        kernel = self._weight("classifier.head.kernel", width, findings)
        bias = self._weight("classifier.head.bias", findings)
        share = self.over(weights, self.at_least(self.total(weights, 2, 3), 1e-6))
        places = self.shaped(features, 0, width, -1)
        embeddings = self.shaped(self.product(places, self.shaped(share, 0, -1, 1)), 0, width)
        logits = self.plus(self.product(embeddings, self.constant(kernel)), bias)
        evidence = self.product(self.constant(kernel.T[None]), places)
        maps = self.shaped(self.ops.relu(evidence), 0, findings, self._cells, self._cells)
        return logits, self.times(maps, weights), embeddings

    def _features(self, images: Node) -> Node:
        groups, widths = self._classifier["groups"], self._classifier["widths"]
        features = self._block(self._folded(self._standardised(images)), "classifier.stem", widths[0], groups)
        for stage, (width, blocks) in enumerate(zip(widths, self._classifier["blocks"], strict=True)):
            features = self._halved(features) if stage else features
            for block in range(blocks):
                features = self._residual(features, f"classifier.stages.{stage}.{block}", width, groups)
        return features

    def _cell_weights(self, lungs: Node) -> Node:
        """`[n, 1, cells, cells]`: how much each cell counts."""
        context = self._classifier["context"]
        share = self._halved(self.with_axis(lungs, 1), self._field // 2 // self._cells)
        return self.plus(self.times(self.ops.clamp(self.times(share, 1.5), 0.0, 1.0), 1.0 - context), context)

    def _standardised(self, images: Node) -> Node:
        centred = self.minus(images, self.mean(images, 1, 2))
        deviation = self.ops.sqrt(self.mean(self.times(centred, centred), 1, 2))
        return self.over(centred, self.plus(deviation, _TONE_FLOOR))


def _width(features: Node) -> int:
    """How many channels there are."""
    return int(features.get_output_shape(0)[1])
