"""Preselections as text, such as `nJet >= 2 && MET_pt < 60`, on flat branches and elements."""

import ast
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from uproot.language.python import PythonLanguage

from zsig_hep.errors import InputError, first_line

_FUNCTIONS = PythonLanguage().functions
# No name that a branch can have.
_NUMBER = " number"
_NODES = (
    ast.Expression,
    ast.BoolOp,
    ast.boolop,
    ast.BinOp,
    ast.operator,
    ast.UnaryOp,
    ast.unaryop,
    ast.Compare,
    ast.Lt,
    ast.LtE,
    ast.Gt,
    ast.GtE,
    ast.Eq,
    ast.NotEq,
    ast.Call,
    ast.Name,
    ast.Load,
)


def parse_preselection(text: str) -> ast.Expression:
    """Parse a preselection with Python's parser; `&&`, `||` and `!` stand for `and`, `or` and `not`.

    Args:
        text: comparisons of branches, `name` or `name[0]`, and of uproot's functions of them.

    Returns:
        The expression; elements of branches are names such as `weights[0]` in it.

    Raises:
        ValueError: the text is no such expression.
    """
    python = re.sub(r"!(?!=)", " not ", text.replace("&&", " and ").replace("||", " or ")).strip()
    try:
        tree = _Elements().visit(ast.parse(python, mode="eval"))
    except (SyntaxError, RecursionError, MemoryError) as error:
        msg = f"{text!r} cannot be parsed: {first_line(error)}"
        raise ValueError(msg) from error
    for node in ast.walk(tree):
        number = isinstance(node, ast.Constant) and isinstance(node.value, int | float)
        if not number and not isinstance(node, _NODES):
            msg = f"{text!r} has {ast.unparse(node) or type(node).__name__!r}, which is no comparison, function, branch or number"
            raise ValueError(msg)
        if isinstance(node, ast.Call) and (
            not isinstance(node.func, ast.Name) or node.func.id not in _FUNCTIONS or node.keywords
        ):
            msg = f"{text!r} calls {ast.unparse(node.func)!r}; functions are {', '.join(sorted(_FUNCTIONS))}"
            raise ValueError(msg)
        if (
            isinstance(node, ast.UnaryOp)
            and isinstance(node.op, ast.Not)
            and isinstance(node.operand, ast.Compare)
            and b"(" not in python.encode()[node.col_offset : node.operand.col_offset]
        ):
            msg = (
                f"{text!r} negates something before a comparison, which ROOT and Python read differently: write !(...)"
            )
            raise ValueError(msg)
        if isinstance(node, ast.Compare) and any(
            isinstance(side, ast.BinOp) and isinstance(side.op, ast.BitAnd | ast.BitOr)
            for side in (node.left, *node.comparators)
        ):
            msg = f"{text!r} compares the result of & or |, which bind closer than comparisons: write && or ||"
            raise ValueError(msg)
    found: ast.Expression = ast.fix_missing_locations(_Logic().visit(tree))
    return found


def preselection_branches(text: str) -> tuple[str, ...]:
    """Branches and elements of branches that a preselection uses.

    Example:
        >>> preselection_branches("nJet >= 2 && sqrt(MET_pt) < 8")
        ('nJet', 'MET_pt')
    """
    tree = parse_preselection(text)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called]
    names.sort(key=lambda node: node.col_offset)
    return tuple(dict.fromkeys(node.id for node in names))


def preselect(text: str, branch: Callable[[str], NDArray[Any]], length: int, where: str) -> NDArray[np.bool_]:
    """Which events of a chunk pass a preselection.

    Args:
        text: the preselection.
        branch: gives the N values of a branch or element.
        length: number N of events.
        where: dataset and file, for messages.

    Returns:
        Bool [N].

    Raises:
        InputError: the expression cannot be computed, or the result is not boolean.
    """
    tree = parse_preselection(text)
    known = _FUNCTIONS | {name: branch(name) for name in preselection_branches(text)} | {_NUMBER: np.float64}
    try:
        passed = np.asarray(eval(compile(tree, "<preselection>", "eval"), {"__builtins__": {}}, known))
    except Exception as error:
        msg = f"{where}: ntuples.preselection {text!r} cannot be computed: {first_line(error)}"
        raise InputError(msg) from error
    if passed.dtype != np.bool_ or passed.shape != (length,):
        msg = f"{where}: ntuples.preselection {text!r} gives {passed.dtype}, not one boolean per event: compare, as in nJet >= 2"
        raise InputError(msg)
    return passed


def _as_number(node: ast.expr) -> ast.expr:
    """Real numbers in place of unsigned ones, which would wrap below 0, and of truth values, whose sum is no count."""
    return ast.copy_location(ast.Call(ast.Name(_NUMBER, ast.Load()), [node], []), node)


class _Elements(ast.NodeTransformer):
    """Makes `branch[0]` one name."""

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        if isinstance(node.value, ast.Name) and isinstance(node.slice, ast.Constant):
            return ast.copy_location(ast.Name(ast.unparse(node), ast.Load()), node)
        return node


class _Logic(ast.NodeTransformer):
    """Makes `and`, `or`, `not` and chains of comparisons work on arrays, and arithmetic that of real numbers."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        if not isinstance(node.op, ast.BitAnd | ast.BitOr):
            node.left, node.right = _as_number(node.left), _as_number(node.right)
        return node

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.AST:
        self.generic_visit(node)
        return self._joined(node.values, ast.BitAnd() if isinstance(node.op, ast.And) else ast.BitOr(), node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not):
            node.op = ast.Invert()
        elif isinstance(node.op, ast.USub):
            node.operand = _as_number(node.operand)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        sides = [node.left, *node.comparators]
        pairs = zip(sides, node.ops, sides[1:], strict=False)
        parts: list[ast.expr] = [ast.copy_location(ast.Compare(a, [op], [b]), node) for a, op, b in pairs]
        return self._joined(parts, ast.BitAnd(), node)

    @staticmethod
    def _joined(parts: list[ast.expr], operator: ast.operator, node: ast.expr) -> ast.expr:
        joined = parts[0]
        for part in parts[1:]:
            joined = ast.copy_location(ast.BinOp(joined, operator, part), node)
        return joined
