import json

import pytest

from tests.scoring.models import describe
from zsig_hep.errors import InputError
from zsig_hep.scoring.metadata import ModelMetadata


def test_every_attribute_comes_back_from_its_property(trained):
    metadata = describe(trained[1], thresholds=(0.9, 0.8, 0.85, 0.95, 0.7), units={"x": "GeV"})
    properties = metadata.to_properties()
    assert properties["zsig_hep.feature_names"] == '["x", "y"]'
    assert json.loads(properties["zsig_hep.threshold"]) == pytest.approx(0.84)
    assert ModelMetadata.from_properties(properties | {"other": "property"}) == metadata


def test_what_is_missing_or_of_another_format_is_refused(trained):
    properties = describe(trained[1]).to_properties()
    with pytest.raises(KeyError, match=r"zsig_hep\.fold_seed"):
        ModelMetadata.from_properties({key: value for key, value in properties.items() if "fold_seed" not in key})
    with pytest.raises(ValueError, match="format 99, expected 1"):
        ModelMetadata.from_properties(properties | {"zsig_hep.format": "99"})
    with pytest.raises(ValueError, match="Expecting value"):
        ModelMetadata.from_properties(properties | {"zsig_hep.loss": "Z loss"})


def test_absent_thresholds_stay_absent(trained):
    _, classifier = trained
    assert describe(classifier).threshold is None
    partly = describe(classifier, thresholds=(0.9, None, 0.9, 0.9, 0.9))
    assert partly.threshold is None
    assert ModelMetadata.from_properties(partly.to_properties()) == partly
    content = describe(classifier, event_identity="content", datasets=None, fold_seed=None)
    assert ModelMetadata.from_properties(content.to_properties()) == content


def test_metadata_that_do_not_fit_are_refused(trained):
    _, classifier = trained
    with pytest.raises(InputError, match="2 thresholds were given for a model of 5 folds"):
        describe(classifier, thresholds=(0.5, 0.5))
    with pytest.raises(InputError, match=r"'xx', which is no feature of the model\. Did you mean 'x'"):
        describe(classifier, units={"xx": "GeV"})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"feature_names": ["x", 3]}, "feature_names.1"),
        ({"feature_names": ["x", "x"]}, "feature_names repeat a name"),
        ({"feature_names": []}, "must not be empty"),
        ({"feature_names": "xy"}, "feature_names"),
        ({"may_be_missing": ["z"]}, "'z', which is no feature"),
        ({"units": {"z": "GeV"}}, "'z', which is no feature"),
        ({"units": {"x": 1}}, "units.x"),
        ({"fold_count": 0}, "fold_count"),
        ({"fold_count": 5.0}, "fold_count"),
        ({"fold_seed": True}, "fold_seed"),
        ({"fold_seed": -1}, "fold_seed"),
        ({"event_identity": "run"}, "event_identity"),
        ({"event_identity": ["run", "run"]}, "event_identity repeat a name"),
        ({"event_identity": []}, "must not be empty"),
        ({"datasets": ["h", "h"]}, "datasets repeat a name"),
        ({"datasets": [None]}, "datasets.0"),
        ({"thresholds": [0.5, 0.5]}, "2 thresholds for 5 folds"),
        ({"thresholds": [0.5, None, 0.5, 0.5, float("nan")]}, "thresholds.4"),
        ({"thresholds": [0.5, None, 0.5, 0.5, float("inf")]}, "thresholds.4"),
        ({"thresholds": [0.5, None, 0.5, 0.5, True]}, "thresholds.4"),
        ({"input_hash": None}, "input_hash"),
    ],
)
def test_properties_that_no_model_has_are_refused(trained, changes, reason):
    properties = describe(trained[1], thresholds=(0.5, None, 0.5, 0.5, 0.5)).to_properties()
    ModelMetadata.from_properties(properties)
    changed = {f"zsig_hep.{name}": json.dumps(value) for name, value in changes.items()}
    with pytest.raises(ValueError, match=reason):
        ModelMetadata.from_properties(properties | changed)
