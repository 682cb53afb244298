"""`winnow up` ends with everything it started, whoever ends it and however, and loses nothing."""

from __future__ import annotations

import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from plugins.program import eventually, gone

if TYPE_CHECKING:
    from plugins.program import Program, Up

SERVERS = ("postgres", "nats-server")


def say(up: Up, channel: str, count: int) -> None:
    messages = [
        {"channel": channel, "external_id": str(n), "author": "ada", "text": f"{channel} says {n}"}
        for n in range(count)
    ]
    with up.http as http:
        assert http.post("/api/v1/messages", json=messages).json()["stored"] == count


def say_again(up: Up, channel: str, count: int) -> bool:
    """For while a server may still be away; sending a message again stores nothing twice."""
    messages = [{"channel": channel, "external_id": str(n), "text": f"{channel} says {n}"} for n in range(count)]
    with up.http as http:
        return http.post("/api/v1/messages", json=messages).is_success and bool(up.get("/api/v1/status")["queue"])


def own_servers(up: Up) -> list[psutil.Process]:
    below = up.processes().values()
    return [process for process in below if process.name() in SERVERS and process.ppid() == up.pid]


def embedded(up: Up) -> dict[str, Any]:
    counts: dict[str, Any] = up.get("/api/v1/status")["embeddings"]["messages"]
    return counts


def test_what_is_killed_is_started_again_or_cleaned_up_and_no_row_is_lost(another: Program) -> None:
    first = another.up(WINNOW_SWEEP_AGE_SECONDS="2")  # what fell with a server is swept soon
    say(first, "before", 3)
    eventually(lambda: embedded(first)["embedded"] == 3, "three vectors")

    worker = first.child("worker")
    worker.kill()
    say(first, "while it is away", 4)
    eventually(lambda: embedded(first)["embedded"] == 7, "the new worker's vectors")
    assert first.child("worker").pid != worker.pid

    for server in own_servers(first):
        server.kill()
    eventually(lambda: say_again(first, "after the servers fell", 2), "two more messages")
    eventually(lambda: embedded(first)["embedded"] == 9, "their vectors")

    everything = first.processes()
    servers = own_servers(first)
    assert sorted(process.name() for process in servers) == ["nats-server", "postgres"]
    children = [process for process in everything.values() if "winnow.cli.entry" in process.cmdline()]
    assert len(children) == 3
    first.send(signal.SIGKILL)
    first.wait()
    eventually(lambda: gone(children), "API, worker and sweeper see that they are alone")

    second = another.up()
    assert gone(servers)
    assert embedded(second)["embedded"] == embedded(second)["total"] == 9
    say(second, "after", 1)
    eventually(lambda: embedded(second)["embedded"] == 10, "the vector after the restart")
    everything = second.processes()
    assert second.end(signal.SIGINT) == 0
    assert gone(everything.values()), second.output
    assert "stopped" in second.output
    assert not (another.data / "winnow.json").exists()


def test_a_start_that_is_broken_off_by_an_impatient_person_leaves_nothing(another: Program) -> None:
    up = another.up_soon().wait_for("PostgreSQL and NATS")
    everything = up.processes()
    assert {process.name() for process in everything.values()} >= set(SERVERS)
    up.send(signal.SIGINT)
    up.send(signal.SIGINT)
    assert up.wait() in {0, 130}
    assert gone(everything.values()), up.output
    assert "Traceback" not in up.output


def test_a_command_without_a_running_instance_starts_the_servers_for_itself(another: Program) -> None:
    assert another.run("migrate").code == 0
    searched, status = another.run("search", "anything"), another.run("status", "--json")
    assert (searched.code, status.code, status.json["queue"]["workers"]) == (0, 0, [])
    assert "nothing found" in searched.out
    psql = another.start("psql", "-c", "SELECT pg_sleep(60)")
    everything = eventually(lambda: with_backend(psql), "psql is connected")
    assert {process.name() for process in everything} >= set(SERVERS)
    assert psql.end(signal.SIGTERM) == 130
    assert gone(everything), psql.output


def until_connected(clients: int) -> str:
    """Returns once there are so many clients of this database, the one that asks among them."""
    count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'psql'"
    look = "PERFORM pg_sleep(0.1); PERFORM pg_stat_clear_snapshot();"
    return f"DO $$ BEGIN WHILE ({count}) <> {clients} LOOP {look} END LOOP; END $$"


def test_a_command_lets_others_finish_that_attached_to_its_servers(another: Program) -> None:
    assert another.run("migrate").code == 0
    holder = another.start("psql", "-c", until_connected(2))
    eventually(lambda: with_backend(holder), "psql is connected")
    alone = ("-c", until_connected(1), "-c", "SELECT pg_sleep(2)", "-c", "SELECT 'finished'")
    guest = another.start("psql", "-At", *alone)
    assert guest.wait() == 0, guest.output
    assert "finished" in guest.output
    assert holder.wait() == 0, holder.output
    assert holder.output.count("waiting for them to end") == 1


def test_variables_of_another_postgresql_do_not_disturb(another: Program) -> None:
    foreign = {
        "PGHOST": "127.0.0.1",
        "PGPORT": "1",
        "PGUSER": "somebody",
        "PGPASSWORD": "secret",
        "PGDATABASE": "theirs",
        "PGSERVICE": "theirs",
        "PGSSLMODE": "verify-full",
        "PGSSLROOTCERT": "/nowhere",
        "PGTARGETSESSIONATTRS": "standby",
        "PGOPTIONS": "-c nonsense=1",
    }
    assert another.run("migrate").code == 0
    alone = another.run("status", "--json", **foreign)
    assert alone.code == 0, alone
    psql = another.start(
        "psql", "-At", "-c", "SELECT current_user, current_database()", "-c", "SELECT pg_sleep(4)", **foreign
    )
    psql.wait_for("winnow|winnow")
    attached = another.run("status", "--json", **foreign)
    assert attached.code == 0, attached
    assert psql.wait() == 0, psql.output


def with_backend(psql: Any) -> list[Any]:
    processes = list(psql.processes().values())
    with suppress(psutil.NoSuchProcess):  # it starts servers, which takes more processes that come and go
        if any(process.name() == "psql" for process in processes):
            return processes
    return []
