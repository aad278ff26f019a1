"""Names that users choose, and what they are called in files and in programs that allow fewer characters."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable

LONGEST_NAME = 200
"""Most characters of a name."""

LONGEST_SLUG = 100
"""Most characters of a file name without its suffix: most file systems allow 255 bytes."""

# Joiners and marks of the writing direction, which right-to-left text needs; other format characters hide or reorder.
_FORMAT_CHARACTERS = "\u200c\u200d\u200e\u200f\u061c"

# Windows opens a device for these, also with a suffix such as in `nul.pdf`.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def name_problem(name: str, *, may_have_separators: bool = False) -> str | None:
    r"""What makes a text unusable as a name of a process, feature or variation; None if it can be used.

    Names of datasets, of which no file is named, may have path separators, as CMS's do.

    Example:
        >>> name_problem("ZZ*"), name_problem("../dy")
        (None, "a name may not have the path separator '/'")
        >>> name_problem("dy\n")
        "a name may not have the control character '\\n'"
    """
    if not name:
        return "a name may not be empty"
    if not may_have_separators and (separators := [character for character in "/\\" if character in name]):
        return f"a name may not have the path separator {separators[0]!r}"
    if problem := line_problem(name, LONGEST_NAME):
        return f"a name {problem}"
    return "a name may not start or end with a blank" if name != name.strip() else None


def line_problem(text: str, longest: int) -> str | None:
    """What makes a text unusable as one line: control characters, or more characters than `longest`; None if nothing.

    Example:
        >>> line_problem("Search", 100), line_problem("Search", 3)
        (None, 'may have at most 3 characters, found 6')
    """
    if len(text) > longest:
        return f"may have at most {longest} characters, found {len(text)}"
    for character in text:
        if unicodedata.category(character).startswith("C") and character not in _FORMAT_CHARACTERS:
            return f"may not have the control character {character!r}"
    return None


def slugs(names: Iterable[str]) -> dict[str, str]:
    """File names without suffix for names of one folder, all different also where upper and lower case are the same.

    A name of ASCII letters, digits and `-_.` stays as it is. In others each character that is not such becomes an
    underscore, and a hash of the name is added, as it is to the later of two names that differ in case only.

    Args:
        names: any texts.

    Returns:
        The file name of each name: not empty, at most `LONGEST_SLUG` characters, without a leading dot, no device of
        Windows.

    Example:
        >>> slugs(["dimuon_mass", "../../x", "Dimuon_mass"])
        {'dimuon_mass': 'dimuon_mass', '../../x': '_.._x-9cdf6a50', 'Dimuon_mass': 'Dimuon_mass-9df7e4f2'}
    """
    return _unique(names, slug, str.casefold)


def slug(name: str) -> str:
    """The file name of a single name, as in `slugs`.

    Example:
        >>> slug("jesUp"), slug("con")
        ('jesUp', '_con-1143da2b')
    """
    kept = re.sub(r"[^A-Za-z0-9_.-]", "_", name).lstrip(".")[:LONGEST_SLUG]
    if _DEVICE.fullmatch(kept):
        kept = f"_{kept}"
    return kept if kept and kept == name else _with_hash(kept or "_", name, "-")


def identifiers(names: Iterable[str]) -> dict[str, str]:
    """Names of letters, digits and underscores, without a leading digit, for ROOT, Combine and pyhf.

    RooFit reads other characters as operators of a formula, and Combine a leading digit as a process number. A name
    that is such an identifier stays as it is; a hash is added where two names would be the same.

    Args:
        names: any texts.

    Returns:
        The identifier of each name, all different.

    Example:
        >>> identifiers(["ZZ_", "ZZ*", "H->mumu", "2l2q"])
        {'ZZ_': 'ZZ_', 'ZZ*': 'ZZ__a77b6afd', 'H->mumu': 'H__mumu', '2l2q': '_2l2q'}
    """
    return _unique(names, identifier, str)


def identifier(name: str) -> str:
    """The identifier of a single name, as in `identifiers`.

    Example:
        >>> identifier("ZZ*"), identifier("")
        ('ZZ_', '_')
    """
    return re.sub(r"[^A-Za-z0-9_]", "_", f"_{name}" if name[:1].isdigit() else name) or "_"


def _unique(names: Iterable[str], rule: Callable[[str], str], key: Callable[[str], str]) -> dict[str, str]:
    """Apply a rule to names, with a hash where an earlier name, or one that needs no change, has the same result."""
    results = {name: rule(name) for name in names}
    # Names that need no change come first, so that they keep their form whatever the others are.
    order = sorted(results, key=lambda name: results[name] != name)
    taken: set[str] = set()
    for name in order:
        if key(results[name]) in taken:
            results[name] = _with_hash(results[name], name, "_" if rule is identifier else "-")
        taken.add(key(results[name]))
    return results


def _with_hash(text: str, name: str, joint: str) -> str:
    # Lone surrogates, which YAML can escape, have no other encoding.
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{text[: LONGEST_SLUG - 9]}{joint}{digest}"


def mapped_notes(kind: str, mapped: dict[str, str], where: str) -> list[str]:
    """One sentence for each name that is called otherwise somewhere.

    Example:
        >>> mapped_notes("process", identifiers(["ZZ*", "dy"]), "ROOT histograms and datacards")
        ["process 'ZZ*' is called 'ZZ_' in ROOT histograms and datacards"]
    """
    return [f"{kind} {name!r} is called {used!r} in {where}" for name, used in mapped.items() if name != used]


def repeated(names: Iterable[str]) -> list[str]:
    """The names that occur more than once.

    Example:
        >>> repeated(["a", "b", "a"])
        ['a']
    """
    return [name for name, count in Counter(names).items() if count > 1]
