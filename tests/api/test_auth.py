"""Tokens and the decision point."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from api.auth import Authenticator, Unavailable, require
from api.problems import Problem
from api.tokens import Token, digest, generate, token_id_of
from policy.decision import ROLES, Action, Principal, Resource, Role, decide

READS = {action for action in Action if action.endswith((":read", ":subscribe"))} - {
    Action.READ_TOKENS,
    Action.READ_INTEGRATIONS,
}
ACTS = {Action.DECLARE, Action.ACT, Action.SEND_SIGNALS, Action.SIMULATE}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("action", Action)
def test_each_role_may_do_what_it_says_and_nothing_else(role: Role, action: Action) -> None:
    may = {"viewer": READS, "responder": READS | ACTS, "admin": set(Action)}[role]
    decision = decide(Principal("acme", role, "t1"), action, Resource("acme"))
    assert decision.allowed == (action in may)
    assert decision.reason


@pytest.mark.parametrize("action", Action)
def test_nobody_reaches_another_tenant(action: Action) -> None:
    assert not decide(Principal("acme", "admin", "t1"), action, Resource("rival")).allowed


def test_a_no_of_the_decision_point_is_403_with_its_reason() -> None:
    with pytest.raises(Problem) as refused:
        require(decide, Principal("acme", "viewer", "t1"), Action.ACT)
    assert refused.value.status == 403
    assert "responder" in refused.value.detail


def test_a_generated_token_has_its_shape_and_no_two_are_equal() -> None:
    made = [generate() for _ in range(100)]
    assert all(token_id_of(text) == token_id for token_id, text in made)
    assert len({text for _, text in made}) == 100
    assert all(token_id not in digest(text).hex() for token_id, text in made)


@pytest.mark.parametrize("text", ["", "inc_", "inc_abc_def", "inc_" + "a" * 12 + "_" + "b" * 42, "Bearer x", "inc_é_1"])
def test_what_has_not_the_shape_of_a_token_is_not_looked_up(text: str) -> None:
    assert token_id_of(text) is None


class Directory:
    """Tokens by digest; counts look-ups; can be down."""

    def __init__(self) -> None:
        self.tokens: dict[bytes, Token] = {}
        self.asked = 0
        self.down = False

    def add(self, expires_at: datetime | None = None, revoked_at: datetime | None = None) -> str:
        token_id, text = generate()
        now = datetime.now(UTC)
        self.tokens[digest(text)] = Token(token_id, "acme", "bot", "viewer", now, expires_at, revoked_at)
        return text

    async def look_up(self, text_digest: bytes) -> Token | None:
        self.asked += 1
        if self.down:
            raise Unavailable
        return self.tokens.get(text_digest)


def authenticator(directory: Directory, size: int = 10) -> Authenticator:
    return Authenticator(directory.look_up, size=size, max_age_s=60)


async def refused(authority: Authenticator, text: str) -> int:
    with pytest.raises(Problem) as problem:
        await authority.authenticate(f"Bearer {text}")
    return problem.value.status


async def test_a_token_is_looked_up_once_and_again_after_a_change() -> None:
    directory = Directory()
    text, authority = directory.add(), authenticator(directory)
    for _ in range(3):
        assert (await authority.authenticate(f"Bearer {text}")).tenant_id == "acme"
    assert directory.asked == 1
    directory.tokens.clear()
    authority.refresh()
    assert await refused(authority, text) == 401


async def test_expiry_is_checked_at_every_use() -> None:
    directory = Directory()
    text, authority = directory.add(expires_at=datetime.now(UTC) + timedelta(milliseconds=50)), authenticator(directory)
    await authority.authenticate(f"bearer {text}")
    while datetime.now(UTC) <= next(iter(directory.tokens.values())).expires_at:  # type: ignore[operator]  # set above
        pass
    assert await refused(authority, text) == 401
    assert directory.asked == 1


async def test_a_revoked_or_expired_or_unknown_token_is_401() -> None:
    directory = Directory()
    past = datetime.now(UTC) - timedelta(seconds=1)
    authority = authenticator(directory)
    assert await refused(authority, directory.add(revoked_at=past)) == 401
    assert await refused(authority, directory.add(expires_at=past)) == 401
    assert await refused(authority, generate()[1]) == 401
    with pytest.raises(Problem):
        await authority.authenticate(None)


async def test_a_known_id_with_another_secret_is_401_without_a_look_up() -> None:
    directory = Directory()
    text, authority = directory.add(), authenticator(directory)
    await authority.authenticate(f"Bearer {text}")
    forged = text[:-1] + ("a" if text[-1] != "a" else "b")
    assert await refused(authority, forged) == 401
    assert directory.asked == 1


async def test_tokens_seen_before_go_on_while_the_database_is_down() -> None:
    directory = Directory()
    known, fresh, authority = directory.add(), directory.add(), authenticator(directory)
    await authority.authenticate(f"Bearer {known}")
    directory.down = True
    authority.refresh()
    assert (await authority.authenticate(f"Bearer {known}")).role == "viewer"
    assert await refused(authority, fresh) == 503
    directory.down = False
    directory.tokens.clear()
    assert await refused(authority, known) == 401


async def test_the_memory_is_bounded() -> None:
    directory = Directory()
    authority, texts = authenticator(directory, size=2), [directory.add() for _ in range(3)]
    for text in texts:
        await authority.authenticate(f"Bearer {text}")
    await authority.authenticate(f"Bearer {texts[2]}")
    assert directory.asked == 3
    await authority.authenticate(f"Bearer {texts[0]}")
    assert directory.asked == 4
