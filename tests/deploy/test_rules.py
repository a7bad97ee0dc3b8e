"""The rules of deploy/prometheus: checked by promtool, and their metric names against the code."""

import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.metrics import MetricWrapperBase

from tests.deploy.monitoring import (
    PROMETHEUS,
    RULE_FILES,
    alerts,
    dashboard,
    documented_scrape_config,
    fill_variables,
    label_matchers,
    metric_names,
    panels,
    prometheus_queries,
    recorded_series,
    rules,
    yaml,
)
from worker.observe import metrics

promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed: `apt-get install prometheus`"
)

SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
ADDED_BY_THE_CLIENT = {"process_cpu_seconds_total", "process_resident_memory_bytes"}
ADDED_BY_PROMETHEUS = {"instance", "job", "le"}


def exported_series() -> dict[str, set[str]]:
    """Return the series that a worker exports, with their labels."""
    series = {name: set[str]() for name in ADDED_BY_THE_CLIENT}
    for metric in vars(metrics).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            for suffix in SUFFIXES[family.type]:
                series[family.name + suffix] = set(metric._labelnames)  # no public attribute has them
    return series


def run(*command: object) -> str:
    done = subprocess.run(
        ["promtool", *map(str, command)], cwd=PROMETHEUS, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@promtool
def test_prometheus_accepts_the_configuration_and_every_rule() -> None:
    assert f"{len(RULE_FILES)} rule files found" in run("check", "config", "prometheus.yaml")


@promtool
@pytest.mark.parametrize("page", ["deploy-kubernetes", "deploy-systemd"])
def test_prometheus_accepts_the_scrape_configuration_in_the_docs(page: str, tmp_path: Path) -> None:
    configuration = documented_scrape_config(page)
    # Debian's Prometheus is built without Kubernetes service discovery; test_kubernetes.py checks this part.
    configuration["scrape_configs"][0].pop("kubernetes_sd_configs", None)
    file = tmp_path / "prometheus.yaml"
    file.write_text(yaml.safe_dump(configuration))
    (tmp_path / "rules").symlink_to(PROMETHEUS / "rules")
    assert f"{len(RULE_FILES)} rule files found" in run("check", "config", file)


@promtool
def test_alerts_fire_in_their_test_cases_and_in_no_other() -> None:
    assert "SUCCESS" in run("test", "rules", *(PROMETHEUS / "tests").glob("*.yaml"))


@promtool
def test_every_query_of_rules_and_dashboards_is_valid_promql(tmp_path: Path) -> None:
    wrapped = [{"record": f"query:{at}", "expr": query.text} for at, query in enumerate(prometheus_queries())]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": wrapped}]}))
    assert f"{len(wrapped)} rules found" in run("check", "rules", file)


@promtool
def test_cost_counts_replaced_pods_once(tmp_path: Path) -> None:
    """Four pods within an hour, each for a quarter of it, label one track a second."""
    (query,) = (
        fill_variables(panel["targets"][0]["expr"])
        for panel in panels(dashboard("operators"))
        if panel["title"] == "Worker-seconds per track"
    )
    series = [
        {"series": f'cogenre_model_warm{{instance="{at}"}}', "values": f"_x{at * 15} 1x14 stale"}
        for at in range(1, 5)
    ]
    tracks = {"series": 'cogenre_tracks_total{outcome="catalogued"}', "values": "0+60x80"}
    expected = {
        "expr": f"round({query}, 0.1)",
        "eval_time": "74m",
        "exp_samples": [{"labels": "{}", "value": 1}],
    }
    test = {"interval": "1m", "input_series": [*series, tracks], "promql_expr_test": [expected]}
    file = tmp_path / "cost.yaml"
    file.write_text(yaml.safe_dump({"tests": [test]}))
    run("test", "rules", file)


def test_every_alert_has_a_test_case_in_which_it_fires() -> None:
    cases = [
        sample["labels"]
        for file in (PROMETHEUS / "tests").glob("*.yaml")
        for test in yaml.safe_load(file.read_text())["tests"]
        for expected in test["promql_expr_test"]
        for sample in expected.get("exp_samples", [])
    ]
    assert not [name for name in alerts() if not any(f'alertname="{name}"' in case for case in cases)]


def test_every_alert_has_a_summary_and_a_severity() -> None:
    assert len(alerts()) >= 7
    for name, rule in alerts().items():
        assert rule["annotations"]["summary"].endswith("."), name
        assert rule["labels"]["severity"] in ("page", "ticket"), name


def test_every_metric_in_a_query_is_exported_or_recorded_series() -> None:
    known = exported_series().keys() | recorded_series()
    queries = prometheus_queries()
    assert len(queries) > 40
    for query in queries:
        assert metric_names(query.text), query
        assert not metric_names(query.text) - known, query.where


def test_every_label_in_a_matcher_exists_on_its_metric() -> None:
    series = exported_series()
    for query in prometheus_queries():
        for name, labels in label_matchers(query.text):
            if name in series:
                assert labels <= series[name] | ADDED_BY_PROMETHEUS, query.where


def test_every_recorded_series_is_used() -> None:
    used = {name for query in prometheus_queries() for name in metric_names(query.text)}
    assert not [rule["record"] for rule in rules() if "record" in rule and rule["record"] not in used]


@pytest.mark.parametrize(
    ("query", "names"),
    [
        (
            'sum by (queue, le) (rate(a_b_bucket{x="y z"}[5m])) / on () c:d:max > 1e3',
            {"a_b_bucket", "c:d:max"},
        ),
        ("up and on (instance) cogenre_made_up", {"up", "cogenre_made_up"}),
        ("avg_over_time((max(cogenre_model_warm) or vector(0))[10m:1m]) < 0.5", {"cogenre_model_warm"}),
    ],
)
def test_metric_names_of_a_query(query: str, names: set[str]) -> None:
    assert metric_names(query) == names
