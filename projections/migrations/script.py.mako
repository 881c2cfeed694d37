"""${message}."""

from __future__ import annotations

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply the migration; it gives up rather than queue behind a long query and block all others behind it."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    """Take it back."""
    op.execute("SET LOCAL lock_timeout = '2s'")
    ${downgrades if downgrades else "pass"}
