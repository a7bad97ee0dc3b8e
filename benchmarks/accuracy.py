"""Measure the accuracy of the demo bundle on the test split of its corpus, with a real worker.

    .venv/bin/python benchmarks/accuracy.py build/demo-data/corpus

`make demo-data` writes the corpus to that folder. Every test track is enqueued twice, with its lyrics and
without. `cogenre worker` labels the tracks on the local stack, and the labels are read from the catalog
with SQL. Example-based F1 is the F1 of each track's set of labels, averaged over the tracks.
"""

import json
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from sqlalchemy import text

from schemas.catalog.migrate import migrate
from schemas.jobs import ObjectRef, TrackJob
from storage.client import s3_client
from worker.catalog.connect import connect
from worker.local.demo import running_worker, wait_until_finished
from worker.local.stack import BUCKET, local_stack
from worker.queue.celery_app import celery_app
from worker.queue.enqueue import enqueue
from worker.settings import DEMO_DATA, BrokerSettings, CatalogSettings

LABELS = text("select track_id, array_agg(genre) as genres from analytics.track_label group by track_id")


def main(corpus: Path) -> None:
    console = Console()
    rows = [json.loads(line) for line in (corpus / "manifest.jsonl").read_text().splitlines()]
    test = [row for row in rows if row["split"] == "test"]
    with local_stack() as stack:
        os.environ.update(stack.environment() | {"COGENRE_BUNDLE": str(DEMO_DATA / "bundle")})
        engine = connect(CatalogSettings.load())
        migrate(engine)
        s3 = s3_client()
        jobs = []
        for row in test:
            for kind in ("audio", "lyrics"):
                if row[kind]:
                    s3.upload_file(str(corpus / row[kind]), BUCKET, row[kind])
            delivered = ObjectRef(bucket=BUCKET, key=row["lyrics"]) if row["lyrics"] else None
            for case, lyrics in (("with", delivered), ("without", None)):
                jobs.append(
                    TrackJob(
                        schema_version=1,
                        track_id=f"{case}/{row['track_id']}",
                        audio=ObjectRef(bucket=BUCKET, key=row["audio"]),
                        lyrics=lyrics,
                        enqueued_at=datetime.now(UTC),
                    )
                )
        with running_worker(console) as worker:
            enqueue(engine, celery_app(BrokerSettings.load()), jobs)
            wait_until_finished(console, engine, worker, [job.track_id for job in jobs])
        with engine.connect() as connection:
            predicted = {row.track_id: set(row.genres) for row in connection.execute(LABELS)}
    console.print(f"{datetime.now(UTC):%Y-%m-%d}, {len(test)} tracks of the test split, through the worker\n")
    console.print("| lyrics | example-based F1 |\n|---|---|")
    for case, name in (("with", "as delivered"), ("without", "dropped")):
        scores = [_f1(set(row["genres"]), predicted.get(f"{case}/{row['track_id']}", set())) for row in test]
        console.print(f"| {name} | {sum(scores) / len(scores):.3f} |")


def _f1(true: set[str], predicted: set[str]) -> float:
    return 2 * len(true & predicted) / (len(true) + len(predicted))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
