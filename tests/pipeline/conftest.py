import pytest

from zsig_hep.pipeline.stages import Pipeline


@pytest.fixture
def no_figures(monkeypatch):
    """Leave the figures out, which take most of the time of a run."""
    monkeypatch.setattr(Pipeline, "_draw", lambda self, folder, figures: [])
