"""The problems of an error: its mistakes, field by field."""

# Of a conflict: who made the last change, and when.
LAST_CHANGE = ("changedAt", "changedById", "changedByName")


def reasons(extensions):
    """Each problem's field and reason."""
    return [(problem["field"], problem["reason"]) for problem in extensions["problems"]]


def brief(extensions):
    """An error's extensions but for its problems, the first of which is about its field, and for who changed what."""
    shown = dict(extensions)
    problems = shown.pop("problems", None)
    if problems is not None:
        assert shown["field"] == problems[0]["field"]
        assert all(problem["message"] and problem["reason"] for problem in problems)
    return {name: value for name, value in shown.items() if name not in LAST_CHANGE}
