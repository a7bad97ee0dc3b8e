"""Why a bundle cannot be made or trusted. Each message is one line that says what to do."""

from schemas.errors import CogenreError


class ExporterError(CogenreError):
    """Any of them."""


class BundleNameError(ExporterError):
    """A name or version that no bundle can have."""


class ParityError(ExporterError):
    """The graph and the checkpoint that it was made of give different probabilities."""


class GraphError(ExporterError):
    """A graph that cannot be written, or that ONNX Runtime does not load."""


class AdoptError(ExporterError):
    """A checkpoint that cannot be adopted."""


class TaxonomyError(ExporterError):
    """A taxonomy file that does not fit the checkpoint's labels."""


class PrecisionError(ExporterError):
    """A precision that cannot be made."""


class LossError(ExporterError):
    """A precision that changes too many labels."""
