"""Lyrics that are not read: too few words, or a language that the model does not know"""

import sqlalchemy as sa
from alembic import op

from schemas.catalog.migrations.online import add_checked, add_unchecked, at_once, has_constraint

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

WIDE = "check (lyrics in ('used', 'absent', 'instrumental', 'short', 'foreign'))"
NARROW = "check (lyrics in ('used', 'absent', 'instrumental'))"
COMMENT = "comment on column classification.lyrics is '{}'"

UNDER_WAY = "classification_lyrics_new_check"
"""The constraint that is to be: the old one goes only when it holds for every row."""

BATCH = 20_000
"""Classifications that are changed in one transaction."""

# Rows that a writer holds are left for the next round: waiting for them could deadlock.
FORGET = """
with batch as (
    select id from classification where lyrics in ('short', 'foreign') limit :batch for update skip locked
)
update classification c set lyrics = 'absent' from batch where c.id = batch.id
"""


def upgrade() -> None:
    with op.get_context().autocommit_block():
        _drop_under_way()
        add_checked("classification", UNDER_WAY, WIDE)
        _take_its_place()
        op.execute(
            COMMENT.format(
                "used; or why not: absent (none delivered), instrumental, short (too few words), "
                "foreign (a language that the model does not know)."
            )
        )


def downgrade() -> None:
    """Workers of this release fail on such lyrics from here on: they would be written behind the change."""
    with op.get_context().autocommit_block():
        _drop_under_way()
        add_unchecked("classification", UNDER_WAY, NARROW)
        while op.get_bind().scalar(
            sa.text("select exists (select from classification where lyrics in ('short', 'foreign'))")
        ):
            op.get_bind().execute(sa.text(FORGET), {"batch": BATCH})
        add_checked("classification", UNDER_WAY, NARROW)
        _take_its_place()
        op.execute(COMMENT.format("used, absent (none delivered) or instrumental."))


def _drop_under_way() -> None:
    """What an interrupted run left may be the other way's."""
    if has_constraint("classification", UNDER_WAY):
        at_once(f"alter table classification drop constraint {UNDER_WAY}")


def _take_its_place() -> None:
    at_once(
        "alter table classification drop constraint classification_lyrics_check; "
        f"alter table classification rename constraint {UNDER_WAY} to classification_lyrics_check"
    )
