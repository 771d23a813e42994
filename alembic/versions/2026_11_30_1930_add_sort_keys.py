r"""Add keys by which names sort as people expect.

Words are compared one after the other, whatever their case, accents and punctuation. As in a Swedish directory, `å`,
`ä` (`æ`) and `ö` (`ø`) follow `z`, and `ü` counts as `y`. Keys are compared by their bytes, and `{`, `|` and `}` are
the bytes after `z`. In last names, particles at the beginning do not count.
"""

import sqlalchemy as sa
from alembic import op

revision = "0020_sort_keys"
down_revision = "0019_origin_of_events"
branch_labels = None
depends_on = None

# Text of ASCII alone (of as many bytes as characters) takes the short way. 100 characters are enough to sort by, and
# fit an index whatever their bytes.
SORT_KEY = r"""
CREATE FUNCTION crm_sort_key(name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN left(btrim(regexp_replace(
  CASE WHEN octet_length(name) = length(name) THEN translate(lower(name COLLATE "C"), '{|}''', '   ')
  ELSE replace(replace(regexp_replace(normalize(
      translate(lower(normalize(name) COLLATE crm_text), '{|}åäæöøœüűđðłı''’', '   {||}}}yyddli'),
    NFKD) COLLATE "C", '[\u0300-\u036f]', '', 'g'), 'ß', 'ss'), 'þ', 'th') END
  COLLATE "C", '[^a-z0-9{|}\u00c0-\u1fff\u2c00-\U0010ffff]+', ' ', 'g')), 100) COLLATE "C"
"""  # noqa: RUF001  (the apostrophe that people paste)
LAST_NAME_KEY = """
CREATE FUNCTION crm_last_name_key(name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN regexp_replace(crm_sort_key(name) COLLATE "C",
  '^((af|av|da|das|de|del|dem|den|der|des|di|dos|du|ten|ter|van|vom|von|zu|zum|zur) ((la|las|le|los) )?)+', '')
"""
OF_LEADS = """
CREATE FUNCTION crm_set_lead_sort_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.first_name_key := crm_sort_key(NEW.first_name);
  NEW.last_name_key := crm_last_name_key(NEW.last_name);
  NEW.company_key := crm_sort_key(NEW.company);
  RETURN NEW;
END $$
"""
OF_USERS = """
CREATE FUNCTION crm_set_user_sort_key() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.name_key := crm_sort_key(NEW.name);
  RETURN NEW;
END $$
"""
LEADS = """
CREATE TRIGGER leads_sort_keys BEFORE INSERT OR UPDATE OF first_name, last_name, company ON leads
FOR EACH ROW EXECUTE FUNCTION crm_set_lead_sort_keys()
"""
USERS = """
CREATE TRIGGER users_sort_key BEFORE INSERT OR UPDATE OF name ON users
FOR EACH ROW EXECUTE FUNCTION crm_set_user_sort_key()
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    for function in (SORT_KEY, LAST_NAME_KEY, OF_LEADS, OF_USERS):
        op.execute(sa.text(function.replace(":", r"\:")))
    key = sa.Text(collation="C")
    op.add_column("leads", sa.Column("first_name_key", key, server_default="", nullable=False))
    op.add_column("leads", sa.Column("last_name_key", key, server_default="", nullable=False))
    op.add_column("leads", sa.Column("company_key", key))
    op.add_column("users", sa.Column("name_key", key, server_default="", nullable=False))
    op.execute(LEADS)
    op.execute(USERS)
    op.execute("UPDATE users SET name_key = crm_sort_key(name)")


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("DROP TRIGGER users_sort_key ON users")
    op.execute("DROP TRIGGER leads_sort_keys ON leads")
    op.drop_column("users", "name_key")
    for column in ("company_key", "last_name_key", "first_name_key"):
        op.drop_column("leads", column)
    for function in (
        "crm_set_user_sort_key()",
        "crm_set_lead_sort_keys()",
        "crm_last_name_key(text)",
        "crm_sort_key(text)",
    ):
        op.execute(f"DROP FUNCTION {function}")
