"""Validation of analysis files with random mistakes: how many are right, refused clearly, or refused badly.

    python tests/benchmarks/fuzz_analysis_files.py --trials 3000 --seed 1

Each trial takes a committed analysis file, makes one to three mistakes in its keys, values, types, names or text, and
reads it as `zsig check` does before it opens any ntuple. Outcomes:

    right        the file is still an analysis
    clear error  an error of the package, in under a second and 2000 characters, that names the file
    traceback    any other exception
    slow         more than a second of processor time
    long         a message of more than 2000 characters
    nameless     a message that does not name the file

All but the first two must be zero; the exit status says whether they are. The mistakes of a bad outcome are printed.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from zsig_hep.analysis import Analysis
from zsig_hep.errors import ZsigError

FILES = sorted((Path(__file__).parents[2] / "analyses").glob("*/analysis.yaml"))
SLOW, LONG = 1.0, 2000
GOOD = ("right", "clear error")

TEXTS = (
    "", " ", "../../x", "a/b", "ZZ*", "tt[semilep]", "[/bold]", "a\0b", "a\nb", "\u202ea", "\ud83d\ude00", "أ\u200fب",
    "con", "NUL.pdf", ".", "..", "-", "x" * 150, "x" * 5000, "$\\foo$", "$x$ $", "$" + "{" * 300 + "}" * 300 + "$",
    "$\\frac{1}$", "bluee", "C99", "<script>", "~nobody-here/x", "/", "/dev/zero", "~", "**/a**b", "!!python/x", "data_obs",
    "r", "mu", "lumi", "jesUp", "nominal", "process", "weight", "2l2q", "é" * 120, "%s{}{0}", "columns.py:columns",
)  # fmt: skip
NUMBERS = (
    0, -1, 1, 3, 10**9, 2**31, 2**63, 2**64, 10**30, 10**200, -(10**18), 0.5, -0.5, 1e-320, 1e-12, 1e12, 1e30, 1e308,
    float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
OTHERS = (None, True, False, [], {}, [[]], {"a": 1}, [None], ["a", "a"], [1, 2], {1: 2}, {None: None}, {"name": "z"})
PIECES = (
    "!!python/object/apply:os.system [ls]", "!foo x", "2024-13-45", "0000-01-01", "&a [*a]", "*nowhere", "<<: *x", "\t",
    "\0", "\ufeff", "{", "}", "[", "]", "'", '"', ": ", "- ", "---\n", "...\n", "%YAML 9.9\n", ".inf", "9" * 5000,
    "0x" + "f" * 5000, "[" * 2000, "{a: " * 2000, "? ", "|", ">", "!!binary x", "!!set {a, b}", "!!timestamp x", "#", "1:90",
    "\n" + "".join(f"k{n}: 1\n" for n in range(3000)), "\n".join(["title: x"] * 2000), "\x85", "\u2028", "\ud800",
    "\na0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)),
)  # fmt: skip

Random = random.Random


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every container of a content with every key or index in it."""
    inner = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    found: list[tuple[Any, Any]] = []
    for key, value in inner:
        found += [(content, key), *places(value)]
    return found


def some_value(random_: Random) -> Any:
    """A value of any type."""
    return random_.choice(random_.choice((TEXTS, NUMBERS, OTHERS)))


def change_value(content: Any, random_: Random) -> str:
    """Replace a value."""
    container, key = random_.choice(places(content))
    container[key] = value = some_value(random_)
    return f"{key!r} = {str(value)[:60]!r}"


def change_number(content: Any, random_: Random) -> str:
    """Replace a number by another, or change a value if there is none."""
    numbers = [(each, key) for each, key in places(content) if isinstance(each[key], int | float)]
    if not numbers:
        return change_value(content, random_)
    container, key = random_.choice(numbers)
    container[key] = value = random_.choice(NUMBERS)
    return f"{key!r} = {str(value)[:60]}"


def change_key(content: Any, random_: Random) -> str:
    """Rename a key, which is the name of the user or of a setting."""
    container, key = random_.choice([(each, key) for each, key in places(content) if isinstance(each, dict)])
    name = random_.choice((*TEXTS, *NUMBERS[:6], None, True, f"{key}s", str(key).upper()))
    container[name] = container.pop(key)
    return f"key {key!r} -> {str(name)[:60]!r}"


