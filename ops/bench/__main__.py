"""``python -m ops.bench``: one command per costly part."""

from __future__ import annotations

import click

from ops.bench.policy import policy


@click.group()
def main() -> None:
    """Measure how fast the costly parts are on this machine.

    \b
      python -m ops.bench policy
    """  # noqa: D301


main.add_command(policy)

if __name__ == "__main__":
    main()
