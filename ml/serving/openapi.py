"""What the OpenAPI document says of rows and answers: taken from the contract of the model that answers."""

from typing import Any

from pydantic import BaseModel

from ml.data.request import example_row
from ml.serving.loaded import LoadedVersion


class Answer(BaseModel):
    """What ``POST /predict`` answers: id, class and class probabilities of each row, and who says so."""

    project: str
    channel: str
    version: int
    request_id: str
    predictions: list[dict[str, Any]]


class Problem(BaseModel):
    """Why a request was refused; for rows that break the contract, each place and what is wrong there."""

    detail: str | list[dict[str, Any]]


def file_body(*kinds: str) -> dict[str, Any]:
    """Return the description of a body that is a file of one of these types."""
    return {
        "requestBody": {"required": True, "content": {kind: {"schema": {"type": "string"}} for kind in kinds}}
    }


def describe_rows(schema: dict[str, Any], loaded: LoadedVersion) -> None:
    """Add to an OpenAPI document what a row and its prediction hold, with an example."""
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    many = loaded.reader.rows.json_schema(ref_template="#/components/schemas/{model}")
    schemas.update(many.pop("$defs"))
    content: dict[str, Any] = {"schema": {"oneOf": [many["items"], many]}}
    if example := example_row(loaded.bundle.request_contract):
        content["examples"] = {"one row": {"value": example}, "a list": {"value": [example]}}
    post = schema["paths"]["/predict"]["post"]
    post["requestBody"] = {"required": True, "content": {"application/json": content}}
    golden = loaded.bundle.golden["predictions"][0]
    personal = loaded.bundle.project.personal
    positive = loaded.bundle.manifest.positive
    kinds = {int: "integer", float: "number", str: "string", bool: "boolean"}
    schemas["Prediction"] = {
        "type": "object",
        "description": f"What version {loaded.version} says of one row"
        + (f"; the positive class is {positive!r}" if positive is not None else ""),
        "properties": {
            key: {"type": kinds[type(value)]} for key, value in golden.items() if type(value) in kinds
        },
        "required": list(golden),
    }
    schemas["Answer"]["properties"]["predictions"]["items"] = {"$ref": "#/components/schemas/Prediction"}
    if example:
        shown = {key: value for key, value in golden.items() if key not in personal}
        shown |= {loaded.bundle.project.id: example[loaded.bundle.project.id]}
        schemas["Answer"]["example"] = {
            "project": loaded.bundle.project.name,
            "channel": "production",
            "version": loaded.version,
            "request_id": "0123456789abcdef0123456789abcdef",
            "predictions": [shown],
        }
