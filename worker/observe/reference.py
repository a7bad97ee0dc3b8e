"""Generates docs/metrics.md and docs/settings.md from the declarations in the code.

`make docs` or `python -m worker.observe.reference` writes both files.
"""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

from prometheus_client.metrics import MetricWrapperBase
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings

from report.markdown import markdown_table
from worker.observe import metrics
from worker.settings import WorkerSettings

DOCS = Path(__file__).parents[2] / "docs"


def metrics_page() -> str:
    """Return docs/metrics.md: name, type, labels and meaning of every metric, in the order of declaration."""
    declared = [value for value in vars(metrics).values() if isinstance(value, MetricWrapperBase)]
    rows = []
    for metric in declared:
        (family,) = metric.describe()
        name = family.name + ("_total" if family.type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # no public attribute has them
        rows.append((f"`{name}`", family.type, labels, family.documentation))
    return "\n".join(
        [
            "# Metrics",
            "",
            "A worker exports these metrics at `/metrics` if `COGENRE_HTTP_PORT` is set, in addition to the",
            "`process_*` and `python_*` metrics of the Python client. A histogram is exported as `_bucket`,",
            "`_sum` and `_count`. Generated from `worker/observe/metrics.py` by `make docs`.",
            "",
            markdown_table(("metric", "type", "labels", "meaning"), rows),
            "",
        ]
    )


def settings_page() -> str:
    """Return docs/settings.md: variable, default and meaning of every setting, by class."""
    lines = [
        "# Settings",
        "",
        "Settings are environment variables. A command that needs a missing or invalid variable names it and",
        "exits with code 2. Generated from `worker/settings.py` and `storage/settings.py` by `make docs`.",
        "",
    ]
    for group in _settings_classes():
        rows = (
            (f"`COGENRE_{name.upper()}`", _format_default(field), _format_meaning(field))
            for name, field in group.model_fields.items()
            if name in vars(group).get("__annotations__", {})
        )
        lines += [
            inspect.getdoc(group) or "",
            "",
            markdown_table(("variable", "default", "meaning"), rows),
            "",
        ]
    return "\n".join(lines)


def _settings_classes() -> Iterator[type[BaseSettings]]:
    """Yield the classes of settings that a worker reads, from all modules; WorkerSettings last."""
    all_settings, *bases = WorkerSettings.__mro__
    for group in (*bases, all_settings):
        if (
            issubclass(group, BaseSettings)
            and vars(group).get("__annotations__", {}).keys() & group.model_fields
        ):
            yield group


def _format_default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    return "unset" if field.default is None else f"`{field.default}`"


def _format_meaning(field: FieldInfo) -> str:
    if get_origin(field.annotation) is not Literal:
        return str(field.description)
    return f"{field.description} One of {', '.join(f'`{choice}`' for choice in get_args(field.annotation))}."


if __name__ == "__main__":
    (DOCS / "metrics.md").write_text(metrics_page())
    (DOCS / "settings.md").write_text(settings_page())
