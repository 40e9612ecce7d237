"""Writes all-MiniLM-L6-v2 as an ONNX graph, from the weights as they were published (safetensors).

The graph takes `input_ids`, `attention_mask` and `token_type_ids` (int64, batch × sequence) and gives
`last_hidden_state` (float32, batch × sequence × 384); pooling and normalisation are the caller's.

Only the standard library is used, and the same weights always give the same bytes, so that the file can be pinned by
its SHA-256. ONNX is protocol buffers: the field numbers below are those of `onnx.proto`, version 8 of the format.
"""

import array
import json
import math
import struct
import sys
from typing import BinaryIO, Dict, List, Sequence

LAYERS, HEADS, HIDDEN, INNER = 6, 12, 384, 1536
LAYER_NORM_EPSILON = 1e-12
# Added to the score of a padded position: exp(-10000) is exactly 0 in float32, and a row of padding alone stays finite.
PADDING_SCORE = -10000.0

IR_VERSION, OPSET = 8, 17
FLOAT, INT64 = 1, 7  # TensorProto.DataType


def write(safetensors: str, target: BinaryIO) -> None:
    """Reads the weights at `safetensors` and writes the ONNX file to `target`."""
    graph = Graph(Weights(safetensors))
    encode(graph)
    target.write(model_proto(graph))


def encode(graph: "Graph") -> None:
    """BERT's encoder (Devlin et al. 2018), with post-layer normalisation and the exact GELU."""
    mask = padding_mask(graph)
    hidden = embed(graph)
    for layer in range(LAYERS):
        hidden = encoder_layer(graph, f"encoder.layer.{layer}", hidden, mask)
    graph.node("Identity", [hidden], output="last_hidden_state")


def padding_mask(graph: "Graph") -> str:
    """`attention_mask`, 1 for a token and 0 for padding, as something to add to the scores."""
    seen = graph.node("Unsqueeze", ["attention_mask", graph.ints("mask_axes", [1, 2])])
    seen = graph.node("Cast", [seen], to=FLOAT)
    hidden = graph.node("Sub", [graph.scalar("one", 1.0), seen])
    return graph.node("Mul", [hidden, graph.scalar("padding_score", PADDING_SCORE)])


def embed(graph: "Graph") -> str:
    word = graph.node("Gather", [graph.weight("embeddings.word_embeddings.weight"), "input_ids"])
    kind = graph.node("Gather", [graph.weight("embeddings.token_type_embeddings.weight"), "token_type_ids"])
    # A Slice: ONNX Runtime 1.32 rewrites Gather(positions, Range(sequence)) into something wrong.
    sequence = graph.node("Shape", ["input_ids"], start=1, end=2)
    position = graph.node(
        "Slice",
        [
            graph.weight("embeddings.position_embeddings.weight"),
            graph.ints("first_position", [0]),
            sequence,
            graph.ints("position_axis", [0]),
        ],
    )
    total = graph.node("Add", [graph.node("Add", [word, kind]), position])
    return layer_norm(graph, "embeddings.LayerNorm", total)


def encoder_layer(graph: "Graph", name: str, hidden: str, mask: str) -> str:
    attended = attention(graph, f"{name}.attention", hidden, mask)
    attended = linear(graph, f"{name}.attention.output.dense", attended)
    hidden = layer_norm(graph, f"{name}.attention.output.LayerNorm", graph.node("Add", [attended, hidden]))
    inner = gelu(graph, linear(graph, f"{name}.intermediate.dense", hidden))
    outer = linear(graph, f"{name}.output.dense", inner)
    return layer_norm(graph, f"{name}.output.LayerNorm", graph.node("Add", [outer, hidden]))


