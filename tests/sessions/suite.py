"""What every session store must do. A store's own test class inherits the suite and says how to make one.

    class TestSqliteStore(SessionStoreSuite):
        def make(self, clock: Clock) -> SessionStore: ...

Each test runs in an event loop of its own and closes its store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from sidecar.core.secret import Secret
from sidecar.core.sessioncodec import StoredTicket, decode_session, encode_session
from sidecar.sessions import SessionStore
from tests.core.sessionsetup import NOW, RING, Entropy, make_session

type Script = Callable[[SessionStore, Clock], Awaitable[None]]


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class SessionStoreSuite:
    """One rule a test. `make` returns a new, empty store that reads `clock`."""

    def make(self, clock: Clock) -> SessionStore:
        raise NotImplementedError

    def run(self, script: Script) -> None:
        async def with_store() -> None:
            clock = Clock()
            store = self.make(clock)
            try:
                await script(store, clock)
            finally:
                await store.close()

        asyncio.run(asyncio.wait_for(with_store(), 20))

    def test_what_was_saved_is_loaded_byte_for_byte(self) -> None:
        async def script(store: SessionStore, clock: Clock) -> None:
            sealed = bytes(range(256)) * 40
            await store.save("key", sealed, NOW + 60)
            assert await store.load("key") == sealed

        self.run(script)

    def test_nothing_is_loaded_under_a_key_that_was_never_saved(self) -> None:
        async def script(store: SessionStore, clock: Clock) -> None:
            await store.save("key", b"x", NOW + 60)
            for key in ("", "Key", "key ", "ke", "key\0", "%", "*", "k_y"):
                assert await store.load(key) is None

        self.run(script)

    def test_save_replaces_value_and_end(self) -> None:
        async def script(store: SessionStore, clock: Clock) -> None:
            await store.save("key", b"old", NOW + 60)
            await store.save("key", b"new", NOW + 600)
            assert await store.load("key") == b"new"
            clock.now = NOW + 100
            assert await store.load("key") == b"new"

        self.run(script)

    def test_an_earlier_end_replaces_a_later_one(self) -> None:
        async def script(store: SessionStore, clock: Clock) -> None:
            await store.save("key", b"old", NOW + 600)
            await store.save("key", b"new", NOW + 60)
            clock.now = NOW + 100
            assert await store.load("key") is None
            clock.now = NOW + 700
            assert await store.load("key") is None

        self.run(script)

    def test_nothing_outlives_its_end(self) -> None:
        """S36: the store itself forgets, whatever the cookie says."""

        async def script(store: SessionStore, clock: Clock) -> None:
            await store.save("key", b"x", NOW + 60)
            clock.now = NOW + 59
            assert await store.load("key") == b"x"
            clock.now = NOW + 60
            assert await store.load("key") is None

        self.run(script)

    def test_what_is_saved_with_its_end_behind_it_is_not_there(self) -> None:
        async def script(store: SessionStore, clock: Clock) -> None:
            await store.save("key", b"x", NOW - 1)
            assert await store.load("key") is None

        self.run(script)

    def test_deleted_is_gone_at_once(self) -> None:
        """S36: sign-out deletes what the server keeps."""

        async def script(store: SessionStore, clock: Clock) -> None:
            await store.save("key", b"x", NOW + 60)
            await store.save("other", b"y", NOW + 60)
            await store.delete("key")
            assert await store.load("key") is None
            assert await store.load("other") == b"y"

        self.run(script)

    def test_deleting_what_is_not_there_is_fine(self) -> None:
        async def script(store: SessionStore, clock: Clock) -> None:
            await store.delete("never")
            await store.delete("never")

        self.run(script)

    def test_saved_again_after_deletion(self) -> None:
        async def script(store: SessionStore, clock: Clock) -> None:
            await store.save("key", b"x", NOW + 60)
            await store.delete("key")
            await store.save("key", b"y", NOW + 600)
            clock.now = NOW + 100
            assert await store.load("key") == b"y"

        self.run(script)

    def test_many_at_once_do_not_disturb_each_other(self) -> None:
        async def script(store: SessionStore, clock: Clock) -> None:
            async def visit(index: int) -> None:
                key, value = f"key-{index}", b"%d" % index
                await store.save(key, value, NOW + 60 + index)
                assert await store.load(key) == value
                if index % 2:
                    await store.delete(key)

            await asyncio.gather(*(visit(index) for index in range(200)))
            found = [await store.load(f"key-{index}") for index in range(200)]
            assert found == [None if index % 2 else b"%d" % index for index in range(200)]

        self.run(script)

    def test_saving_one_key_at_once_leaves_one_of_the_values(self) -> None:
        async def script(store: SessionStore, clock: Clock) -> None:
            values = {b"%d" % index * 1000 for index in range(10)}
            await asyncio.gather(*(store.save("key", value, NOW + 60) for value in values))
            assert await store.load("key") in values

        self.run(script)

    def test_large_session_is_kept(self) -> None:
        """What no cookie holds is what a store is for."""

        async def script(store: SessionStore, clock: Clock) -> None:
            sealed = b"x" * 500_000
            await store.save("key", sealed, NOW + 60)
            assert await store.load("key") == sealed

        self.run(script)

    def test_session_is_found_by_its_ticket_and_sealed_for_it_alone(self) -> None:
        """The way of a session: what a reader of the store sees opens under no other ticket's key."""

        async def script(store: SessionStore, clock: Clock) -> None:
            session = make_session()
            ticket = StoredTicket(session_id=session.id, secret=Secret(b"t" * 32), until=session.absolute_end)
            key = ticket.store_key
            binding = {"purpose": "stored-session", "site": "https://app.example.com"}
            sealed = RING.seal(encode_session(session), name=key.encode(), entropy=Entropy(), **binding)
            await store.save(key, sealed, ticket.until)
            loaded = await store.load(key)
            assert loaded is not None
            assert b"ada" not in loaded
            assert decode_session(RING.open(loaded, name=key.encode(), **binding)) == session

        self.run(script)
