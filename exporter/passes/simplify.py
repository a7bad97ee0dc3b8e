"""Removes operators that torch's exporter writes and that take time without effect.

The replacements use only operators of the patterns, so that every runtime supports them.
"""

from typing import Any

import onnx_ir
from onnxscript.rewriter import RewriteRule, RewriteRuleSet, rewrite


def simplify(model: onnx_ir.Model) -> onnx_ir.Model:
    """Return the simplified model. Its results can differ in the last bits."""
    simplified: onnx_ir.Model = rewrite(model, _RULES)
    return simplified


def _softmax_without_nan(op: Any, scores: Any, zeros: Any) -> Any:
    """Softmax with zeros instead of NaN, for rows whose keys are all masked. This network has no such row."""
    shares = op.Softmax(scores, axis=-1)
    return op.Where(op.IsNaN(shares), zeros, shares)


def _softmax(op: Any, scores: Any, **_: Any) -> Any:
    return op.Softmax(scores, axis=-1)


def _torch_gelu(op: Any, x: Any, root: Any, one: Any, half: Any) -> Any:
    """GELU as torch writes it: x · (½ · (1 + erf(x / √2)))."""
    return op.Mul(x, op.Mul(half, op.Add(op.Erf(op.Div(x, root)), one)))


def _fusible_gelu(op: Any, x: Any, root: Any, one: Any, half: Any) -> Any:
    """GELU in the order that ONNX Runtime fuses to one operator: (x · (1 + erf(x / √2))) · ½."""
    return op.Mul(op.Mul(x, op.Add(op.Erf(op.Div(x, root)), one)), half)


_RULES = RewriteRuleSet(
    [RewriteRule(_softmax_without_nan, _softmax), RewriteRule(_torch_gelu, _fusible_gelu)], commute=True
)
