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
