"""Models in the catalog."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import Connection, Engine, text

from schemas.bundle import BundleManifest
from schemas.errors import ConfigError


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

    The first model of a catalog becomes the current one; any later one is a shadow until it is promoted, and
    what it calls the genres is not shown before that.
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
    """The catalog's genres, those of the manifest included, by slug."""
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
"""Workers look at their models more often, and note it every half minute."""


def note_served(engine: Engine, artefacts: Iterable[str]) -> None:
    """A worker has these bundles loaded. Many workers note it: one a model and half a minute is enough."""
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
    """Raises ConfigError where no worker has had the model loaded of late; says nothing of unknown models."""
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
            f"no worker serves {label}: put its bundle where COGENRE_BUNDLE of the workers points, "
            "or say --unserved"
        )


def show_genres(connection: Connection, model_id: int) -> None:
    """Call its genres, and order them below their parents, as the model does."""
    connection.execute(
        text("""
            update genre set name = given.name, parent_id = given.parent
            from model, unnest(genre_ids, genre_names, genre_parents) as given (id, name, parent)
            where model.id = :model and genre_names is not null and genre.id = given.id
        """),
        {"model": model_id},
    )
