"""JSON Schemas of the documents: ``python -m consumers.documents.schemas FOLDER`` writes them."""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from consumers.documents.completion import BatchCompletion
from consumers.documents.manifest import ManifestEntry, ManifestHead
from consumers.documents.review.decision import Decision
from consumers.documents.review.item_list import ItemList
from consumers.documents.transcript import Transcript
from consumers.documents.verdict import PolicyVerdict

#: By the name of the schema's file.
DOCUMENTS: dict[str, type[msgspec.Struct]] = {
    "manifest-head": ManifestHead,
    "manifest-entry": ManifestEntry,
    "transcript": Transcript,
    "verdict": PolicyVerdict,
    "complete": BatchCompletion,
    "review": ItemList,
    "decision": Decision,
}

_ATTRIBUTE = re.compile(r"^    (\w+): (.+(?:\n        .+)*)", re.MULTILINE)


def schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Make the JSON Schema (draft 2020-12) of a document, described by its docstrings.

    Fields that it does not name are allowed: a later version of dropscribe may add some.
    """
    found = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    # Default values as JSON has them: a tuple is a list.
    (root,), parts = json.loads(json.dumps(found))
    structs = {each.__name__: each for each in _structs(msgspec.Struct)}
    for name, part in parts.items():
        if name in structs:
            _describe(part, structs[name])
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **root, "$defs": parts}


def write_schemas(folder: Path) -> None:
    """Write a file per document into an existing folder."""
    for name, kind in DOCUMENTS.items():
        text = json.dumps(schema(kind), indent=2, ensure_ascii=False) + "\n"
        (folder / f"{name}.schema.json").write_text(text, encoding="utf-8")


def _describe(part: dict[str, Any], kind: type[msgspec.Struct]) -> None:
    """Move the descriptions of attributes from the docstring to the properties."""
    text, _, attributes = inspect.cleandoc(kind.__doc__ or "").partition("\n\nAttributes:\n")
    part["description"] = _plain(text)
    encoded = dict(zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))
    for field, description in _ATTRIBUTE.findall(attributes):
        part["properties"][encoded[field]]["description"] = _plain(description)


def _plain(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("None", "null")


def _structs(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for each in kind.__subclasses__():
        yield each
        yield from _structs(each)


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
