"""The network of `models/reader.py` as an ONNX graph, from a bundle's weights: what other engines run.

Group normalisation is an instance normalisation of its groups, as PyTorch exports it: engines know that form.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import load_file

FOLD = 4
MAP_STRIDE = 8
TAIL, MARGIN, LEAST_LUNGS = 0.01, 0.08, 0.01
OPSET, IR_VERSION = 21, 10
WHOLE = (0.0, 0.0, 1.0, 1.0)
Box = Sequence[str]
"""Top, left, bottom and right, `[n, 1]` each."""


def reader_onnx(bundle: Path) -> onnx.ModelProto:
    """`images` uint8 `[n, size, size]` to `logits`, `maps`, `embeddings` and `lungs`, with any n."""
    document = json.loads((bundle / "bundle.json").read_text())
    arrays = load_file(bundle / "weights.safetensors")
    weights = {name.removeprefix("weights."): array for name, array in arrays.items()}
    return _Reader(weights, document["architecture"], document["preprocess"]["size"]).model()


class _Graph:
    """Nodes and constants, named as they come; each call gives the name of what it makes."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def __getattr__(self, kind: str) -> Any:
        return lambda *inputs, **attributes: self.add(kind, *inputs, **attributes)[0]

    def add(self, kind: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> list[str]:
        """A node; numbers among the inputs become constants, float32 unless they are whole."""
        names = [each if isinstance(each, str) else self._constant(each) for each in inputs]
        made = [f"{kind}_{len(self.nodes)}_{number}" for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, names, made, **attributes))
        return made

    def _constant(self, value: Any) -> str:
        array = np.asarray(value)
        name = f"constant_{len(self.constants)}"
        kind = np.int64 if array.dtype.kind == "i" else np.float32
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array, kind), name))
        return name


