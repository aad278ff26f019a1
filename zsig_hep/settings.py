"""The base of every settings model: unknown keys are refused and settings never change."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """A strict, immutable group of settings; each room defines its own and `Analysis` composes them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=False, allow_inf_nan=False)
