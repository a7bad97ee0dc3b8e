"""What torch's exporter writes that costs time and computes nothing, taken out of the graph.

By rules in the patterns' own operators: every runtime knows what is put in their place.
"""

from typing import Any

import onnx_ir
from onnxscript.rewriter import RewriteRule, RewriteRuleSet, rewrite


def simplify(model: onnx_ir.Model) -> onnx_ir.Model:
    """The same results, but for the last bits."""
    simpler: onnx_ir.Model = rewrite(model, _RULES)
    return simpler


def _guarded(op: Any, scores: Any, nothing: Any) -> Any:
    """Attention over nothing is no number, and torch makes zeros of it. Here no row attends to nothing."""
    shares = op.Softmax(scores, axis=-1)
    return op.Where(op.IsNaN(shares), nothing, shares)


def _unguarded(op: Any, scores: Any, **_: Any) -> Any:
    return op.Softmax(scores, axis=-1)


def _halved_first(op: Any, x: Any, root: Any, one: Any, half: Any) -> Any:
    """x · (½ · (1 + erf(x / √2)))"""
    return op.Mul(x, op.Mul(half, op.Add(op.Erf(op.Div(x, root)), one)))


def _halved_last(op: Any, x: Any, root: Any, one: Any, half: Any) -> Any:
    """In the order that ONNX Runtime fuses to one operator."""
    return op.Mul(op.Mul(x, op.Add(op.Erf(op.Div(x, root)), one)), half)


_RULES = RewriteRuleSet(
    [RewriteRule(_guarded, _unguarded), RewriteRule(_halved_first, _halved_last)], commute=True
)
