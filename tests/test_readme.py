"""The README: its examples run, its analysis is valid, its links lead to files."""

import re
import runpy
from pathlib import Path

import pytest
import yaml

from zsig_hep.analysis import Analysis

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[0])
def test_every_example_of_the_readme_runs(block, tmp_path, monkeypatch):
    (tmp_path / "data_samples").symlink_to(ROOT / "data_samples")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example.py").write_text(block, encoding="utf-8")
    names = runpy.run_path(str(tmp_path / "example.py"))
    assert (tmp_path / "significance.png").read_bytes().startswith(b"\x89PNG")
    # Six features of half of the Drell-Yan events: above what no cut gives, below the analysis of all of them.
    assert 0.6 < names["evaluation"].working_point.significance < 1.6


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL))
def test_every_analysis_of_the_readme_is_valid(block):
    assert len(block.splitlines()) <= 15
    Analysis.model_validate(yaml.safe_load(block))


def test_it_is_short_and_its_links_lead_to_files():
    assert len(README.splitlines()) < 150
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
