"""What the zoo raises: one family of errors that name the thing, what was found, what was expected and the remedy."""


class ZooError(Exception):
    """Anything the zoo refuses, in words a user can act on.

    Args:
        what: The thing that is wrong, with its name.
        found: The value that was found.
        expected: What would have been right.
        remedy: What to do about it.
    """

    def __init__(self, what: str, *, found: object = None, expected: object = None, remedy: str | None = None) -> None:
        self.what, self.found, self.expected, self.remedy = what, found, expected, remedy
        parts = [what]
        if found is not None:
            parts.append(f"found: {found}")
        if expected is not None:
            parts.append(f"expected: {expected}")
        if remedy is not None:
            parts.append(remedy)
        super().__init__("; ".join(parts))


class UnknownModelError(ZooError):
    """No model or weights of that name."""


class RegistryError(ZooError):
    """A registration that cannot stand: a name clash, an incomplete spec."""


class OptionError(ZooError):
    """An option that the model does not support, or a value outside its range."""


class ImageError(ZooError):
    """A picture that cannot be read, is not one, is too large, or cannot be written."""


class VideoError(ZooError):
    """A film that cannot be read, is not one, or cannot be written."""


class BatchError(ZooError):
    """A batch that cannot begin, or not go on; what was done is kept."""


class WeightsError(ZooError):
    """Weights that are missing, damaged or do not fit the network."""


class ConfigError(ZooError):
    """A configuration with an unknown key, a wrong type or a missing value."""
