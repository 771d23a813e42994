from datetime import UTC, datetime, timedelta

import pytest

GENERATE = """mutation($lead: Int!) { generateTaskRecommendations(leadId: $lead) {
  id title description aiReasoning priority dueDate source generatedBy model rule promptVersion generationId edited
  leadId completed lead { fullName suggestedTaskCount }
} }"""


def days_ago(days):
    return datetime.now(UTC) - timedelta(days=days)


class TestWithThePlaybook:
    async def test_suggests_up_to_three_tasks_with_reasons_and_provenance(
        self, graphql, make_lead, make_interaction, db, events
    ):
        lead = make_lead(
            first_name="Åsa",
            last_name="Öberg",
            company="Kvarnby El AB",
            status="proposal",
            budget="480000",
            currency="SEK",
            phone="+46 70 1",
        )["id"]
        make_interaction(lead_id=lead, type="email", occurred_at=days_ago(9))
        tasks = (await graphql(GENERATE, lead=lead))["generateTaskRecommendations"]
        assert 1 <= len(tasks) <= 3
        first = tasks[0]
        assert (first["source"], first["generatedBy"], first["model"]) == ("AI_SUGGESTED", "PLAYBOOK", "playbook")
        assert first["rule"] == "proposal-silent"
        assert first["promptVersion"].startswith("playbook-")
        assert first["title"] == "Följ upp offerten med Åsa på Kvarnby El AB"
        assert first["description"].startswith("Fråga per telefon vad som är oklart")
        assert "9 dagar" in first["aiReasoning"]
        assert "480 000 SEK" in first["aiReasoning"]
        assert first["lead"] == {"fullName": "Åsa Öberg", "suggestedTaskCount": len(tasks)}
        assert len({task["generationId"] for task in tasks}) == 1
        for task in tasks:
            due = datetime.fromisoformat(task["dueDate"])
            assert due > datetime.now(UTC)
            assert due.isoweekday() <= 5
        assert [event["type"] for event in events()] == ["task.created"] * len(tasks)
        assert {row["outcome"] for row in db.execute("SELECT outcome FROM generations").fetchall()} == {"saved"}

    async def test_never_suggests_what_is_open_already(self, graphql, make_lead):
        lead = make_lead(company="Hill Ltd", phone="1", budget="900000", currency="GBP")["id"]
        titles = []
        for _ in range(6):
            found = (await graphql(GENERATE, lead=lead))["generateTaskRecommendations"]
            titles += [task["title"] for task in found]
        assert len(titles) == len(set(titles))
        assert (await graphql(GENERATE, lead=lead))["generateTaskRecommendations"] == []

    @pytest.mark.parametrize("days", [1, 29, 31])
    async def test_suggests_what_was_dismissed_only_after_30_days(self, graphql, make_lead, make_task, days):
        lead = make_lead(company="Hill Ltd", phone="1")["id"]
        (title, *_) = [t["title"] for t in (await graphql(GENERATE, lead=lead))["generateTaskRecommendations"]]
        other = make_lead(first_name="X", company="Hill Ltd", phone="1")["id"]
        del title
        make_task(
            lead_id=other,
            title="Call X at Hill Ltd for a first conversation!",
            source="dismissed",
            generated_by="playbook",
            decided_at=days_ago(days),
        )
        found = [t["title"] for t in (await graphql(GENERATE, lead=other))["generateTaskRecommendations"]]
        assert ("Call X at Hill Ltd for a first conversation" in found) == (days > 30)

    async def test_says_which_lead_is_missing(self, refused, make_lead):
        for key in (make_lead(deleted=True)["id"], 999_999):
            assert await refused(GENERATE, lead=key) == {"code": "NOT_FOUND", "entity": "lead", "id": str(key)}

    async def test_needs_a_member(self, graphql, make_lead):
        answer = await graphql(GENERATE, role="viewer", expect_errors=True, lead=make_lead()["id"])
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
