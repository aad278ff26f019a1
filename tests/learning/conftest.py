import pytest
import torch

from tests.learning.toy import make_table

torch.set_num_threads(1)


@pytest.fixture
def table():
    return make_table()