def attention(graph: "Graph", name: str, hidden: str, mask: str) -> str:
    """Scaled dot-product attention; a head's keys are transposed so that the product needs no further step."""
    split = graph.ints("heads_shape", [0, 0, HEADS, HIDDEN // HEADS])
    merge = graph.ints("hidden_shape", [0, 0, HIDDEN])

    def heads(which: str, axes: Sequence[int]) -> str:
        projected = linear(graph, f"{name}.self.{which}", hidden)
        return graph.node("Transpose", [graph.node("Reshape", [projected, split])], perm=axes)

    query, key, value = heads("query", [0, 2, 1, 3]), heads("key", [0, 2, 3, 1]), heads("value", [0, 2, 1, 3])
    scores = graph.node("MatMul", [query, key])
    scores = graph.node("Div", [scores, graph.scalar("score_scale", math.sqrt(HIDDEN // HEADS))])
    weights = graph.node("Softmax", [graph.node("Add", [scores, mask])], axis=-1)
    context = graph.node("Transpose", [graph.node("MatMul", [weights, value])], perm=[0, 2, 1, 3])
    return graph.node("Reshape", [context, merge])


def linear(graph: "Graph", name: str, x: str) -> str:
    product = graph.node("MatMul", [x, graph.transposed_weight(f"{name}.weight")])
    return graph.node("Add", [product, graph.weight(f"{name}.bias")])


def layer_norm(graph: "Graph", name: str, x: str) -> str:
    inputs = [x, graph.weight(f"{name}.weight"), graph.weight(f"{name}.bias")]
    return graph.node("LayerNormalization", inputs, axis=-1, epsilon=LAYER_NORM_EPSILON)


def gelu(graph: "Graph", x: str) -> str:
    erf = graph.node("Erf", [graph.node("Div", [x, graph.scalar("sqrt_two", math.sqrt(2.0))])])
    doubled = graph.node("Mul", [x, graph.node("Add", [erf, graph.scalar("one", 1.0)])])
    return graph.node("Mul", [doubled, graph.scalar("half", 0.5)])


class Weights:
    """The float32 tensors of a safetensors file: a length, a JSON header, then the numbers (little-endian)."""

    def __init__(self, path: str):
        with open(path, "rb") as file:
            (header_bytes,) = struct.unpack("<Q", file.read(8))
            self.header = json.loads(file.read(header_bytes))
            self.data = file.read()

    def shape(self, name: str) -> List[int]:
        return self.header[name]["shape"]

    def raw(self, name: str) -> bytes:
        entry = self.header[name]
        if entry["dtype"] != "F32":
            raise ValueError(f"{name} is {entry['dtype']}, not F32")
        start, end = entry["data_offsets"]
        return self.data[start:end]

    def transposed(self, name: str) -> bytes:
        """A matrix of rows × columns as columns × rows."""
        _, columns = self.shape(name)
        numbers = array.array("f", self.raw(name))
        return b"".join(numbers[column::columns].tobytes() for column in range(columns))


class Graph:
    """The nodes and constants of a graph, as encoded protocol buffers, in the order in which they were asked for."""

    def __init__(self, weights: Weights):
        if sys.byteorder != "little":
            raise OSError("the ONNX file can only be made on a little-endian machine")
        self.weights = weights
        self.nodes: List[bytes] = []
        self.constants: Dict[str, bytes] = {}

    def node(self, op: str, inputs: Sequence[str], output: str = "", **attributes: object) -> str:
        """Adds an operation and returns its output's name."""
        output = output or f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(
            b"".join(text(1, name) for name in inputs)
            + text(2, output)
            + text(3, output)
            + text(4, op)
            + b"".join(block(5, attribute(name, value)) for name, value in attributes.items())
        )
        return output

    def weight(self, name: str) -> str:
        return self.constant(name, FLOAT, self.weights.shape(name), lambda: self.weights.raw(name))

    def transposed_weight(self, name: str) -> str:
        """PyTorch keeps a linear layer as outputs × inputs; MatMul wants inputs × outputs."""
        rows, columns = self.weights.shape(name)
        return self.constant(name, FLOAT, [columns, rows], lambda: self.weights.transposed(name))

    def scalar(self, name: str, value: float) -> str:
        return self.constant(name, FLOAT, [], lambda: struct.pack("<f", value))

    def ints(self, name: str, values: Sequence[int]) -> str:
        return self.constant(name, INT64, [len(values)], lambda: struct.pack(f"<{len(values)}q", *values))

    def constant(self, name: str, data_type: int, shape: Sequence[int], raw) -> str:
        if name not in self.constants:
            dims = b"".join(number(1, size) for size in shape)
            self.constants[name] = dims + number(2, data_type) + text(8, name) + block(9, raw())
        return name


def model_proto(graph: Graph) -> bytes:
    batch_sequence = ["batch", "sequence"]
    inputs = [value_info(name, INT64, batch_sequence) for name in ("input_ids", "attention_mask", "token_type_ids")]
    output = value_info("last_hidden_state", FLOAT, [*batch_sequence, HIDDEN])
    graph_proto = b"".join(
        [
            *(block(1, node) for node in graph.nodes),
            text(2, "all-MiniLM-L6-v2"),
            *(block(5, constant) for constant in graph.constants.values()),
            *(block(11, value) for value in inputs),
            block(12, output),
        ]
    )
    opset = text(1, "") + number(2, OPSET)
    return number(1, IR_VERSION) + text(2, "coterie") + block(7, graph_proto) + block(8, opset)


def value_info(name: str, data_type: int, shape: Sequence[object]) -> bytes:
    dims = b"".join(block(1, text(2, d) if isinstance(d, str) else number(1, d)) for d in shape)
    tensor_type = number(1, data_type) + block(2, dims)
    return text(1, name) + block(2, block(1, tensor_type))


def attribute(name: str, value: object) -> bytes:
    if isinstance(value, float):
        return text(1, name) + varint(2 << 3 | 5) + struct.pack("<f", value) + number(20, 1)
    if isinstance(value, int):
        return text(1, name) + number(3, value) + number(20, 2)
    return text(1, name) + b"".join(number(8, item) for item in value) + number(20, 7)


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value & 0xFFFFFFFFFFFFFFFF)


def text(field: int, value: str) -> bytes:
    return block(field, value.encode())


def block(field: int, payload: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(payload)) + payload


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