def remove_key(content: Any, random_: Random) -> str:
    """Remove a key or element."""
    container, key = random_.choice(places(content))
    del container[key]
    return f"without {key!r}"


def add_settings(content: Any, random_: Random) -> str:
    """Set a group of settings that the file may not have."""
    text = random_.choice(TEXTS)
    group, settings = random_.choice(
        (
            ("presentation", {"axis_labels": {text: random_.choice(TEXTS)}, "label": random_.choice(TEXTS)}),
            ("variations", {text: {"kind": "shape", "correlated": random_.random() < 0.5}}),
            ("training", {"hidden": [some_value(random_)], "seeds": some_value(random_), "seed": some_value(random_)}),
            ("cuts", {"variables": {text: random_.choice(("above", "window", text))}}),
            ("export", {"observable": text, "binning": some_value(random_)}),
            ("name", text),
            ("title", text),
        )
    )
    content[group] = settings
    return f"{group} = {str(settings)[:80]!r}"


def change_text(text: str, random_: Random) -> tuple[str, str]:
    """Insert, remove or repeat a piece of the text."""
    at = random_.randrange(len(text) + 1)
    kind = random_.randrange(4)
    if kind == 0:
        piece = random_.choice(PIECES)
        return text[:at] + piece + text[at:], f"{piece[:40]!r} at {at}"
    if kind == 1:
        end = at + random_.randrange(1, 40)
        return text[:at] + text[end:], f"without {at}:{end}"
    if kind == 2:
        line = random_.choice(text.splitlines() or [""])
        return f"{text}\n{line}\n", f"again {line[:60]!r}"
    piece = random_.choice(PIECES)
    return f"{text}\n{piece}\n", f"{piece[:40]!r} at the end"


CHANGES: tuple[Callable[[Any, Random], str], ...] = (change_value, change_number, change_key, remove_key, add_settings)


def with_mistakes(text: str, random_: Random) -> tuple[bytes, list[str]]:
    """A file with one to three mistakes, and what they are."""
    mistakes: list[str] = []
    if random_.random() < 0.65:
        content = yaml.safe_load(text)
        mistakes = [random_.choice(CHANGES)(content, random_) for _ in range(random_.randint(1, 3))]
        text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    else:
        for _ in range(random_.randint(1, 3)):
            text, mistake = change_text(text, random_)
            mistakes.append(mistake)
    encoded = text.encode("utf-8", "surrogatepass")
    if random_.random() < 0.02:
        return text.encode("utf-16", "surrogatepass"), [*mistakes, "UTF-16"]
    return encoded, mistakes


def outcome(file: Path) -> tuple[str, str]:
    """What reading the file gives, and its message."""
    start = time.process_time()
    message = None
    try:
        # The notes are what `zsig check` adds about names; labels and colours are part of the validation.
        _ = Analysis.from_file(file).name_notes
    except ZsigError as error:
        message = str(error)
    except Exception:  # noqa: BLE001 - any other exception is what this script counts
        return "traceback", traceback.format_exc()
    if time.process_time() - start > SLOW:
        return "slow", f"{time.process_time() - start:.1f} s: {message}"
    if message is None:
        return "right", ""
    if len(message) > LONG:
        return "long", message
    return ("clear error" if str(file) in message else "nameless"), message


def main() -> None:
    """Run the trials and print how often each outcome occurred."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    random_, counts = random.Random(options.seed), Counter[str]()
    originals = [file.read_text(encoding="utf-8") for file in FILES]
    with tempfile.TemporaryDirectory(prefix="zsig-fuzz-") as folder:
        file = Path(folder) / "analysis.yaml"
        # The first file makes the parser of labels, which takes 0.2 s.
        file.write_text(originals[0], encoding="utf-8")
        outcome(file)
        for trial in range(options.trials):
            content, mistakes = with_mistakes(random_.choice(originals), random_)
            file.write_bytes(content)
            found, message = outcome(file)
            counts[found] += 1
            if found not in GOOD:
                print(f"trial {trial}: {found}: {mistakes}\n{message[-1500:]}\n")
    print(f"{options.trials} analysis files with mistakes, seed {options.seed}")
    for kind in (*GOOD, "traceback", "slow", "long", "nameless"):
        print(f"{kind:12}{counts[kind]:6}")
    sys.exit(sum(counts[kind] for kind in counts if kind not in GOOD) > 0)


if __name__ == "__main__":
    main()