class _Reader:
    def __init__(self, weights: Mapping[str, Any], architecture: Mapping[str, Any], size: int) -> None:
        self._weights, self._size = weights, size
        self._lungs, self._classifier, self._field = (architecture[key] for key in ("lungs", "classifier", "field"))
        self._g = _Graph()

    def model(self) -> onnx.ModelProto:
        g, size, half, field = self._g, self._size, self._size // 2, self._field
        levels = g.Div(g.Cast("images", to=TensorProto.FLOAT), 255.0)
        lungs = self._find_lungs(levels)
        box = self._views(lungs, half)
        images = self._crop(g.Concat(levels, levels, axis=0), box, size, field)
        inside = self._crop(g.Concat(lungs, lungs, axis=0), box, half, field // 2)
        logits, maps, embeddings = self._classify(images, inside)
        made = {"logits": logits, "maps": self._place(maps, box), "embeddings": embeddings}
        for name, each in made.items():
            first, second = g.add("Split", each, outputs=2, axis=0, num_outputs=2)
            g.nodes.append(helper.make_node("Mean", [first, second], [name]))
        g.nodes.append(helper.make_node("Identity", [lungs], ["lungs"]))
        return self._checked()

    def _checked(self) -> onnx.ModelProto:
        findings, width, size = self._classifier["findings"], self._classifier["widths"][-1], self._size
        cells = size // MAP_STRIDE
        shapes = {
            "logits": [findings],
            "maps": [findings, cells, cells],
            "embeddings": [width],
            "lungs": [size // 2, size // 2],
        }
        value = helper.make_tensor_value_info
        outputs = [value(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in shapes.items()]
        images = value("images", TensorProto.UINT8, ["n", size, size])
        graph = helper.make_graph(self._g.nodes, "reader", [images], outputs, self._g.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model)
        return model

    def _conv(self, features: str, path: str, *bias: Any) -> str:
        kernel = self._weights[f"{path}.kernel"].transpose(3, 2, 0, 1)
        return str(
            self._g.Conv(features, kernel, *bias, kernel_shape=kernel.shape[2:], pads=[kernel.shape[2] // 2] * 4)
        )

    def _norm(self, features: str, path: str, groups: int) -> str:
        g = self._g
        grouped = g.Reshape(features, [0, groups, -1])
        normal = g.InstanceNormalization(grouped, np.ones(groups), np.zeros(groups), epsilon=1e-6)
        scale, bias = (self._weights[f"{path}.{name}"].reshape(1, -1, 1, 1) for name in ("scale", "bias"))
        return str(g.Add(g.Mul(g.Reshape(normal, g.Shape(features)), scale), bias))

    def _block(self, features: str, path: str, groups: int) -> str:
        return str(self._g.Relu(self._norm(self._conv(features, f"{path}.conv"), f"{path}.norm", groups)))

    def _residual(self, features: str, path: str, groups: int) -> str:
        g = self._g
        inner = g.Relu(self._norm(self._conv(features, f"{path}.conv1"), f"{path}.norm1", groups))
        inner = self._norm(self._conv(inner, f"{path}.conv2"), f"{path}.norm2", groups)
        shortcut = f"{path}.shortcut"
        kept = self._conv(features, shortcut) if f"{shortcut}.kernel" in self._weights else features
        return str(g.Relu(g.Add(kept, inner)))

    def _folded(self, images: str) -> str:
        return str(self._g.SpaceToDepth(self._g.Unsqueeze(images, [1]), blocksize=FOLD))

    def _halved(self, features: str, factor: int = 2) -> str:
        return str(self._g.AveragePool(features, kernel_shape=[factor] * 2, strides=[factor] * 2))

    def _find_lungs(self, levels: str) -> str:
        g, groups = self._g, self._lungs["groups"]
        features = g.Mul(g.Sub(self._folded(levels), 0.5), 4.0)
        passed: list[str] = []
        for level in range(len(self._lungs["widths"])):
            features = self._halved(features) if passed else features
            for each in (0, 1):
                features = self._block(features, f"lungs.down.{level}.{each}", groups)
            passed.append(features)
        nearest = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
        for level, beside in enumerate(reversed(passed[:-1])):
            features = g.Concat(g.Resize(features, "", [1.0, 1.0, 2.0, 2.0], **nearest), beside, axis=1)
            for each in (0, 1):
                features = self._block(features, f"lungs.up.{level}.{each}", groups)
        fine = g.DepthToSpace(self._conv(features, "lungs.head", self._weights["lungs.head.bias"]), blocksize=2)
        return str(g.Sigmoid(g.Squeeze(fine, [1])))

    def _views(self, lungs: str, edge: int) -> Box:
        """The box of the lungs, and after it the whole, `[2 * n, 1]` each."""
        g = self._g
        top, bottom = self._extent(g.ReduceSum(lungs, [2], keepdims=0), edge)
        left, right = self._extent(g.ReduceSum(lungs, [1], keepdims=0), edge)
        found = g.Unsqueeze(g.Greater(g.ReduceMean(lungs, [1, 2], keepdims=0), LEAST_LUNGS), [1])
        sides = [g.Where(found, side, whole) for side, whole in zip((top, left, bottom, right), WHOLE, strict=True)]
        wholes = [g.Add(g.Mul(side, 0.0), whole) for side, whole in zip(sides, WHOLE, strict=True)]
        return [g.Concat(side, whole, axis=0) for side, whole in zip(sides, wholes, strict=True)]

    def _extent(self, profile: str, count: int) -> tuple[str, str]:
        g = self._g
        reached = g.Div(g.CumSum(profile, 1), g.Max(g.ReduceSum(profile, [1], keepdims=1), 1e-6))
        below, above = g.Less(reached, TAIL), g.Greater(reached, 1.0 - TAIL)
        shares = (g.ReduceMean(g.Cast(each, to=TensorProto.FLOAT), [1], keepdims=1) for each in (below, above))
        start, rest = shares
        end = g.Sub(1.0 + 1.0 / count, rest)
        more = g.Mul(g.Sub(end, start), MARGIN)
        return g.Max(g.Sub(start, more), 0.0), g.Min(g.Add(end, more), 1.0)

    def _centres(self, start: str, end: str, inputs: int, outputs: int) -> str:
        g = self._g
        steps = g.Mul((np.arange(outputs)[None] + 0.5) * inputs / outputs, g.Sub(end, start))
        return str(g.Sub(g.Add(g.Mul(start, float(inputs)), steps), 0.5))

    def _hats(self, centres: str, inputs: int, axis: int) -> str:
        g = self._g
        cells = np.expand_dims(np.arange(inputs, dtype=np.float32), (0, 3 - axis))
        return str(g.Relu(g.Sub(1.0, g.Abs(g.Sub(cells, g.Unsqueeze(centres, [axis]))))))

    def _crop(self, pictures: str, box: Box, inputs: int, outputs: int) -> str:
        top, left, bottom, right = box
        down = self._hats(self._centres(top, bottom, inputs, outputs), inputs, 2)
        across = self._hats(self._centres(left, right, inputs, outputs), inputs, 1)
        return str(self._g.MatMul(self._g.MatMul(down, pictures), across))

    def _place(self, maps: str, box: Box) -> str:
        g = self._g
        top, left, bottom, right = box
        down, across = self._laying(top, bottom, 2), self._laying(left, right, 1)
        return str(g.MatMul(g.MatMul(g.Unsqueeze(down, [1]), maps), g.Unsqueeze(across, [1])))

    def _laying(self, start: str, end: str, axis: int) -> str:
        g, inputs = self._g, self._cells
        extent = g.Sub(end, start)
        first, last = g.Neg(g.Div(start, extent)), g.Div(g.Sub(1.0, start), extent)
        centres = self._centres(first, last, inputs, self._size // MAP_STRIDE)
        inside = g.And(g.GreaterOrEqual(centres, -0.5), g.LessOrEqual(centres, inputs - 0.5))
        weights = self._hats(g.Clip(centres, 0.0, inputs - 1.0), inputs, axis)
        return str(g.Mul(g.Unsqueeze(g.Cast(inside, to=TensorProto.FLOAT), [axis]), weights))

    @property
    def _cells(self) -> int:
        """Along an edge of the classifier's maps."""
        return int(self._field // (FOLD * 2 ** (len(self._classifier["widths"]) - 1)))

    def _classify(self, images: str, lungs: str) -> tuple[str, str, str]:
        g, groups, context = self._g, self._classifier["groups"], self._classifier["context"]
        features = self._block(self._folded(self._standardised(images)), "classifier.stem", groups)
        for stage, blocks in enumerate(self._classifier["blocks"]):
            features = self._halved(features) if stage else features
            for block in range(blocks):
                features = self._residual(features, f"classifier.stages.{stage}.{block}", groups)
        lung = self._halved(g.Unsqueeze(lungs, [1]), self._field // 2 // self._cells)
        weights = g.Add(g.Mul(g.Clip(g.Mul(lung, 1.5), 0.0, 1.0), 1.0 - context), context)
        share = g.Div(weights, g.Max(g.ReduceSum(weights, [2, 3], keepdims=1), 1e-6))
        width = self._classifier["widths"][-1]
        pooled = g.MatMul(g.Reshape(features, [0, width, -1]), g.Reshape(share, [0, -1, 1]))
        embeddings = g.Squeeze(pooled, [2])
        kernel = self._weights["classifier.head.kernel"]
        evidence = g.Conv(features, kernel.T[:, :, None, None], kernel_shape=[1, 1])
        logits = g.Add(g.MatMul(embeddings, kernel), self._weights["classifier.head.bias"])
        return logits, g.Mul(g.Relu(evidence), weights), embeddings

    def _standardised(self, images: str) -> str:
        g = self._g
        centred = g.Sub(images, g.ReduceMean(images, [1, 2], keepdims=1))
        deviation = g.Sqrt(g.ReduceMean(g.Mul(centred, centred), [1, 2], keepdims=1))
        return str(g.Div(centred, g.Add(deviation, 0.05)))
