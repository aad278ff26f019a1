"""The JSON schema of the analysis file against the models and the committed analyses."""

import copy
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from zsig_hep.analysis import Analysis
from zsig_hep.cli import main
from zsig_hep.schema import analysis_schema
from zsig_hep.settings import Settings, field_descriptions

ANALYSES = Path(__file__).parents[1] / "analyses"
COMMITTED = ANALYSES / "analysis.schema.json"
FILES = sorted(ANALYSES.glob("*/analysis.yaml"))


@pytest.fixture(scope="module")
def schema():
    return analysis_schema()


@pytest.fixture(scope="module")
def validator(schema):
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.fixture
def hmumu():
    return yaml.safe_load((ANALYSES / "hmumu" / "analysis.yaml").read_text(encoding="utf-8"))


def problems(validator, content):
    return [error.message for error in validator.iter_errors(content)]


def settings_models(model=Settings):
    for inner in model.__subclasses__():
        yield inner
        yield from settings_models(inner)


def test_the_command_prints_the_committed_schema():
    result = CliRunner().invoke(main, ["schema"])
    assert result.exit_code == 0
    assert result.output == COMMITTED.read_text(encoding="utf-8"), "zsig schema > analyses/analysis.schema.json"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.parent.name)
def test_committed_analyses_are_valid_and_name_the_schema(file, validator):
    text = file.read_text(encoding="utf-8")
    assert text.splitlines()[0] == "# yaml-language-server: $schema=../analysis.schema.json"
    assert problems(validator, yaml.safe_load(text)) == []


def test_what_is_no_analysis_is_refused(validator, hmumu):
    for place, value in [
        (("trainings",), {}),
        (("folder",), "."),
        (("luminosity_ifb",), 0),
        (("ntuples", "folds"), 2),
        (("ntuples", "schema_name"), "base"),
        (("training", "loss", "relative_epsilon"), 0.1),
        (("training", "loss", "name"), "zz"),
        (("selection", "figure_of_merit"), "significance"),
        (("processes", "dy", "role"), "noise"),
        (("variations",), {"jes": {"kind": "form"}}),
        (("cuts",), {"variables": {"mass": "over"}}),
    ]:
        changed = copy.deepcopy(hmumu)
        inner = changed
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        assert problems(validator, changed), place


def test_a_member_of_a_union_needs_its_name(validator, hmumu):
    assert problems(validator, hmumu | {"training": {"loss": {"error": "sigmoid"}}})
    assert problems(validator, hmumu | {"variations": {"jes": {}}})


@pytest.mark.parametrize(
    "changes",
    [
        {
            "ntuples": {
                "weight": None,
                "sum_of_weights": {"value": 10.0},
                "columns": ["mass"],
                "event_identity": "content",
            }
        },
        {"ntuples": {"weight": {"sign_of": "genWeight"}, "schema": "nanoaod"}},
        {"ntuples": {"weight": ["genWeight", "pileup"], "columns": "../other/columns.py:features"}},
        {"cuts": {"variables": {"mass": "above", "width": {"side": "window", "start": [1.0, None]}}}},
        {"cuts": None, "export": {"binning": [0, 1, 2.5], "observable": "score"}},
        {"training": {"missing": {"x": "median", "y": 3}, "loss": {"name": "z", "relative_eps": "auto"}}},
        {"training": {"loss": {"name": "effective_weights", "base": {"name": "z"}}}},
        {"training": {"loss": {"name": "hypotheses", "loss": {"name": "punzi"}}}},
        {
            "training": {
                "phases": [
                    {"loss": {"name": "bce"}, "optimizer": {"name": "sgd", "momentum": 0}},
                    {
                        "loss": {
                            "name": "sum",
                            "terms": [
                                {"loss": {"name": "lovasz"}, "coefficient": {"start": 0, "stop": 1}},
                                {"loss": {"name": "z", "relative_eps": {"start": 0.3, "stop": 0.1}}},
                            ],
                        },
                        "schedule": {"kind": "graduated", "mode": "poly"},
                    },
                ]
            }
        },
        {
            "variations": {
                "lumi": {"kind": "luminosity", "relative": 0.01},
                "isr": {"kind": "weight", "branch": "w", "up": 0},
            }
        },
    ],
    ids=lambda changes: json.dumps(changes)[:60],
)
def test_what_the_models_accept_the_schema_accepts(validator, hmumu, changes):
    content = hmumu | changes
    Analysis.model_validate(content)
    assert problems(validator, content) == []


def described(schema):
    """Every property of every group, with the path to it."""
    for name, model in [("", schema), *schema["$defs"].items()]:
        for group in (model, *model.get("anyOf", ())):
            yield from ((f"{name}.{key}", value) for key, value in group.get("properties", {}).items())


def test_every_key_has_a_sentence(schema):
    for place, value in described(schema):
        assert value["description"].endswith("."), place
        assert value["description"][0].isupper() or value["description"][0] in '`"', place


def test_examples_and_defaults_are_valid(schema):
    for place, value in described(schema):
        of_key = Draft202012Validator({"$defs": schema["$defs"], **value})
        shown = value.get("examples", []) + ([value["default"]] if "default" in value else [])
        assert [problems(of_key, each) for each in shown] == [[]] * len(shown), place


def test_the_schema_is_self_contained_and_names_no_folder(schema):
    assert "folder" not in schema["properties"]
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "discriminator" not in json.dumps(schema)
    groups = [group for model in (schema, *schema["$defs"].values()) for group in (model, *model.get("anyOf", ()))]
    assert all(group["additionalProperties"] is False for group in groups if "properties" in group)


def test_every_field_of_every_settings_model_is_described():
    for model in settings_models():
        for name in model.model_fields:
            assert name in field_descriptions(model), f"{model.__name__}.{name} has no docstring below it"


def test_a_field_that_replaces_one_keeps_its_description():
    from zsig_hep.learning import PhaseSettings
    from zsig_hep.learning.training.settings import MainSettings

    assert field_descriptions(MainSettings) == field_descriptions(PhaseSettings)
    assert (
        MainSettings.model_json_schema()["properties"]["epochs"]["description"]
        == field_descriptions(PhaseSettings)["epochs"]
    )
