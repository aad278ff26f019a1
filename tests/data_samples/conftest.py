"""The samples and their generator stand beside the package, not inside it."""

import sys
from pathlib import Path

import pytest

DATA_SAMPLES = Path(__file__).resolve().parents[2] / "data_samples"
sys.path.insert(0, str(DATA_SAMPLES))


@pytest.fixture(scope="session")
def data_samples() -> Path:
    return DATA_SAMPLES
