"""`cogenre classify`"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from media.errors import (
    CorruptAudio,
    EmptyAudio,
    MediaError,
    ShortAudio,
    SilentAudio,
    UnreadableLyrics,
    UnsupportedAudio,
)
from schemas.errors import BundleError, ConfigError, ContractError
from worker.cli.lyrics import read_lyrics_file
from worker.errors import ProviderUnavailable

if TYPE_CHECKING:
    from worker.models.model import Model

ERROR_CODES: dict[type[Exception], str] = {
    EmptyAudio: "empty_audio",
    UnsupportedAudio: "unsupported_audio",
    CorruptAudio: "corrupt_audio",
    ShortAudio: "short_audio",
    SilentAudio: "silent_audio",
    UnreadableLyrics: "unreadable_lyrics",
    MediaError: "media_error",
    OSError: "unreadable_file",
    ProviderUnavailable: "provider_unavailable",
    BundleError: "invalid_bundle",
    ConfigError: "invalid_setting",
    ContractError: "invalid_data",
}
"""Field `error_code` of --json by error class, a stable interface. docs/operate.md lists the codes."""


def register(app: typer.Typer) -> None:
    app.command()(classify)


def classify(
    files: Annotated[list[Path], typer.Argument(help="Encoded audio. A .txt of the same name = its lyrics.")],
    bundle: Annotated[
        str | None, typer.Option(help="Model bundle; default: COGENRE_BUNDLE, else the demo's.")
    ] = None,
    lyrics: Annotated[Path | None, typer.Option(help="Lyrics, if there is a single audio file.")] = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="JSON lines with the scores of all genres. A failed file has error_code and error instead.",
        ),
    ] = False,
) -> None:
    """Label files with a bundle. No server needed."""
    from worker.models.model import open_bundle
    from worker.settings import bundle_or_demo

    if lyrics is not None and len(files) > 1:
        raise ConfigError(
            "--lyrics needs a single audio file; for several files, put a .txt of the same name next to each"
        )
    try:
        given_lyrics = read_lyrics_file(lyrics) if lyrics else None
        model = open_bundle(bundle_or_demo(bundle))
    except (ConfigError, ContractError, MediaError) as error:
        if as_json:
            typer.echo(_failure_line(None, error))
        raise
    table = Table("file", "genres", "seconds", "lyrics")
    failed = 0
    for file in files:
        lyrics_file = file.with_suffix(".txt")
        try:
            text = (
                given_lyrics if lyrics else read_lyrics_file(lyrics_file) if lyrics_file.is_file() else None
            )
            row = _result_row(file, text, model)
        except (OSError, MediaError, ConfigError) as error:
            Console(stderr=True, soft_wrap=True, highlight=False).print(
                f"cogenre: {file}: {_error_text(error)}", markup=False
            )
            failed += 1
            if as_json:
                typer.echo(_failure_line(file, error))
            continue
        if as_json:
            typer.echo(json.dumps(row))
        else:
            genres = ", ".join(f"{slug} {score:.2f}" for slug, score in row["genres"].items())
            table.add_row(
                str(file), genres or "none above its threshold", f"{row['seconds']:.1f}", row["lyrics"]
            )
    if not as_json and table.row_count:
        Console().print(table)
    if failed:
        raise typer.Exit(2)


def _result_row(file: Path, lyrics: str | None, model: "Model") -> dict[str, Any]:
    """Return a file's line of --json. Raises OSError, MediaError."""
    result = model.classify(file.read_bytes(), lyrics)
    scores = result.prediction.scores
    slugs = [genre.slug for genre in model.manifest.genres]
    return {
        "file": str(file),
        "genres": {slugs[label.genre]: round(label.score, 6) for label in model.rule.select_labels(scores)},
        "scores": dict(zip(slugs, (round(float(score), 6) for score in scores), strict=True)),
        "seconds": round(result.track_seconds, 3),
        "lyrics": result.lyrics,
        "model": model.manifest.label,
    }


def _failure_line(file: Path | None, error: Exception) -> str:
    """Return the line of --json for an error of a file, or of the whole command (`file` is None)."""
    return json.dumps(
        {
            "file": None if file is None else str(file),
            "error_code": error_code(error),
            "error": _error_text(error),
        }
    )


def _error_text(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def error_code(error: Exception) -> str:
    """Return the code of the error's class, else of its nearest base class in `ERROR_CODES`."""
    return next(ERROR_CODES[kind] for kind in type(error).__mro__ if kind in ERROR_CODES)
