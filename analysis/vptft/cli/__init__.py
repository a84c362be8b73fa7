"""The command line: parse, call, write. Heavy libraries are imported inside the commands that use them."""


def main() -> None:
    """Run the command given on the command line."""
    from vptft.cli.app import app

    app(prog_name="vptft-analyze")
