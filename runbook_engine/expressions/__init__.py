"""The language of conditions, facts and templates: Jinja2's grammar over plain data, three-valued, bounded.

Never runs code of a playbook.
"""

from __future__ import annotations

from .expression import Expression, Scope, compile_expression
from .filters import FILTERS, TESTS
from .functions import BASELINES, FUNCTIONS
from .template import (
    Template,
    compile_template,
    has_template,
    render_json,
    template_expressions,
    template_functions,
    template_names,
    templates,
)
from .values import ExpressionError, Json, Unknown, show

__all__ = [
    "BASELINES",
    "FILTERS",
    "FUNCTIONS",
    "TESTS",
    "Expression",
    "ExpressionError",
    "Json",
    "Scope",
    "Template",
    "Unknown",
    "compile_expression",
    "compile_template",
    "has_template",
    "render_json",
    "show",
    "template_expressions",
    "template_functions",
    "template_names",
    "templates",
]
