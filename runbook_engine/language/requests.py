"""What may stand under each executor's own key, as definitions that the schema of a step refers to."""

from __future__ import annotations

from typing import Any

from ..executors import find, load_all, names
from .request_words import ABOUT

Json = Any


def request_definitions(third_parties: bool = False) -> dict[str, Json]:
    """Each executor's request under its name, its own models under `name_Model`.

    The file that playbooks point to has ours alone: what is installed on a machine must not change it.
    """
    executors = load_all() if third_parties else {name: find(name) for name in names()}
    definitions: dict[str, Json] = {}
    for name, executor in executors.items():
        request = executor.Params.model_json_schema(by_alias=True, ref_template=f"#/$defs/{name}_{{model}}")
        definitions |= {f"{name}_{key}": value for key, value in request.pop("$defs", {}).items()}
        # `oneOf` would make an editor judge every form before it offers a key of any.
        request = {("anyOf" if key == "oneOf" else key): value for key, value in request.items()}
        request.pop("discriminator", None)
        about = ABOUT.get(name) or request.get("description") or f"A request to the executor {name}."
        definitions[name] = {**request, "title": name, "description": about}
    return definitions


def references(definitions: dict[str, Json]) -> dict[str, Json]:
    """The keys of a step that name an executor."""
    found = {name: value for name, value in definitions.items() if value.get("title") == name and "_" not in name}
    return {
        name: {"title": name, "description": value["description"], "$ref": f"#/$defs/{name}"}
        for name, value in found.items()
    }
