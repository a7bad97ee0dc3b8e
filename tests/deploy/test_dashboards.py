"""The dashboards of deploy/grafana: their queries run, with the rights of an analyst."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from schemas.catalog.access import grant
from tests.deploy.monitoring import DASHBOARDS, GRAFANA, Query, alerts, catalog_queries, panels, yaml
from tests.worker.catalog.labels import model
from worker.catalog.refresh import refresh

every_dashboard = pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)


@pytest.fixture
def analyst(catalog: Engine) -> Iterator[Engine]:
    """An analyst's login, made as docs/analyse.md describes, in a catalog with labels."""
    labelling = model(catalog)
    labelling.label("t1", rock=0.9, metal=0.8)
    labelling.label("t2", jazz=0.9)
    refresh(catalog)
    name = f"grafana_{uuid.uuid4().hex}"
    with catalog.begin() as connection:
        connection.execute(text(f"create role {name} login"))
    with catalog.connect() as connection:
        grant(connection, "analyst", name)
    engine = create_engine(catalog.url.set(username=name))
    yield engine
    engine.dispose()
    with catalog.begin() as connection:
        connection.execute(text(f"drop owned by {name}; drop role {name}"))


def run_query(engine: Engine, query: Query) -> list[Any]:
    with engine.connect() as connection:
        try:
            return list(connection.exec_driver_sql(query.text).mappings())
        except DBAPIError as error:
            pytest.fail(f"{query.where}: {error}")


def test_an_analyst_may_run_every_query(analyst: Engine) -> None:
    queries = catalog_queries()
    assert len(queries) > 12
    answers = {query.where: run_query(analyst, query) for query in queries}
    assert answers["analysts: Registered tracks"] == [{"registered": 2}]
    assert {row["genre"] for row in answers["analysts: Tracks with the highest score for $genre"]} == {
        "rock",
        "jazz",
    }
    empty = {where for where, rows in answers.items() if not rows}
    assert empty == {
        "analysts: Calibration",
        "analysts: Labels that change between models",
        "analysts: Open failures",
    }


def test_queries_of_time_series_return_time_metric_and_value(analyst: Engine) -> None:
    time_series = [
        (file, panel)
        for file in DASHBOARDS
        for panel in panels(json.loads(file.read_text()))
        if panel["type"] == "timeseries" and "rawSql" in panel["targets"][0]
    ]
    titles = {f"{file.stem}: {panel['title']}" for file, panel in time_series}
    assert titles
    for query in catalog_queries():
        if query.where in titles:
            row = run_query(analyst, query)[0]
            assert set(row) == {"time", "metric", "value"}, query.where
            assert row["time"].tzinfo, query.where


@every_dashboard
def test_panels_have_unique_ids_and_do_not_overlap(file: Path) -> None:
    page = json.loads(file.read_text())
    ids = [panel["id"] for panel in page["panels"]]
    assert len(ids) == len(set(ids))
    occupied: set[tuple[int, int]] = set()
    for panel in page["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & occupied, panel["title"]
        occupied |= cells


@every_dashboard
def test_panels_use_a_provisioned_data_source(file: Path) -> None:
    provisioned = {
        source["uid"]: source["type"]
        for described in (GRAFANA / "provisioning" / "datasources").glob("*.yaml")
        for source in yaml.safe_load(described.read_text())["datasources"]
    }
    for panel in panels(json.loads(file.read_text())):
        for source in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
            assert provisioned[source["uid"]] == source["type"], panel["title"]


@every_dashboard
def test_alerts_in_panel_descriptions_exist(file: Path) -> None:
    described = " ".join(panel["description"] for panel in panels(json.loads(file.read_text())))
    named = {word.strip(".,") for word in described.split() if word.startswith("Cogenre")}
    assert named <= alerts().keys()


def test_every_dashboard_has_a_unique_uid() -> None:
    assert len({json.loads(file.read_text())["uid"] for file in DASHBOARDS}) == len(DASHBOARDS) == 2
