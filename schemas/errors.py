"""Errors that a person can fix. Each command prints them in one line and exits with code 2."""


class CogenreError(Exception):
    """The message is one line: what is wrong, and what to do."""


class ConfigError(CogenreError):
    """A setting or an argument is wrong, or a service that it names does not work."""


class ContractError(CogenreError, ValueError):
    """Data that crosses a process boundary does not follow its contract."""


class BundleError(ContractError):
    """A model bundle cannot be used: a file is missing or changed, or the manifest is not valid."""
