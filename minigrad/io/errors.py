"""The errors of files: damaged, refused as they are, or too large."""


class UnreadableError(ValueError):
    """A file could not be read: a whole message, with its name and a way out."""


class RefusedError(ValueError):
    """What a file holds is not read: a reason with a way out, without the name."""


class TooLargeError(RefusedError):
    """Something takes more memory than is allowed, or than there is."""
