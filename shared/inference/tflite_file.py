"""A TFLite file of many graphs, and copies of it that hold a single one.

A file is a FlatBuffer: tables that point at each other with offsets. To leave one graph, the lists of graphs and of
signatures in the root table are shortened in place; what they no longer name stays in the file and is ignored.
"""

from __future__ import annotations

import struct

# Positions of fields in the tables of TFLite's schema, as offsets into a table's vtable.
_MODEL_SUBGRAPHS, _MODEL_SIGNATURES = 8, 18
_SIGNATURE_KEY, _SIGNATURE_SUBGRAPH = 8, 12


class TFLiteFile:
    """The content of a TFLite file.

    Attributes:
        signatures: for each signature the index of its graph; several may share one.
        size: bytes.
    """

    def __init__(self, content: bytes) -> None:
        """Read the signatures.

        Raises:
            ValueError: this is no TFLite file.
        """
        if content[4:8] != b"TFL3":
            raise ValueError("not a TFLite file")
        self._content = content
        self.size = len(content)
        root = self._follow(0)
        self._graphs = self._vector(root, _MODEL_SUBGRAPHS)
        self._list = self._vector(root, _MODEL_SIGNATURES)
        self._tables = self._elements(self._list)
        self.signatures = {self._text(table, _SIGNATURE_KEY): self._graph_of(table) for table in self._tables}

    def only(self, graph: int) -> bytes:
        """A copy of the file with this graph alone, and the signatures that belong to it."""
        patched = bytearray(self._content)
        kept = [table for table in self._tables if self._graph_of(table) == graph]
        _write_vector(patched, self._graphs, [self._elements(self._graphs)[graph]])
        _write_vector(patched, self._list, kept)
        for table in kept:
            field = self._field(table, _SIGNATURE_SUBGRAPH)
            if field:  # absent means 0 already
                struct.pack_into("<I", patched, field, 0)
        return bytes(patched)

    def _number(self, position: int) -> int:
        return struct.unpack_from("<I", self._content, position)[0]

    def _follow(self, position: int) -> int:
        return position + self._number(position)

    def _field(self, table: int, entry: int) -> int:
        """Position of a field of a table, 0 if it has its default value."""
        vtable = table - struct.unpack_from("<i", self._content, table)[0]
        size = struct.unpack_from("<H", self._content, vtable)[0]
        offset = struct.unpack_from("<H", self._content, vtable + entry)[0] if entry < size else 0
        return table + offset if offset else 0

    def _vector(self, table: int, entry: int) -> int:
        field = self._field(table, entry)
        if not field:
            raise ValueError("the TFLite file has no signatures")
        return self._follow(field)

    def _elements(self, vector: int) -> list[int]:
        return [self._follow(vector + 4 + 4 * i) for i in range(self._number(vector))]

    def _text(self, table: int, entry: int) -> str:
        start = self._vector(table, entry)
        return self._content[start + 4 : start + 4 + self._number(start)].decode()

    def _graph_of(self, signature: int) -> int:
        field = self._field(signature, _SIGNATURE_SUBGRAPH)
        return self._number(field) if field else 0


def _write_vector(content: bytearray, vector: int, elements: list[int]) -> None:
    """Shorten a list of tables to those at the positions `elements`."""
    struct.pack_into("<I", content, vector, len(elements))
    for i, element in enumerate(elements):
        place = vector + 4 + 4 * i
        struct.pack_into("<I", content, place, element - place)
