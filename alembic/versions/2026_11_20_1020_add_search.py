r"""Add search: normalised phone numbers, full-text documents, and their indexes.

The functions have SQL-standard bodies: names in them are bound at creation, so that an index built or restored under
another search_path is the same, and calls with a column are inlined.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003_search"
down_revision = "0002_leads"
branch_labels = None
depends_on = None

# The characters that separate words: ASCII's punctuation, and some of Unicode's from pasted text. PostgreSQL's parser
# alone would keep `anna@acme.example`, `and/or` and `-67` whole. (One bracket expression: translate() takes five times
# as long.)
PUNCTUATION = r"[]!-/:-@[\\^_`{-~\u00a0\u00b7\u2013\u2014\u2018\u2019\u201c\u201d\u2026]"
COMPOSED = "CASE WHEN value IS NFC NORMALIZED THEN value ELSE normalize(value) END"

WORDS = f"""
CREATE FUNCTION crm_words(value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lower(regexp_replace({COMPOSED}, '{PUNCTUATION}', ' ', 'g') COLLATE crm_text)
"""

GLUED = f"""
CREATE FUNCTION crm_glued(value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN lower(regexp_replace({COMPOSED}, '{PUNCTUATION}', '', 'g') COLLATE crm_text)
"""

# The national number: without separators, leading 0 and country code (E.164: 1 and 7, the two-digit ones, else three
# digits), so that +46 70-123 45 67, 0046701234567, +46 (0)70 1234567 and 070-1234567 are equal. Later text is dropped.
PHONE = r"""
CREATE FUNCTION crm_phone(value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN nullif(regexp_replace(regexp_replace(
  regexp_replace(substring(value from '[+0-9][^[:alpha:]]*'), '[^+0-9]', '', 'g'),
  '^(\+|00)(1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]
    |(2[1-689]|3[578]|42|5[09]|6[7-9]|8[035789]|9[679])[0-9])', '', 'x'),
  '^0+|[^0-9]', '', 'g'), '')
"""

# An address is found by its words without the top-level domain (or `co` would find every .com), and as a whole; so is
# its domain.
LEAD_DOCUMENT = r"""
CREATE FUNCTION crm_lead_document(
  first_name text, last_name text, company text, email text, phone text, job_title text
) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN setweight(to_tsvector('pg_catalog.simple', crm_words(first_name || ' ' || last_name)), 'A')
  || setweight(to_tsvector('pg_catalog.simple', crm_words(coalesce(company, ''))), 'B')
  || setweight(to_tsvector('pg_catalog.simple',
       crm_words(coalesce(regexp_replace(email, '\.[^.@]*$', ''), ''))
       || ' ' || crm_glued(coalesce(email, '')) || ' ' || crm_glued(coalesce(split_part(email, '@', 2), ''))
       || ' ' || crm_glued(coalesce(replace(phone, ' ', ''), '')) || ' ' || coalesce(crm_phone(phone), '')), 'C')
  || setweight(to_tsvector('pg_catalog.simple', crm_words(coalesce(job_title, ''))), 'D')
"""

TEXT_DOCUMENT = """
CREATE FUNCTION crm_text_document(title text, body text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN setweight(to_tsvector('pg_catalog.simple', crm_words(coalesce(title, ''))), 'B')
  || setweight(to_tsvector('pg_catalog.simple', crm_words(coalesce(body, ''))), 'D')
"""

# Every word must match: whole, or (`suffix` ':*') by its beginning. An address, a domain or a phone number may also
# match as a whole. Quotes make each word a plain operand, so that no character in it is an operator.
QUERY = r"""
CREATE FUNCTION crm_query(value text, suffix text) RETURNS tsquery LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN to_tsquery('pg_catalog.simple',
    coalesce('''' || regexp_replace(nullif(btrim(crm_words(value)), ''), '\s+', '''' || suffix || ' & ''', 'g')
      || '''' || suffix, ''))
  || to_tsquery('pg_catalog.simple',
    coalesce('''' || nullif(CASE WHEN btrim(value) ~ '^\S+[.@]\S+$' THEN crm_glued(btrim(value)) END, '')
      || '''' || suffix, ''))
  || to_tsquery('pg_catalog.simple',
    coalesce('''' || CASE WHEN value ~ '^[-+0-9()/.\s]+$' THEN crm_phone(value) END || '''' || suffix, ''))
"""

# pg_trgm tolerates typos: the whole text must be similar, and each of its words. Where the extension is missing, or not
# allowed, the function finds nothing.
SIMILAR = """
DO $do$
BEGIN
  BEGIN
    IF EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') THEN
      CREATE EXTENSION IF NOT EXISTS pg_trgm;
    END IF;
  EXCEPTION WHEN insufficient_privilege OR feature_not_supported OR undefined_file THEN
    RAISE NOTICE 'search does without pg_trgm: %', SQLERRM;
  END;
  IF EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm') THEN
    CREATE INDEX leads_similar_idx ON leads USING gin (crm_lead_name(first_name, last_name, company) gin_trgm_ops)
      WHERE deleted_at IS NULL;
    CREATE FUNCTION crm_similar_leads(value text) RETURNS SETOF integer LANGUAGE sql STABLE PARALLEL SAFE ROWS 50
    SET pg_trgm.word_similarity_threshold = 0.4
    BEGIN ATOMIC
      SELECT id FROM leads
      WHERE deleted_at IS NULL AND crm_words(value) <% crm_lead_name(first_name, last_name, company)
        AND NOT EXISTS (
          SELECT FROM string_to_table(btrim(crm_words(value)), ' ') AS word
          WHERE NOT word <% crm_lead_name(first_name, last_name, company)
        )
      ORDER BY crm_words(value) <<-> crm_lead_name(first_name, last_name, company), id DESC LIMIT 50;
    END;
  ELSE
    CREATE FUNCTION crm_similar_leads(value text) RETURNS SETOF integer LANGUAGE sql STABLE PARALLEL SAFE ROWS 1
    BEGIN ATOMIC
      SELECT NULL::integer WHERE false;
    END;
  END IF;
END $do$
"""

LEAD_NAME = """
CREATE FUNCTION crm_lead_name(first_name text, last_name text, company text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN crm_words(first_name || ' ' || last_name || ' ' || coalesce(company, ''))
"""

FUNCTIONS = {
    "crm_words(text)": WORDS,
    "crm_glued(text)": GLUED,
    "crm_phone(text)": PHONE,
    "crm_lead_document(text, text, text, text, text, text)": LEAD_DOCUMENT,
    "crm_lead_name(text, text, text)": LEAD_NAME,
    "crm_text_document(text, text)": TEXT_DOCUMENT,
    "crm_query(text, text)": QUERY,
}


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    for function in FUNCTIONS.values():
        op.execute(sa.text(function.replace(":", r"\:")))
    op.create_index(
        "leads_phone_idx",
        "leads",
        [sa.literal_column("crm_phone(phone)"), "id"],
        postgresql_where=sa.text("phone IS NOT NULL"),
    )
    op.create_index(
        "leads_search_idx",
        "leads",
        [sa.literal_column("crm_lead_document(first_name, last_name, company, email, phone, job_title)")],
        postgresql_using="gin",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "tasks_search_idx",
        "tasks",
        [sa.literal_column("crm_text_document(title, description)")],
        postgresql_using="gin",
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "interactions_search_idx",
        "interactions",
        [sa.literal_column("crm_text_document(subject, notes)")],
        postgresql_using="gin",
    )
    op.execute(sa.text(SIMILAR.replace(":", r"\:")))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '1s'")
    op.execute("DROP FUNCTION crm_similar_leads(text)")
    op.execute("DROP INDEX IF EXISTS leads_similar_idx")
    op.drop_index("interactions_search_idx", "interactions")
    op.drop_index("tasks_search_idx", "tasks")
    op.drop_index("leads_search_idx", "leads")
    op.drop_index("leads_phone_idx", "leads")
    for name in reversed(FUNCTIONS):
        op.execute(f"DROP FUNCTION {name}")
