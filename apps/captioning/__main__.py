"""`python -m apps.captioning`: the captioning commands without installing anything."""

from apps.captioning.commands import caption
from apps.cli import check_rooms

if __name__ == "__main__":
    check_rooms()
    caption(prog_name="python -m apps.captioning")
