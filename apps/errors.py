"""Which errors are the user's to mend? Those that commands show as one message."""


class UserError(Exception):
    """A mistake that the user can mend; its text says how.

    It is one line, or several, each given for itself: a line break within one is part
    of a name.
    """

    def __str__(self) -> str:
        """All lines."""
        return "\n".join(map(str, self.args))
