"""Walks syntax trees of whole folders of Python: `ast.walk` looks at every name and constant, which hold nothing."""

from __future__ import annotations

import ast

CHILDLESS = (ast.Name, ast.Constant, ast.expr_context, ast.operator, ast.boolop, ast.unaryop, ast.cmpop, ast.alias)
"""Nodes that have no children but which of these they are: half of a tree, and left out."""


def children(node: ast.AST) -> list[ast.AST]:
    """Return the nodes of `ast.iter_child_nodes`, in its order, without `CHILDLESS`."""
    found: list[ast.AST] = []
    for name in node._fields:
        value = getattr(node, name, None)
        if isinstance(value, list):
            found += [each for each in value if isinstance(each, ast.AST) and not isinstance(each, CHILDLESS)]
        elif isinstance(value, ast.AST) and not isinstance(value, CHILDLESS):
            found.append(value)
    return found


def walk(node: ast.AST) -> list[ast.AST]:
    """A node and all below it, in the order of `ast.walk`, without `CHILDLESS`."""
    found = [node]
    for each in found:
        found += children(each)
    return found
