"""`python -m apps.cola`: the judge's commands without installing anything."""

from apps.cli import check_rooms
from apps.cola.commands import cola

if __name__ == "__main__":
    check_rooms()
    cola(prog_name="python -m apps.cola")
