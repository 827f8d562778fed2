"""`python -m apps.cola`: the judge's commands without installing anything."""

from apps.cli import main
from apps.cola.commands import cola

if __name__ == "__main__":
    main(cola, prog_name="python -m apps.cola")
