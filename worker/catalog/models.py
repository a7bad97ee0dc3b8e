"""Registers models and their genres, and records which models workers serve."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, Engine, text

from schemas.bundle import BundleManifest
from schemas.errors import ConfigError


@dataclass(frozen=True)
class RegisteredModel:
    """A model in the catalog."""

    id: int
    status: str
    """shadow, current or retired."""
    genre_ids: tuple[int, ...]
    """Keys of the genres, in the order of the manifest."""


def register_model(engine: Engine, manifest: BundleManifest, artefact_sha256: str) -> RegisteredModel:
    """Register a bundle as a model with the highest rank. Does nothing if it is registered.

    The first model of a catalog becomes current. A later model is a shadow until it is promoted. The display
    names of its genres are not used before that. Raises ConfigError if the name and version are registered
    with another artefact.
    """
    with engine.begin() as connection:
        registered = _find_model(connection, manifest, artefact_sha256)
        if registered is None:
            connection.execute(text("lock table model in share row exclusive mode"))
            # Another worker may have registered it in the meantime.
            registered = _find_model(connection, manifest, artefact_sha256)
        return registered or _insert_model(connection, manifest, artefact_sha256)


def _find_model(
    connection: Connection, manifest: BundleManifest, artefact_sha256: str
) -> RegisteredModel | None:
    """Return the registered model, or None. Takes no lock, because workers call it every few seconds."""
    row = connection.execute(
        text(
            "select id, status, artefact_sha256, genre_ids from model "
            "where name = :name and version = :version"
        ),
        {"name": manifest.name, "version": manifest.version},
    ).one_or_none()
    if row is None:
        return None
    if row.artefact_sha256 != artefact_sha256:
        raise ConfigError(
            f"the catalog has another bundle as {manifest.label}: give this one its own version "
            "(`cogenre-export bundle --version`)"
        )
    return RegisteredModel(row.id, row.status, tuple(row.genre_ids))


def _insert_model(connection: Connection, manifest: BundleManifest, artefact_sha256: str) -> RegisteredModel:
    """Insert a model with its genres, thresholds and learned correlations."""
    ids = _insert_genres(connection, manifest)
    genre_ids = tuple(ids[genre.slug] for genre in manifest.genres)
    inserted = connection.execute(
        text("""
            insert into model (
                name, version, rank, artefact_sha256, status, promoted_at,
                genre_ids, genre_names, genre_parents
            )
            select :name, :version, coalesce(max(rank), 0) + 1, :sha256,
                   case when count(*) = 0 then 'current' else 'shadow' end,
                   case when count(*) = 0 then now() end,
                   :genre_ids, :genre_names, cast(:genre_parents as smallint[])
            from model
            returning id, status
        """),
        {
            "name": manifest.name,
            "version": manifest.version,
            "sha256": artefact_sha256,
            "genre_ids": list(genre_ids),
            "genre_names": [genre.name for genre in manifest.genres],
            "genre_parents": [genre.parent and ids[genre.parent] for genre in manifest.genres],
        },
    ).one()
    model_id = inserted.id
    if inserted.status == "current":
        show_genres(connection, model_id)
    connection.execute(
        text("""
            insert into model_threshold (model_id, genre_id, threshold)
            select :model, * from unnest(cast(:genres as smallint[]), cast(:thresholds as real[]))
        """),
        {"model": model_id, "genres": list(genre_ids), "thresholds": list(manifest.thresholds)},
    )
    pairs = [
        (a, b, weight)
        for a, row in zip(genre_ids, manifest.correlations, strict=True)
        for b, weight in zip(genre_ids, row, strict=True)
        if a != b
    ]
    connection.execute(
        text("""
            insert into genre_correlation (model_id, genre_a, genre_b, weight)
            select :model, *
            from unnest(cast(:a as smallint[]), cast(:b as smallint[]), cast(:weight as real[]))
        """),
        {
            "model": model_id,
            "a": [pair[0] for pair in pairs],
            "b": [pair[1] for pair in pairs],
            "weight": [pair[2] for pair in pairs],
        },
    )
    return RegisteredModel(model_id, inserted.status, genre_ids)


def _insert_genres(connection: Connection, manifest: BundleManifest) -> dict[str, int]:
    """Insert the genres of the manifest that are new. Return the keys of all genres by slug."""
    connection.execute(
        text("""
            insert into genre (slug, name)
            select * from unnest(cast(:slugs as text[]), cast(:names as text[]))
            on conflict (slug) do nothing
        """),
        {
            "slugs": [genre.slug for genre in manifest.genres],
            "names": [genre.name for genre in manifest.genres],
        },
    )
    return {row.slug: row.id for row in connection.execute(text("select slug, id from genre"))}


SERVED_WITHIN = timedelta(minutes=2)
"""Time for which a model counts as served after a worker recorded it. Workers record it every 30 s."""


def record_served(engine: Engine, artefacts: Iterable[str]) -> None:
    """Record that a worker has these bundles loaded. A model's row is updated at most every 30 s."""
    with engine.begin() as connection:
        connection.execute(
            text("""
                update model set served_at = now()
                where artefact_sha256 = any(:artefacts)
                  and (served_at is null or served_at < now() - interval '30 seconds')
            """),
            {"artefacts": list(artefacts)},
        )


def check_served(engine: Engine, label: str) -> None:
    """Raise ConfigError if no worker has recently served the model. Ignores unknown models."""
    with engine.connect() as connection:
        unserved = connection.scalar(
            text("""
                select coalesce(served_at < now() - :within, true) from model
                where name || ':' || version = :label
            """),
            {"label": label, "within": SERVED_WITHIN},
        )
    if unserved:
        raise ConfigError(
            f"no worker serves {label}: add its bundle to COGENRE_BUNDLE of the workers, or pass --unserved"
        )


def show_genres(connection: Connection, model_id: int) -> None:
    """Set the display names and parents of genres to those of the model."""
    connection.execute(
        text("""
            update genre set name = given.name, parent_id = given.parent
            from model, unnest(genre_ids, genre_names, genre_parents) as given (id, name, parent)
            where model.id = :model and genre_names is not null and genre.id = given.id
        """),
        {"model": model_id},
    )
