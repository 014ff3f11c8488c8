"""``python -m ops`` is ``dropscribe``."""

from ops.cli.main import main

if __name__ == "__main__":
    main(prog_name="dropscribe")
