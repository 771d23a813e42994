"""A program for test_children.py."""
# ruff: noqa: T201

import atexit
import os
import sys
import time

if __name__ == "__main__":
    match sys.argv[1:]:
        case ["say", word]:
            atexit.register(print, "at exit")
            print(__name__, word, os.environ.get("TALKING"))
            print("process", os.getpid())
        case ["variable", name]:
            print(os.environ.get(name))
        case ["modules"]:
            print("crm.app" in sys.modules)
        case ["wait"]:
            time.sleep(60)
        case ["exit"]:
            sys.exit(3)
        case ["refuse"]:
            sys.exit("not so")
        case ["raise"]:
            1 / 0  # noqa: B018
