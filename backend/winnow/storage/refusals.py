"""What the database or its driver refuses, in our own words: come again, or mend the set-up; never a row's text."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from asyncpg.exceptions import ClientConfigurationError, InternalClientError, TargetServerAttributeNotMatched
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolExhausted

from winnow.errors import DatabaseBusy, DatabaseUnavailable, SetupFault, WinnowError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ExceptionContext
    from sqlalchemy.ext.asyncio import AsyncEngine

# What we make of it, by how PostgreSQL's code begins or what the driver raised; the first that fits.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
Words = tuple[type[WinnowError], tuple[str, ...], tuple[type[Exception], ...], str]
WORDS: tuple[Words, ...] = (
    # a deadlock, a failed serialization, a lock that did not come in time
    (DatabaseBusy, ("40P01", "40001", "55P03"), (),
     "another transaction is in the way ({reason}); try again in a moment, or see in pg_stat_activity whose it is"),
    # it does not know us, or the database
    (SetupFault, ("28", "3D"), (ClientConfigurationError,),
     "the database does not let Winnow in ({reason}); check DATABASE_URL"),
    (DatabaseUnavailable, ("53100",), (),
     "the database has no room left on its disk ({reason}); make room there, and what could not be done is done again"),
    # it starts or stops, or has no connection or memory left
    (DatabaseUnavailable, ("57P", "53"), (),
     "the database cannot serve just now ({reason}); try again in a moment, or see in the server's log what it lacks"),
    # (asyncpg's own error is of a connection that ended between two of its steps)
    (DatabaseUnavailable, ("08",), (OSError, TargetServerAttributeNotMatched, InternalClientError),
     "the database does not answer ({reason}); is it up, and is DATABASE_URL right?"),
)  # fmt: skip
GONE = "08000"
NOT_NOW = "55000"
# A value that cannot be read: the one class whose messages repeat the value itself.
BAD_VALUE = "22"
# What stands in a row: a value, a constraint, or a size beyond PostgreSQL's measure.
OF_THE_ROW = (BAD_VALUE, "23", "54")
_VALUE = re.compile(r':.*|"[^"]*"', re.DOTALL)


@contextmanager
def translated() -> Iterator[None]:
    """Turns the driver's errors into our own wherever `in_our_words` has a word for them; all others pass."""
    try:
        yield
    except Exception as error:
        if ours := in_our_words(error):
            raise ours from error
        raise


def in_our_words(error: Exception) -> WinnowError | None:
    """DatabaseUnavailable, DatabaseBusy or SetupFault; None for what is a bug, or our own already."""
    if isinstance(error, WinnowError):
        return None
    if isinstance(error, PoolExhausted):
        return DatabaseBusy("this process has all its database connections in use; try again in a moment")
    driver, code = _driver_error(error), sqlstate(error)
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        code = GONE
    if code == NOT_NOW and "accepting connections" in str(driver):  # it says many other things by this code
        code = GONE
    for ours, codes, drivers, sentence in WORDS:
        if code.startswith(codes) or isinstance(driver, drivers):
            return ours(sentence.format(reason=reason_of(error)))
    return None


def sqlstate(error: BaseException) -> str:
    """PostgreSQL's code of an error, empty when it has none."""
    return getattr(_driver_error(error), "sqlstate", None) or ""


def refuses_the_row(error: BaseException) -> bool:
    """Whether it is what stands in a row that the database cannot hold, now and for ever; nothing else is at fault."""
    return not isinstance(error, WinnowError) and sqlstate(error).startswith(OF_THE_ROW)


def reason_of(error: BaseException) -> str:
    """The server's or driver's own sentence on one line, without what SQLAlchemy writes around it."""
    driver = _driver_error(error)
    said = " ".join(str(driver).split())[:200]
    return said or ("no answer in time" if isinstance(driver, TimeoutError) else type(driver).__name__)


def keep_rows_private(engine: AsyncEngine) -> None:
    """From now on no error of this engine holds what people wrote, wherever it or its traceback ends up.

    PostgreSQL puts the whole row into an error's DETAIL, and the value it cannot read into the message.
    """
    event.listen(engine.sync_engine, "handle_error", _forget_values)


def _forget_values(context: ExceptionContext) -> None:
    error = context.sqlalchemy_exception
    if not isinstance(error, DBAPIError):
        return
    adapted: Any = error.orig
    driver: Any = _driver_error(error)
    driver.detail = adapted.detail = None
    if sqlstate(error).startswith(BAD_VALUE):
        said = str(driver.args[0])
        for link in (error, adapted, driver):
            link.args = tuple(str(part).replace(said, _VALUE.sub(" …", said)) for part in link.args)


def _driver_error(error: BaseException) -> BaseException:
    """What asyncpg raised, from under what SQLAlchemy put around it."""
    return error.driver_exception if isinstance(error, DBAPIError) else error
