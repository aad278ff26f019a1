"""Compare the numbers of two sets of outputs bit for bit: `python .ci/compare_summaries.py BEFORE AFTER`.

Words may differ, numbers may not; names of keys that were renamed on purpose stand in RENAMED.
"""

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq

IGNORED = {"provenance", "versions", "fingerprint", "files"}
RENAMED: dict[str, str] = {}


def differences(before, after, place=""):
    """Every place where a number, a length or a key differs."""
    if isinstance(before, dict) and isinstance(after, dict):
        renamed = {RENAMED.get(key, key): value for key, value in before.items() if key not in IGNORED}
        for key in sorted(renamed.keys() | (after.keys() - IGNORED)):
            if key not in renamed or key not in after:
                yield f"{place}/{key}: only {'after' if key in after else 'before'}"
            else:
                yield from differences(renamed[key], after[key], f"{place}/{key}")
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            yield f"{place}: {len(before)} and {len(after)} entries"
        for index, pair in enumerate(zip(before, after, strict=False)):
            yield from differences(*pair, f"{place}[{index}]")
    elif isinstance(before, str) and isinstance(after, str):
        return
    elif before != after or type(before) is not type(after):
        yield f"{place}: {before!r} and {after!r}"


def compare(before: Path, after: Path):
    """All files of numbers below a folder."""
    for file in sorted(
        path for path in before.rglob("*") if path.suffix in {".json", ".parquet", ".csv", ".txt", ".md"}
    ):
        name = file.relative_to(before)
        other = after / name
        if not other.exists():
            yield f"{name}: missing"
        elif file.suffix == ".json":
            yield from differences(json.loads(file.read_text()), json.loads(other.read_text()), str(name))
        elif file.suffix == ".parquet":
            tables = [pq.read_table(path).to_pandas() for path in (file, other)]
            if not tables[0].equals(tables[1]):
                yield f"{name}: other columns or values"
        elif file.read_text() != other.read_text():
            yield f"{name}: other text"


found = list(compare(Path(sys.argv[1]), Path(sys.argv[2])))
print("\n".join(found[:200]) or "equal")
sys.exit(bool(found))
