"""Putting LiteRT files together: their graphs side by side, equal constants once, one graph behind another."""

from __future__ import annotations

import copy
from collections import defaultdict
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

_WEIGHTED = (
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    schema.BuiltinOperator.FULLY_CONNECTED,
)
_WEIGHTS_INPUT = 1
_FILE_IDENTIFIER = b"TFL3"


class Merged:
    """A model that takes over the graphs and signatures of others."""

    def __init__(self) -> None:
        self.model: Any = schema.ModelT()
        self.model.version = 3
        self.model.operatorCodes, self.model.subgraphs, self.model.signatureDefs = [], [], []
        self.model.buffers = [schema.BufferT()]  # by convention the first is empty, for tensors without content
        self._codes: dict[tuple[Any, ...], int] = {}
        self._constants: dict[bytes, int] = {b"": 0}

    def add(self, content: bytes) -> None:
        """Append the graphs and signatures of a LiteRT file."""
        other: Any = schema.ModelT.InitFromPackedBuf(content, 0)
        first = len(self.model.subgraphs)
        codes = [self._code(code) for code in other.operatorCodes]
        buffers = [self._buffer(buffer) for buffer in other.buffers]
        for graph in other.subgraphs:
            for operator in graph.operators:
                operator.opcodeIndex = codes[operator.opcodeIndex]
            for tensor in graph.tensors:
                tensor.buffer, tensor.name = buffers[tensor.buffer], None
            self.model.subgraphs.append(graph)
        for signature in other.signatureDefs:
            signature.subgraphIndex += first
            self.model.signatureDefs.append(signature)

    def chain(self, first: str, second: str, name: str) -> None:
        """Let the graph of the signature `first` go on with a copy of `second`'s, which reads its outputs by name.

        The signature `name` is added, with the inputs of `first` and the outputs of `second`; both others stay.
        """
        signatures = {signature.signatureKey.decode(): signature for signature in self.model.signatureDefs}
        front, back = signatures[first], signatures[second]
        graph = self.model.subgraphs[front.subgraphIndex]
        outputs = _by_name(front.outputs)
        links = {tensor: outputs[given] for given, tensor in _by_name(back.inputs).items()}
        places = _append(graph, self.model.subgraphs[back.subgraphIndex], links)
        both = copy.copy(front)
        both.signatureKey = name.encode()
        both.outputs = [_renamed(output, places[output.tensorIndex]) for output in back.outputs]
        graph.outputs = np.array([*graph.outputs, *(output.tensorIndex for output in both.outputs)], np.int32)
        self.model.signatureDefs.append(both)

    def pack(self) -> bytes:
        """The LiteRT file."""
        builder = flatbuffers.Builder(1 << 20)
        builder.Finish(self.model.Pack(builder), _FILE_IDENTIFIER)
        return bytes(builder.Output())

    def _code(self, code: Any) -> int:
        key = (code.builtinCode, code.version, code.customCode)
        if key not in self._codes:
            self._codes[key] = len(self.model.operatorCodes)
            self.model.operatorCodes.append(code)
        return self._codes[key]

    def _buffer(self, buffer: Any) -> int:
        content = b"" if buffer.data is None else bytes(buffer.data)
        if content not in self._constants:
            self._constants[content] = len(self.model.buffers)
            self.model.buffers.append(buffer)
        return self._constants[content]


def _by_name(tensors: Any) -> dict[str, int]:
    return {tensor.name.decode(): tensor.tensorIndex for tensor in tensors}


def _renamed(tensor: Any, index: int) -> Any:
    result = copy.copy(tensor)
    result.tensorIndex = index
    return result


def _append(graph: Any, other: Any, links: dict[int, int]) -> list[int]:
    """Append `other`'s operators and tensors; `links` names tensors that are there already. Gives all new places."""
    places: list[int] = []
    for index, tensor in enumerate(other.tensors):
        if index not in links:
            graph.tensors.append(copy.copy(tensor))
        places.append(links.get(index, len(graph.tensors) - 1))
    for operator in other.operators:
        twin = copy.copy(operator)
        twin.inputs, twin.outputs = (
            np.array([places[i] if i >= 0 else i for i in indices], np.int32)
            for indices in (operator.inputs, operator.outputs)
        )
        graph.operators.append(twin)
    return places


def store_weights_as_float16(model: Any) -> None:
    """Halve the convolutions' weights; XNNPACK unpacks them when a graph is loaded, so they cost nothing later."""
    weights = _weight_buffers(model)
    for index in weights:
        values = np.frombuffer(bytes(model.buffers[index].data), np.float32)
        model.buffers[index].data = np.frombuffer(values.astype(np.float16).tobytes(), np.uint8)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = 3  # the first that takes float16
    model.operatorCodes.append(code)
    for graph in model.subgraphs:
        _unpack_float16(graph, weights, len(model.operatorCodes) - 1)


def _weight_buffers(model: Any) -> set[int]:
    """Buffers of float32 convolution weights that nothing else uses."""
    uses: defaultdict[int, set[bool]] = defaultdict(set)
    for graph in model.subgraphs:
        for operator in graph.operators:
            weighted = model.operatorCodes[operator.opcodeIndex].builtinCode in _WEIGHTED
            for position, tensor in enumerate(operator.inputs):
                if tensor >= 0:  # -1 stands for an input that is left out
                    used = graph.tensors[tensor]
                    is_float = used.type == schema.TensorType.FLOAT32
                    uses[used.buffer].add(weighted and is_float and position == _WEIGHTS_INPUT)
    return {buffer for buffer, kinds in uses.items() if buffer and kinds == {True}}


def _unpack_float16(graph: Any, buffers: set[int], code: int) -> None:
    """Put an operator before the others of a graph for each float16 constant, and let those read its float32 output."""
    unpacked: dict[int, int] = {}
    unpackers: list[Any] = []
    for index, tensor in enumerate(list(graph.tensors)):
        if tensor.buffer in buffers:
            result = schema.TensorT()
            result.shape, result.type, result.hasRank = tensor.shape, schema.TensorType.FLOAT32, True
            tensor.type = schema.TensorType.FLOAT16
            unpacked[index] = len(graph.tensors)
            graph.tensors.append(result)
            unpacker: Any = schema.OperatorT()
            unpacker.opcodeIndex = code
            unpacker.inputs = np.array([index], np.int32)
            unpacker.outputs = np.array([unpacked[index]], np.int32)
            unpackers.append(unpacker)
    for operator in graph.operators:
        operator.inputs = np.array([unpacked.get(tensor, tensor) for tensor in operator.inputs], np.int32)
    graph.operators = unpackers + list(graph.operators)
