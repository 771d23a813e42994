class TestRestoreLead:
    async def test_brings_a_deleted_lead_back(self, graphql, make_lead, events):
        lead = make_lead(deleted=True)
        data = await graphql("mutation($id: Int!) { restoreLead(id: $id) { deletedAt version } }", id=lead["id"])
        assert data == {"restoreLead": {"deletedAt": None, "version": 2}}
        assert [event["type"] for event in events(entity_id=str(lead["id"]))] == ["lead.restored"]
