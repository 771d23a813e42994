"""Questions to a model or to the playbook: bounded, recorded, and never the reason why the CRM fails."""
