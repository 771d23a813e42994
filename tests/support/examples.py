"""How much of what is made at random a test makes: little in the suite, more where somebody asks for it."""

import os

_TIMES = int(os.environ.get("CRM_TEST_EXAMPLES_TIMES", "1"))


def examples(usual: int) -> int:
    """So many, or a multiple: `CRM_TEST_EXAMPLES_TIMES=10 make test T=tests/graph`."""
    return usual * _TIMES
