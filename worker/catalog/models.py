"""Models in the catalog."""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text

from schemas.bundle import BundleManifest
from worker.errors import ConfigError


@dataclass(frozen=True)
class RegisteredModel:
    """A model as the catalog knows it."""

    id: int
    status: str
    """shadow, current or retired."""
    genre_ids: tuple[int, ...]
    """The catalog's genres, in the manifest's order."""


def register_model(engine: Engine, manifest: BundleManifest, artefact_sha256: str) -> RegisteredModel:
    """Make a bundle known to the catalog, with the highest rank; nothing changes if it is.

    The first model of a catalog becomes the current one; any later one is a shadow until it is promoted.
    Raises ConfigError where the same name and version stand for another artefact.
    """
    with engine.begin() as connection:
        known = _known(connection, manifest, artefact_sha256)
        if known is None:
            connection.execute(text("lock table model in share row exclusive mode"))
            # Another worker may have been faster.
            known = _known(connection, manifest, artefact_sha256)
        return known or _insert(connection, manifest, artefact_sha256)


def _known(connection: Connection, manifest: BundleManifest, artefact_sha256: str) -> RegisteredModel | None:
    """Workers ask this every few seconds: it takes no lock."""
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
            f"the catalog knows another bundle as {manifest.label}: give this one a version of its own "
            "(`cogenre-export bundle --version`)"
        )
    return RegisteredModel(row.id, row.status, tuple(row.genre_ids))


def _insert(connection: Connection, manifest: BundleManifest, artefact_sha256: str) -> RegisteredModel:
    genre_ids = _insert_genres(connection, manifest)
    inserted = connection.execute(
        text("""
            insert into model (name, version, rank, artefact_sha256, status, genre_ids)
            select :name, :version, coalesce(max(rank), 0) + 1, :sha256,
                   case when bool_or(status = 'current') then 'shadow' else 'current' end, :genre_ids
            from model
            returning id, status
        """),
        {
            "name": manifest.name,
            "version": manifest.version,
            "sha256": artefact_sha256,
            "genre_ids": list(genre_ids),
        },
    ).one()
    model_id = inserted.id
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


def _insert_genres(connection: Connection, manifest: BundleManifest) -> tuple[int, ...]:
    """The ids of the manifest's genres. A genre's name and parent are those of the model registered last."""
    connection.execute(
        text("""
            insert into genre (slug, name)
            select * from unnest(cast(:slugs as text[]), cast(:names as text[]))
            on conflict (slug) do update set name = excluded.name
        """),
        {
            "slugs": [genre.slug for genre in manifest.genres],
            "names": [genre.name for genre in manifest.genres],
        },
    )
    connection.execute(
        text("""
            update genre set parent_id = parent.id
            from unnest(cast(:slugs as text[]), cast(:parents as text[])) as given (slug, parent)
            left join genre parent on parent.slug = given.parent
            where genre.slug = given.slug
        """),
        {
            "slugs": [genre.slug for genre in manifest.genres],
            "parents": [genre.parent for genre in manifest.genres],
        },
    )
    ids = {row.slug: row.id for row in connection.execute(text("select slug, id from genre"))}
    return tuple(ids[genre.slug] for genre in manifest.genres)
