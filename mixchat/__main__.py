"""`python -m mixchat`, and the `mixchat` command."""

from mixchat.cli.main import main

if __name__ == "__main__":
    main()
