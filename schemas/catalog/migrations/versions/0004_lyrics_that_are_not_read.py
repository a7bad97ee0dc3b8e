"""Lyrics that are not read: too few words, or a language that the model does not know"""

from alembic import op

from schemas.catalog.migrations.online import add_checked, at_once

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

WIDE = "check (lyrics in ('used', 'absent', 'instrumental', 'short', 'foreign'))"
NARROW = "check (lyrics in ('used', 'absent', 'instrumental'))"
COMMENT = "comment on column classification.lyrics is '{}'"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        _replace_check(WIDE)
        op.execute(
            COMMENT.format(
                "used; or why not: absent (none delivered), instrumental, short (too few words), "
                "foreign (a language that the model does not know)."
            )
        )


def downgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("update classification set lyrics = 'absent' where lyrics in ('short', 'foreign')")
        _replace_check(NARROW)
        op.execute(COMMENT.format("used, absent (none delivered) or instrumental."))


def _replace_check(definition: str) -> None:
    """The old constraint goes only when the new one holds for every row."""
    op.execute("alter table classification drop constraint if exists classification_lyrics_new_check")
    add_checked("classification", "classification_lyrics_new_check", definition)
    at_once(
        "alter table classification drop constraint classification_lyrics_check; "
        "alter table classification "
        "rename constraint classification_lyrics_new_check to classification_lyrics_check"
    )
