"""The pages for analysts: the dictionary is in step, and every question on them is answered."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Connection, Engine, text

from schemas.catalog.dictionary import render_dictionary
from tests.worker.catalog.labels import model
from worker.catalog.feedback import add_feedback
from worker.catalog.refresh import refresh

DOCS = Path(__file__).parents[3] / "docs"
QUESTION = re.compile(
    r"^## (?P<title>[^\n]+)\n(?:(?!^## ).)*?```sql\n(?P<sql>.*?)```", re.DOTALL | re.MULTILINE
)
QUESTIONS = {found["title"]: found["sql"] for found in QUESTION.finditer((DOCS / "analyse.md").read_text())}
NOTEBOOK = re.findall(r"^```python\n(.*?)^```", (DOCS / "notebook.md").read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def analyst_session(catalog: Engine) -> Iterator[Connection]:
    """An analyst's session in a catalog with rows for every query."""
    with catalog.begin() as connection:
        connection.execute(text("create extension vector"))
    fake = model(catalog, "1", ("rock", "jazz", "electronic", "ambient"))
    fake.label("some-track", rock=0.9, jazz=0.8)
    fake.label("other", electronic=0.8, ambient=0.7)
    shadow = model(catalog, "2", ("rock", "jazz", "electronic", "ambient"))
    shadow.label("some-track", jazz=0.8)
    add_feedback(catalog, "some-track", "jazz", True, "ann")
    with catalog.begin() as connection:
        connection.execute(text("update model set name = 'demo'"))
        connection.execute(text("update track set registered_at = now() - interval '7 days'"))
        connection.execute(
            text(
                "insert into ingest_failure (track_id, stage, error_class, reason, payload) "
                "values ('broken', 'decode', 'CorruptAudio', 'why', '{}')"
            )
        )
        connection.execute(text("insert into track (id, job, enqueued_at) values ('broken', '{}', now())"))
    refresh(catalog)
    with catalog.connect() as connection:
        connection.execute(text("set search_path = analytics, public"))
        yield connection


def test_the_dictionary_is_in_step(catalog: Engine) -> None:
    with catalog.connect() as connection:
        written = render_dictionary(connection)
    assert "None" not in written, "a comment is missing"
    assert (DOCS / "data-dictionary.md").read_text() == written, (
        "run `cogenre catalog dictionary > docs/data-dictionary.md`"
    )


def test_the_page_has_the_questions() -> None:
    assert len(QUESTIONS) >= 18


@pytest.mark.parametrize("title", QUESTIONS)
def test_every_question_of_the_page_is_answered(analyst_session: Connection, title: str) -> None:
    answers: list[Any] = []
    for statement in filter(str.strip, QUESTIONS[title].split(";")):
        result = analyst_session.execute(text(statement))
        answers = list(result) if result.returns_rows else []
    assert answers


def test_the_notebook_runs(analyst_session: Connection) -> None:
    names: dict[str, Any] = {}
    for block in NOTEBOOK:
        exec(block, names)
    answers = [value for value in names.values() if isinstance(value, pl.DataFrame)]
    assert len(answers) >= 10
    assert all(answer.height for answer in answers)
    names["engine"].dispose()
