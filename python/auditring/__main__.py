"""`python -m auditring`: the command line, also where its script is not on the path."""

from auditring.cli import main

if __name__ == "__main__":
    main()
