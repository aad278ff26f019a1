import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ntuples.filesets.contents import Write


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a fileset, with values replaced at their places or removed where they are None."""

    def write_there(fileset: Any, changes: dict[tuple[Any, ...], Any] | None = None) -> Path:
        changed = copy.deepcopy(fileset)
        for place, value in (changes or {}).items():
            inner = changed
            for key in place[:-1]:
                inner = inner[key]
            if value is None:
                del inner[place[-1]]
            else:
                inner[place[-1]] = value
        path = tmp_path / ("fileset.yaml" if "processes" in changed else "fileset.json")
        path.write_text(yaml.safe_dump(changed, sort_keys=False) if path.suffix == ".yaml" else json.dumps(changed))
        return path

    for name in ("h.root", "dy_low_1.root", "dy_low_2.root"):
        (tmp_path / name).touch()
    (tmp_path / "dy_high").mkdir()
    return write_there
