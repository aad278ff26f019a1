"""The one error that users of the generator see."""


class GeneratorError(Exception):
    """The samples cannot be made as asked; the message says what was found and what would be valid."""
