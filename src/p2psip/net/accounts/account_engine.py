"""The database under the accounts: SQLite in a file or PostgreSQL, its transactions, its revision.

What is written is as if one transaction came after the other: SQLite lets one writer in at a time (BEGIN IMMEDIATE);
PostgreSQL finds out which of two that ran side by side saw too little (SERIALIZABLE), and that one is run again.
`synchronous=FULL`: what was recorded survives the power cut that follows.
"""

from __future__ import annotations

import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from sqlalchemy import (
    Connection,
    CursorResult,
    Engine,
    Executable,
    QueuePool,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.accounts import StoreFailed
from p2psip.net.accounts.account_tables import HEAD, METADATA, VERSION

T = TypeVar("T")

APPLICATION_ID: Final = 0x50325041
"""Marks a file as ours ("P2PA")."""

MIGRATED: Final = 3
"""user_version of a file whose revision Alembic knows; before, it was the revision."""

BUSY_TIMEOUT_S: Final = 5.0
CONNECT_TIMEOUT_S: Final = 5
STATEMENT_TIMEOUT_S: Final = 10
"""A database that does not answer is given up well before the server gives up its request."""

CONNECTIONS_MAX: Final = 8
AGAIN_MAX: Final = 20
"""How often a transaction is run that another one got in the way of."""

PAUSE_S: Final = 0.01
_IN_THE_WAY: Final = ("40001", "40P01")
"""PostgreSQL's codes: serialization_failure, deadlock_detected."""

_READ_ONLY: Final = "25006"
"""read_only_sql_transaction: who was the primary is a replica now."""

_MIGRATION_LOCK: Final = 0x50325041
"""Of several instances that start, one migrates."""


class AccountEngine:
    """Runs statements; each by itself, or several in one transaction of the thread that opens it."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is_postgresql = engine.dialect.name == "postgresql"
        isolation = {"isolation_level": "REPEATABLE READ"} if self.is_postgresql else {}
        self._reading = engine.execution_options(**isolation)
        isolation = {"isolation_level": "SERIALIZABLE"} if self.is_postgresql else {}
        self._writing = engine.execution_options(writes=True, **isolation)
        isolation = {"isolation_level": "READ COMMITTED"} if self.is_postgresql else {}
        self._counting = engine.execution_options(writes=True, **isolation)
        self._here = threading.local()

    @classmethod
    def create(cls, path: Path) -> AccountEngine:
        """A new file, readable by its owner only; LocalMisuse if there is one."""
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise LocalMisuse(f"cannot make {path}: {error.strerror}") from None
        made = cls(_sqlite(path))
        made.make_tables()
        return made

    @classmethod
    def open(cls, path: Path) -> AccountEngine:
        """An existing file, as this release has it; LocalMisuse if it is none."""
        if not path.is_file():
            raise LocalMisuse(f"{path} is not there: `p2psip overlay create` makes it")
        found = cls(_sqlite(path))
        try:
            marks = [int(found.rows(text(f"PRAGMA {name}"))[0][0]) for name in ("application_id", "user_version")]
            if marks[0] != APPLICATION_ID or marks[1] not in range(1, MIGRATED + 1):
                raise LocalMisuse(f"{path} is not an account database of this release")
            found._bring_up(str(path))
        except StoreFailed as error:
            found.close()
            raise LocalMisuse(f"{path} cannot be read: {error}") from None
        except BaseException:
            found.close()
            raise
        return found

    @classmethod
    def connect(cls, conninfo: str, *, is_new: bool = False) -> AccountEngine:
        """A PostgreSQL database (libpq's URL or key=value), as this release has it; an empty one for `is_new`.

        Raises LocalMisuse if it is none.
        """
        found = cls(_postgresql(conninfo))
        try:
            # What is read after the lock was waited for is as it is then.
            with found._open(found._counting) as connection, _told():
                connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
                tables = set(inspect(connection).get_table_names())
                if is_new and tables & {*METADATA.tables, VERSION.name}:
                    raise LocalMisuse("the database has tables of an enrollment server already: take an empty one")
                if not is_new and VERSION.name not in tables:
                    raise LocalMisuse("the database has no accounts: `p2psip enrollment move` puts them there")
                if is_new:
                    _make_tables(connection)
                else:
                    _migrate(connection, "the database")
        except StoreFailed as error:
            found.close()
            raise LocalMisuse(f"the database cannot be used: {error}") from None
        except BaseException:
            found.close()
            raise
        return found

    def close(self) -> None:
        """No more calls."""
        self._engine.dispose()

    @contextmanager
    def moment(self) -> Iterator[None]:
        """What is read inside it is of one moment."""
        with self._open(self._reading):
            yield

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All or nothing; what is read inside it is as if no other writer were there. May raise StoreFailed."""
        with self._open(self._writing) as connection:
            yield connection

    def atomically(self, work: Callable[[], T]) -> T:
        """Run `work` in a transaction, again if another one got in its way. Raises StoreFailed, IntegrityError."""
        return self._again(self._writing, work)

    def counting(self, work: Callable[[], T]) -> T:
        """The same where each statement holds by itself: writers of the same rows wait for each other."""
        return self._again(self._counting, work)

    def rows(self, statement: Executable) -> Sequence[Any]:
        """What a query finds."""
        with self._open(self._reading) as connection, _told():
            return connection.execute(statement).all()

    def one(self, statement: Executable) -> Any:
        """The first that a query finds, or None."""
        with self._open(self._reading) as connection, _told():
            return connection.execute(statement).first()

    def write(self, statement: Executable) -> CursorResult[Any]:
        """Run a statement inside a transaction."""
        connection: Connection = self._here.connection
        with _told():
            return connection.execute(statement)

    def make_tables(self) -> None:
        """In an empty database."""
        with self.transaction() as connection, _told():
            _make_tables(connection)

    def copy_to(self, other: AccountEngine) -> None:
        """All that is here into empty tables there."""
        with self.moment(), other.transaction() as connection, _told():
            for table in METADATA.sorted_tables:
                found = [row._asdict() for row in self.rows(select(table))]
                if found:
                    connection.execute(insert(table), found)
                if other.is_postgresql and "id" in table.c:
                    free = f"(SELECT coalesce(max(id), 0) + 1 FROM {table.name})"
                    connection.execute(text(f"SELECT setval('{table.name}_id_seq', {free}, false)"))

    def _again(self, engine: Engine, work: Callable[[], T]) -> T:
        for count in range(1, AGAIN_MAX + 1):
            try:
                with self._open(engine):
                    return work()
            except _Again:
                if count == AGAIN_MAX:
                    raise
                time.sleep(random.uniform(0.0, PAUSE_S * count))
        raise AssertionError("it has returned or raised")

    @contextmanager
    def _open(self, engine: Engine) -> Iterator[Connection]:
        """The transaction of this thread; a new one, if there is none."""
        held: Connection | None = getattr(self._here, "connection", None)
        if held is not None:
            yield held
            return
        try:
            with _told(), engine.connect() as connection, connection.begin():
                self._here.connection = connection
                try:
                    yield connection
                finally:
                    self._here.connection = None
        except _ReadOnly:
            # What is connected stays with it; a new connection finds the new primary.
            self._engine.dispose()
            raise

    def _bring_up(self, name: str) -> None:
        """A file of an older release becomes one of this."""
        if self._revision() == HEAD:
            return
        with self.transaction() as connection, _told():
            (version,) = connection.exec_driver_sql("PRAGMA user_version").one()
            if version < MIGRATED:
                VERSION.create(connection)
                connection.execute(insert(VERSION).values(version_num=str(version)))
                connection.exec_driver_sql(f"PRAGMA user_version = {MIGRATED}")
            _migrate(connection, name)

    def _revision(self) -> str:
        """ "" if Alembic knows nothing of it."""
        with self._open(self._reading) as connection, _told():
            if not inspect(connection).has_table(VERSION.name):
                return ""
            return str(connection.execute(select(VERSION.c.version_num)).scalar_one())


class _Again(StoreFailed):
    """Another transaction got in the way."""


class _ReadOnly(StoreFailed):
    """This one takes nothing down any more."""


@contextmanager
def _told() -> Iterator[None]:
    """What the database says becomes StoreFailed, in one line; but for IntegrityError, which is an answer."""
    try:
        yield
    except IntegrityError:
        raise
    except SQLAlchemyError as error:
        cause = error.orig if isinstance(error, DBAPIError) else error
        code = getattr(cause, "sqlstate", None)
        kind = _Again if code in _IN_THE_WAY else _ReadOnly if code == _READ_ONLY else StoreFailed
        said = " ".join(str(cause).split()) or type(cause).__name__
        raise kind(f"the account database fails: {said}") from None


def _make_tables(connection: Connection) -> None:
    METADATA.create_all(connection)
    VERSION.create(connection)
    connection.execute(insert(VERSION).values(version_num=HEAD))
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.exec_driver_sql(f"PRAGMA user_version = {MIGRATED}")


def _migrate(connection: Connection, name: str) -> None:
    """To this release's revision. Raises LocalMisuse if it is a newer one's."""
    there = str(connection.execute(select(VERSION.c.version_num)).scalar_one())
    if there == HEAD:
        return
    if not there.isdigit() or int(there) > int(HEAD):
        raise LocalMisuse(f"{name} is of a newer release (revision {there}, here {HEAD})")
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _sqlite(path: Path) -> Engine:
    def connect() -> sqlite3.Connection:
        # Statements of this module say when a transaction begins.
        connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        return connection

    engine = create_engine("sqlite://", creator=connect, poolclass=QueuePool, pool_size=CONNECTIONS_MAX, max_overflow=0)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgresql(conninfo: str) -> Engine:
    try:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict
    except ImportError:
        raise LocalMisuse("for PostgreSQL install p2psip[postgresql]: pip install 'p2psip[postgresql]'") from None
    try:
        conninfo_to_dict(conninfo)
    except psycopg.Error as error:
        raise LocalMisuse(f"no address of a database: {' '.join(str(error).split())}") from None

    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(
            conninfo,
            connect_timeout=CONNECT_TIMEOUT_S,
            tcp_user_timeout=STATEMENT_TIMEOUT_S * 1000,
            options=f"-c statement_timeout={STATEMENT_TIMEOUT_S}s -c idle_in_transaction_session_timeout=30s",
            application_name="p2psip",
        )

    # What was idle when the database was started anew is found out before it is used.
    return create_engine(
        "postgresql+psycopg://",
        creator=connect,
        pool_pre_ping=True,
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=CONNECT_TIMEOUT_S,
        use_native_hstore=False,
    )
