"""`python -m groundingdino`, the same as the console script `groundingdino`."""

from groundingdino.command_line.main import run

if __name__ == "__main__":
    run()
