"""What a person can put right. Each message is one line that says what is wrong and what to do."""

from schemas.errors import CogenreError


class TrainerError(CogenreError):
    """Any of them."""


class ManifestError(TrainerError):
    """The manifest or `genres.json` beside it cannot be used."""


class LeakError(TrainerError):
    """Something of one split is in another too: what is measured there would be memory."""


class UnreadableFile(TrainerError):
    """A file that the manifest names cannot be had."""


class StorageError(TrainerError):
    """The disk or the S3 that files lie in fails: none of them is to blame."""


class UsedInTraining(TrainerError):
    """A recording that is to be measured on, and that is trained on."""


class CheckpointError(TrainerError):
    """A folder is no checkpoint, or not one that this release wrote."""


class LyricsModelError(TrainerError):
    """The lyrics encoder cannot be loaded."""


class AudioModelError(TrainerError):
    """The audio encoder cannot be loaded, or hears otherwise than is configured."""


class DecodingError(TrainerError):
    """No process to decode in can be had."""


class TrainingError(TrainerError):
    """Training cannot go on with these settings."""
