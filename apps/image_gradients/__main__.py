"""`python -m apps.image_gradients`: its commands without installing anything."""

from apps.cli import main
from apps.image_gradients.commands import look

if __name__ == "__main__":
    main(look, prog_name="python -m apps.image_gradients")
