"""Errors of export and adoption. Each message is one line with the problem and the remedy."""

from schemas.errors import CogenreError


class ExporterError(CogenreError):
    """Base of the errors of the exporter."""


class BundleNameError(ExporterError):
    """The name or version is not valid for a bundle."""


class ParityError(ExporterError):
    """A graph, or `cogenre classify`, gives other probabilities or labels than its reference."""


class GraphError(ExporterError):
    """A graph cannot be written, or ONNX Runtime cannot load it."""


class AdoptError(ExporterError):
    """The checkpoint cannot be adopted."""


class TaxonomyError(ExporterError):
    """The taxonomy file is not valid, or does not fit the checkpoint's labels."""


class PrecisionError(ExporterError):
    """The requested precision does not exist, or its cost cannot be measured."""


class LossError(ExporterError):
    """A precision changes too many labels."""
