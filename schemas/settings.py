"""The base class of settings, which are read from `COGENRE_*` environment variables."""

from typing import Any, Self

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from schemas.errors import ConfigError


class Settings(BaseSettings):
    """Settings that are read from environment variables `COGENRE_<NAME OF THE FIELD>`. Immutable."""

    model_config = SettingsConfigDict(env_prefix="COGENRE_", frozen=True)

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Return the settings: the values in `given`, and the others from the environment.

        Raises ConfigError, naming each variable that is missing or not valid.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            problems = "; ".join(
                f"{'COGENRE_' + str(part['loc'][0]).upper()}: {part['msg'].lower()}"
                for part in error.errors()
            )
            raise ConfigError(f"{problems} (`cogenre local` prints working settings to try)") from None
