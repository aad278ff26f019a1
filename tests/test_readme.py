import re
import runpy
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from zsig_hep.analysis import Analysis

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def run(block, tmp_path):
    """Execute an example as a script of its own."""
    script = tmp_path / "example.py"
    script.write_text(block, encoding="utf-8")
    return runpy.run_path(str(script))


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.strip().splitlines()[0])
def test_every_example_of_the_readme_runs(block, tmp_path, capsys):
    run(block, tmp_path)
    if "print" in block:
        assert re.fullmatch(r"Z = 3\.\d\d \+- 0\.\d\d\n", capsys.readouterr().out)


def test_the_loss_fits_into_fifteen_lines_and_learns(tmp_path):
    (block,) = (block for block in BLOCKS if "ZLoss" in block)
    lines = [line for line in block.splitlines() if line]
    assert len(lines) <= 15
    names = run(block, tmp_path)
    is_signal, weights = names["is_signal"], names["weights"]
    selected = names["model"](names["x"]).squeeze(-1).detach() > 0
    s, b = (weights[selected & flag].sum() for flag in (is_signal, ~is_signal))
    assert s / b.sqrt() > 5 * weights[is_signal].sum() / weights[~is_signal].sum().sqrt()


@pytest.mark.parametrize("block", re.findall(r"```yaml\n(.*?)```", README, flags=re.DOTALL))
def test_every_setting_of_the_readme_is_valid(block):
    for group, content in yaml.safe_load(block).items():
        TypeAdapter(Analysis.model_fields[group].annotation).validate_python(content)


def test_links_lead_to_files():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
