import pytest

from crm.ai_tasks.model import AiTask
from crm.db.unique import may_wait
from crm.sales.leads.model import Lead
from crm.sales.tasks.model import Task


@pytest.mark.parametrize(
    ("model", "names", "is_new", "expected"),
    [
        (Lead, {"first_name"}, True, False),
        (Lead, {"first_name", "email"}, True, True),
        (Lead, {"first_name"}, False, False),
        (Lead, {"email"}, False, True),
        (Lead, {"deleted_at"}, False, True),  # a lead that comes back has its address again
        (AiTask, {"created_by"}, True, False),
        (AiTask, {"created_by", "idempotency_key"}, True, True),
        (Task, {"title", "lead_id"}, True, False),
    ],
)
def test_what_may_have_to_wait(model, names, is_new, expected):
    assert may_wait(model, names, is_new=is_new) is expected
