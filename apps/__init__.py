"""What can be built with minigrad? Complete programs, one folder each."""
