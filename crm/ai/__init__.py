"""Questions to a model or to the playbook: bounded and recorded; their failures never fail the CRM."""
