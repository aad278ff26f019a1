"""Compare the numbers of two sets of outputs: `python .ci/compare_summaries.py BEFORE AFTER`.

Words may differ, numbers may not, but for the last digits of sums in another order, which are listed apart. The keys that
changed with the one serialiser of results are brought to their new form first.
"""

import json
import math
import sys
from pathlib import Path

import pyarrow.parquet as pq

IGNORED = {"provenance", "versions", "fingerprint", "files", "common_uncertainty", "figure_of_merit"}
ROUNDING = 1e-12


def reshape(value):
    """Bring what the old serialisers wrote to the form of the new one."""
    if isinstance(value, list):
        return [reshape(each) for each in value]
    if not isinstance(value, dict):
        return value
    value = {key: reshape(each) for key, each in value.items()}
    if "signal_uncertainty" in value:
        for role in ("signal", "background"):
            number, error = value.pop(role), value.pop(f"{role}_uncertainty")
            value[role] = None if number is None else {"yield": number, "uncertainty": error}
        if value["background"] is not None:
            value["background"]["effective_entries"] = value.pop("effective_background")
    if "difference" in value:
        value["value"] = value.pop("difference")
    if "cut_slope_half_bandwidth" in value:
        value["cut_slope_with_bandwidths"] = [value.pop(f"cut_slope_{each}_bandwidth") for each in ("half", "double")]
        parameter = {key: value.pop(key) for key in ("kind", "process", "relative_uncertainty") if key in value}
        value["parameter"] = parameter
        if "variable" in value:
            value["edge"] = {key: value.pop(key) for key in ("variable", "side")}
    if "median_cls" in value:
        expected = ("confidence_level", "significance", "cls", "median_cls", "limits", "median_limit")
        value["expected"] = {key: value.pop(key) for key in expected}
    if {"nominal", "up", "down"} <= value.keys() and not isinstance(value["up"], dict):
        value = {
            "nominal": {"yield": value["nominal"]},
            "up": {"yield": value["up"], "uncertainty": value["up_uncertainty"]},
            "down": {"yield": value["down"], "uncertainty": value["down_uncertainty"]},
        }
    if "divisions" in value:
        rows = value.pop("divisions")
        chosen = {"edges": value.pop("edges"), "categories": value.pop("categories")}
        value = {
            "optima": [
                {key: row[key] for key in ("count", "significance", "significance_uncertainty", "optimism")} for row in rows
            ],
            "equal_signal": [
                {
                    "significance": row["equal_signal"],
                    "significance_uncertainty": row["equal_signal_uncertainty"],
                    "within_limits": row["equal_signal_within_limits"],
                }
                for row in rows
            ],
            "over_equal_signal": [row["over_equal_signal"] for row in rows],
            "over_single_cut": [row["over_single_cut"] for row in rows],
        }
        value["optima"][-1] |= chosen
    if "python" in value and isinstance(value.get("box"), list):
        value["box"] = {"cuts": value["box"]} | {
            key: value.pop(key) for key in ("python", "tree_draw", "open_variables") if key in value
        }
        value.pop("chosen_on_these_events")
    if "boxes" in value:
        value["boxes"] = [{"cuts": box} for box in value["boxes"]]
    if isinstance(value.get("cut"), list):
        value["cut"] = value["cut"][0]
    return value


def differences(before, after, place=""):
    """Every place where a number or a length differs, or where a key is gone; new keys are no difference."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() - IGNORED):
            if key not in after:
                yield f"{place}/{key}: gone"
            else:
                yield from differences(before[key], after[key], f"{place}/{key}")
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) != len(after):
            yield f"{place}: {len(before)} and {len(after)} entries"
        for index, pair in enumerate(zip(before, after, strict=False)):
            yield from differences(*pair, f"{place}[{index}]")
    elif isinstance(before, str) and isinstance(after, str):
        return
    elif before != after or type(before) is not type(after):
        close = isinstance(before, float) and isinstance(after, float) and math.isclose(before, after, rel_tol=ROUNDING)
        yield f"{'rounding: ' if close else ''}{place}: {before!r} and {after!r}"


def compare(before: Path, after: Path):
    """All files of numbers below a folder."""
    for file in sorted(path for path in before.rglob("*") if path.suffix in {".json", ".parquet", ".csv", ".txt", ".md"}):
        name = file.relative_to(before)
        other = after / name
        if not other.exists():
            yield f"{name}: missing"
        elif file.suffix == ".json":
            contents = reshape(json.loads(file.read_text())), json.loads(other.read_text())
            yield from differences(*contents, str(name))
        elif file.suffix == ".parquet":
            tables = [pq.read_table(path).to_pandas() for path in (file, other)]
            if not tables[0].equals(tables[1]):
                yield f"{name}: other columns or values"
        elif file.read_text() != other.read_text():
            yield f"{name}: other text"


found = list(compare(Path(sys.argv[1]), Path(sys.argv[2])))
rounded = [line for line in found if line.startswith("rounding: ")]
found = [line for line in found if line not in rounded]
print("\n".join(found[:200]) or "equal")
print(f"{len(rounded)} numbers differ in their last digits:\n  " + "\n  ".join(rounded[:20]))
sys.exit(bool(found))
