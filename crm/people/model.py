"""Users."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from crm.core.identity import Role
from crm.core.model import CASE_COLLATION, EnumText, Model, one_of
from crm.core.policy import EVERYBODY


class User(Model):
    """Somebody who can sign in, own leads and be given tasks; or a service user that scripts act as."""

    __tablename__ = "users"
    policy = EVERYBODY
    entity = "user"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=func.gen_random_uuid())
    email: Mapped[str]
    name: Mapped[str]
    role: Mapped[Role] = mapped_column(EnumText(Role), server_default=Role.MEMBER.value)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    disabled_at: Mapped[datetime | None]

    __table_args__ = (
        one_of("role", Role),
        Index(
            "users_email_key",
            text(f"lower(email COLLATE {CASE_COLLATION})"),
            unique=True,
        ),
    )
