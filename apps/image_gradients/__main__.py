"""`python -m apps.image_gradients`: its commands without installing anything."""

from apps.cli import check_rooms
from apps.image_gradients.commands import look

if __name__ == "__main__":
    check_rooms()
    look(prog_name="python -m apps.image_gradients")
