"""Reads the rules of deploy/prometheus and the dashboards of deploy/grafana."""

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.conftest import ROOT

yaml: Any = importlib.import_module("yaml")  # has no type annotations

PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yaml"))
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))


@dataclass(frozen=True)
class Query:
    """A PromQL or SQL query."""

    where: str
    """The rule's name, or dashboard and panel."""
    text: str


def documented_scrape_config(page: str) -> dict[str, Any]:
    """Return the Prometheus configuration in docs/`page`.md."""
    text = (ROOT / "docs" / f"{page}.md").read_text()
    blocks = re.findall(r"^```yaml\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (found,) = (yaml.safe_load(block) for block in blocks if "scrape_configs" in block)
    configuration: dict[str, Any] = found
    return configuration


def rules() -> list[dict[str, Any]]:
    """Return every recording and alert rule."""
    return [
        rule
        for file in RULE_FILES
        for group in yaml.safe_load(file.read_text())["groups"]
        for rule in group["rules"]
    ]


def alerts() -> dict[str, dict[str, Any]]:
    """Return the alert rules by name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded_series() -> set[str]:
    """Return the names of the series that recording rules create."""
    return {rule["record"] for rule in rules() if "record" in rule}


def dashboard(name: str) -> dict[str, Any]:
    page: dict[str, Any] = json.loads((GRAFANA / "dashboards" / f"{name}.json").read_text())
    return page


def panels(page: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard without its row headings."""
    return [panel for panel in page["panels"] if panel["type"] != "row"]


def prometheus_queries() -> list[Query]:
    """Return the PromQL of every rule and panel, with values in place of Grafana's variables."""
    found = [Query(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]
    return found + [
        Query(f"{file.stem}: {panel['title']}", fill_variables(target["expr"]))
        for file in DASHBOARDS
        for panel in panels(json.loads(file.read_text()))
        for target in panel["targets"]
        if "expr" in target
    ]


def catalog_queries() -> list[Query]:
    """Return the SQL of every panel and variable, with values in place of Grafana's variables."""
    found = []
    for file in DASHBOARDS:
        page = json.loads(file.read_text())
        found += [
            Query(f"{file.stem}: {variable['name']}", variable["query"])
            for variable in page["templating"]["list"]
            if variable["type"] == "query"
        ]
        found += [
            Query(f"{file.stem}: {panel['title']}", fill_variables(target["rawSql"]))
            for panel in panels(page)
            for target in panel["targets"]
            if "rawSql" in target
        ]
    return found


def fill_variables(query: str) -> str:
    """Replace Grafana's macros and variables by values, as Grafana does."""
    query = query.replace("$__rate_interval", "1m").replace("$price", "0.10")
    query = query.replace("${genre:sqlstring}", "'rock','jazz'")
    query = re.sub(r"\$__timeFilter\((\w+)\)", r"\1 between '2020-01-01' and '2030-01-01'", query)
    assert "$" not in query, query
    return query


KEYWORDS = {"and", "or", "unless", "bool", "offset", "by", "without", "on", "ignoring"}


def metric_names(query: str) -> set[str]:
    """Return the metrics in a PromQL query.

    Those are the names that remain without strings, matchers, ranges, groupings, functions and numbers.
    """
    bare = re.sub(r'"[^"]*"', "", query)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    found = re.finditer(r"([a-zA-Z_:][\w:]*)(?!\w*\s*\()", bare)
    return {match[1] for match in found if not _is_keyword_or_part(bare, match)}


def _is_keyword_or_part(query: str, match: re.Match[str]) -> bool:
    """Return whether the match is a PromQL keyword or only part of a longer token, such as 1e3."""
    before = query[: match.start()]
    return match[1] in KEYWORDS or bool(before and (before[-1].isalnum() or before[-1] in "_:."))


def label_matchers(query: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each metric that a PromQL query filters, with the labels that it filters by."""
    for name, inside in re.findall(r"([a-zA-Z_:][\w:]*)\{([^}]*)\}", query):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"', '""', inside)))
