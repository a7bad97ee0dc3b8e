"""Feedback of people on labels: stored apart from the labels, exported to train the next model."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Engine, text

from schemas.errors import ConfigError
from schemas.jobs import InlineLyrics, ObjectRef, TrackJob
from storage.atomic import new_path

GENRES_FILE = "genres.json"
"""File beside the manifest, which `cogenre-train fit` reads."""

ADD = text("""
    insert into feedback (track_id, genre_id, given_by, is_correct)
    values (:track, :genre, :given_by, :is_correct)
    on conflict (track_id, genre_id, given_by) do update
    set is_correct = excluded.is_correct, given_at = now()
""")

# If as many people rated the label right as wrong, the model's label stays.
WITH_FEEDBACK = text("""
    select t.id as track_id, t.artist, t.language, t.job,
           array(
               select l.genre from track_genre l where l.classification_id = cur.classification_id
           ) as labels,
           votes.accepted, votes.rejected
    from (
        select track_id,
               array_agg(genre) filter (where votes > 0) as accepted,
               array_agg(genre) filter (where votes < 0) as rejected
        from (
            select f.track_id, g.slug as genre, sum(case when f.is_correct then 1 else -1 end) as votes
            from feedback f join genre g on g.id = f.genre_id
            group by f.track_id, g.slug
        ) counted
        group by track_id
    ) votes
    join track t on t.id = votes.track_id
    left join track_current cur on cur.track_id = t.id
    order by t.id
""")

GENRES = text("""
    select g.slug, g.name, parent.slug as parent
    from genre g left join genre parent on parent.id = g.parent_id
    order by g.slug
""")


def add_feedback(engine: Engine, track_id: str, genre: str, is_correct: bool, given_by: str) -> None:
    """Record a person's feedback. It replaces the person's earlier feedback on the same label.

    Raises ConfigError if the catalog does not have the track or the genre.
    """
    with engine.begin() as connection:
        genre_id = connection.scalar(text("select id from genre where slug = :genre"), {"genre": genre})
        if genre_id is None:
            registered = ", ".join(connection.execute(text("select slug from genre order by 1")).scalars())
            raise ConfigError(f"no model has the genre {genre}; registered genres: {registered or 'none'}")
        if not connection.scalar(text("select true from track where id = :track"), {"track": track_id}):
            raise ConfigError(f"the catalog has no track {track_id}")
        connection.execute(
            ADD, {"track": track_id, "genre": genre_id, "given_by": given_by, "is_correct": is_correct}
        )


@dataclass(frozen=True)
class FeedbackExport:
    """The result of `export_feedback`."""

    tracks: int
    without_job: int
    """Tracks with feedback that were left out, because the catalog has no valid job for them."""


def export_feedback(engine: Engine, manifest: Path) -> FeedbackExport:
    """Write the tracks with feedback as a training manifest, with `genres.json` beside it.

    A track gets the genres of the current model, corrected by the feedback. A rejected genre also removes its
    descendants. A track without a remaining genre is left out. The file is renamed to `manifest` when it is
    complete.
    """
    with (
        new_path(manifest) as temporary,
        engine.connect() as connection,
        temporary.open("w", encoding="utf-8") as file,
    ):
        genres = [dict(row) for row in connection.execute(GENRES).mappings()]
        parents = {genre["slug"]: genre["parent"] for genre in genres}
        tracks = without_job = 0
        stream = connection.execution_options(stream_results=True, yield_per=1000).execute(WITH_FEEDBACK)
        for row in stream:
            rejected = set(row.rejected or ())
            genres_of_track = sorted(
                genre
                for genre in {*row.labels, *(row.accepted or ())}
                if rejected.isdisjoint(_with_ancestors(genre, parents))
            )
            if not genres_of_track:
                continue
            try:
                job = TrackJob.model_validate(row.job)
            except ValidationError:  # not registered by cogenre
                without_job += 1
                continue
            file.write(json.dumps(_example(row, job, genres_of_track), ensure_ascii=False) + "\n")
            tracks += 1
    (manifest.parent / GENRES_FILE).write_text(json.dumps(genres, indent=2, ensure_ascii=False) + "\n")
    return FeedbackExport(tracks, without_job)


def _with_ancestors(genre: str, parents: dict[str, str | None]) -> Iterator[str]:
    """Yield a genre and its ancestors."""
    ancestor: str | None = genre
    while ancestor is not None:
        yield ancestor
        ancestor = parents[ancestor]


def _example(row: Any, job: TrackJob, genres: list[str]) -> dict[str, Any]:
    """Return the manifest's row of a track."""
    return {
        "track_id": row.track_id,
        "audio": _url(job.audio),
        "lyrics": job.lyrics.text
        if isinstance(job.lyrics, InlineLyrics)
        else job.lyrics and _url(job.lyrics),
        "genres": genres,
        "artist": row.artist,
        "language": row.language,
        "split": None,
    }


def _url(reference: ObjectRef) -> str:
    """Return the s3:// URL of an object."""
    return f"s3://{reference.bucket}/{reference.key}"
