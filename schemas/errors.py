"""Base classes of errors. A command prints such an error in one line and exits with code 2."""


class CogenreError(Exception):
    """An error that a person can fix. The message is one line: the problem and the remedy."""


class ConfigError(CogenreError):
    """A setting or an argument is not valid, or the service that it refers to does not work."""


class ContractError(CogenreError, ValueError):
    """Data from another process does not follow its contract."""


class BundleError(ContractError):
    """A model bundle cannot be used: a file is missing or changed, or the manifest is not valid."""
