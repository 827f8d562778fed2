"""Which errors are the user's to mend? Those that commands show as one message."""


class UserError(Exception):
    """A mistake that the user can mend; its text says how."""
