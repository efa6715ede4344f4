"""`python -m samclip_sdk` is `samclip`, where the command is not on the path."""

from samclip_sdk.cli.app import app

if __name__ == "__main__":
    app(prog_name="samclip")
