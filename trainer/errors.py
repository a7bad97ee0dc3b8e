"""Errors of the trainer. Each message is one line: what is wrong, and how to correct it."""

from schemas.errors import CogenreError


class TrainerError(CogenreError):
    """Base of the errors below."""


class ManifestError(TrainerError):
    """The manifest or its `genres.json` is not valid."""


class LeakError(TrainerError):
    """An artist or a recording is in two splits, so the score would be inflated by leakage."""


class UnreadableFile(TrainerError):
    """A file that the manifest names does not exist or may not be read. The track is left out."""


class StorageError(TrainerError):
    """The disk or S3 fails. The run ends, because no particular file is at fault."""


class UsedInTraining(TrainerError):
    """The track must not be measured, because its recording or artist is in the training data."""


class CheckpointError(TrainerError):
    """The folder is not a checkpoint of this release."""


class LyricsModelError(TrainerError):
    """The lyrics encoder cannot be loaded or used."""


class AudioModelError(TrainerError):
    """The audio encoder cannot be loaded, or needs another input than is configured."""


class DecodingError(TrainerError):
    """Decode processes cannot be started."""


class TrainingError(TrainerError):
    """Training cannot continue with these settings."""
