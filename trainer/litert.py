"""One LiteRT file from many static graphs that share their weights.

Each shape is converted to a graph of its own, since LiteRT is fast only where it knows every size beforehand. The
converter's files are then merged: equal constants are stored once, convolution weights as float16 (XNNPACK unpacks
them when a graph is loaded, so they cost nothing at run time), names of inner tensors not at all.
"""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import flatbuffers
import numpy as np
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema

Functions = Mapping[str, Any]
"""Signature names and concrete functions of static shapes that return dicts of tensors."""

Views = Mapping[str, tuple[str, ...]]
"""Signature names and the outputs, of one graph, that each returns."""

_WEIGHTED = (
    schema.BuiltinOperator.CONV_2D,
    schema.BuiltinOperator.DEPTHWISE_CONV_2D,
    schema.BuiltinOperator.FULLY_CONNECTED,
)
_WEIGHTS_INPUT = 1
_FILE_IDENTIFIER = b"TFL3"


def convert(parts: Iterable[Functions], variables: tf.Module, views: Mapping[str, Views]) -> bytes:
    """The content of a LiteRT file with a signature for every function.

    Args:
        parts: the functions, converted part by part, which bounds the memory.
        variables: owns the variables that the functions read.
        views: for some functions, the signatures to give their graph in place of one with all outputs.
    """
    merged = _Merged()
    for functions in parts:
        merged.add(_convert_part(functions, variables))
    model = merged.model
    model.signatureDefs = [new for old in model.signatureDefs for new in _views_of(old, views)]
    _store_weights_as_float16(model)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), _FILE_IDENTIFIER)
    return bytes(builder.Output())


def _convert_part(functions: Functions, variables: tf.Module) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(variables, folder, signatures=dict(functions))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        return schema.ModelT.InitFromPackedBuf(converter.convert(), 0)


class _Merged:
    """A model that takes over the graphs of others."""

    def __init__(self) -> None:
        self.model: Any = schema.ModelT()
        self.model.version = 3
        self.model.operatorCodes, self.model.subgraphs, self.model.signatureDefs = [], [], []
        self.model.buffers = [schema.BufferT()]  # by convention the first is empty, for tensors without content
        self._codes: dict[tuple[Any, ...], int] = {}
        self._constants: dict[bytes, int] = {b"": 0}

    def add(self, other: Any) -> None:
        """Append the graphs and signatures of another model."""
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


def _views_of(signature: Any, views: Mapping[str, Views]) -> Iterable[Any]:
    name = signature.signatureKey.decode()
    for new_name, outputs in views.get(name, {name: ()}).items():
        view = schema.SignatureDefT()
        view.signatureKey, view.subgraphIndex, view.inputs = new_name, signature.subgraphIndex, signature.inputs
        view.outputs = [output for output in signature.outputs if not outputs or output.name.decode() in outputs]
        yield view


def _store_weights_as_float16(model: Any) -> None:
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
