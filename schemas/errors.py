"""What can be wrong with data that crosses a process boundary."""


class ContractError(ValueError):
    """Data breaks the contract. The message is one line for the person who has to mend it."""


class BundleError(ContractError):
    """A model bundle cannot be used: a file is missing or changed, or the manifest is not ours."""
