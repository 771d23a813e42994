"""The problems of an error: its mistakes, field by field."""


def reasons(extensions):
    """Each problem's field and reason."""
    return [(problem["field"], problem["reason"]) for problem in extensions["problems"]]


def brief(extensions):
    """An error's extensions but for its problems, the first of which is about its field."""
    shown = dict(extensions)
    problems = shown.pop("problems", None)
    if problems is not None:
        assert shown["field"] == problems[0]["field"]
        assert all(problem["message"] and problem["reason"] for problem in problems)
    return shown
