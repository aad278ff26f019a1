"""The JSON schema of the analysis file, for editors and for programs that write analysis files."""

from typing import Any

from zsig_hep.analysis import Analysis

JsonDict = dict[str, Any]

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def analysis_schema() -> JsonDict:
    """Describe the analysis file: every key with its type, default, description and examples.

    The schema accepts every file that `Analysis.from_file` reads. It cannot express all checks of the settings models,
    for instance that names of processes exist or that two keys exclude each other.

    Returns:
        A schema of JSON types only.

    Example:
        >>> schema = analysis_schema()
        >>> schema["required"], schema["properties"]["luminosity_ifb"]["type"]
        (['title', 'luminosity_ifb', 'processes'], 'number')
    """
    schema = Analysis.model_json_schema(by_alias=True)
    del schema["properties"]["folder"]
    for model in (schema, *schema["$defs"].values()):
        for described in model.get("properties", {}).values():
            # The keys of the group have their own defaults.
            if isinstance(described.get("default"), dict) and "$ref" in described:
                described.pop("default", None)
    _require_names(schema, schema["$defs"])
    return {"$schema": _DIALECT, **schema, "title": "Analysis file of zsig_hep"}


def _require_names(part: Any, definitions: JsonDict) -> None:
    """Require the key that selects a member of a union, such as the `name` of a loss, in place of a discriminator."""
    if isinstance(part, dict):
        discriminator = part.get("discriminator")
        if isinstance(discriminator, dict) and "mapping" in discriminator:
            for reference in discriminator["mapping"].values():
                member = definitions[reference.removeprefix("#/$defs/")]
                member["required"] = sorted({*member.get("required", ()), discriminator["propertyName"]})
            del part["discriminator"]
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        _require_names(inner, definitions)
