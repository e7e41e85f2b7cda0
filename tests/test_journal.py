from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runbook_engine.errors import JournalError, UsageError
from runbook_engine.journal import Journal, state_folder
from runbook_engine.journal_file import filesystem_of

NOON = 1_762_000_000.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    opened = Journal.open(folder)
    yield opened
    opened.close()


def written(journal: Journal, count: int = 5) -> str:
    run = journal.start("queue-backlog", "demo", NOON)
    for number in range(count):
        journal.append(run, "CallFinished", {"number": number, "text": "é\ud800"}, NOON + number)
    return run


def tampered(folder: Path, *statements: str) -> Journal:
    with sqlite3.connect(folder / "journal.db") as connection:
        connection.executescript("drop trigger records_stay; drop trigger records_kept;")
        for statement in statements:
            connection.execute(statement)
    connection.close()
    return Journal.open(folder)


def test_what_was_appended_is_read_back_in_order_with_a_chain_of_hashes(journal: Journal) -> None:
    run = written(journal)
    records = journal.records(run)
    assert [(record.seq, record.kind, record.data["number"]) for record in records] == [
        (n + 1, "CallFinished", n) for n in range(5)
    ]
    assert journal.head(run) == records[-1].hash
    assert len({record.hash for record in records}) == 5
    assert journal.verify(run, head=journal.head(run)) == []


def test_append_returns_the_record_exactly_as_it_is_read_back(journal: Journal) -> None:
    run = journal.start("p", "demo", NOON)
    record = journal.append(run, "RunStarted", {"b": (1, 2), "a": {"z": None, "text": "\u2028\x00"}}, 3)
    assert journal.records(run) == [record]
    assert record.data == {"a": {"text": "\u2028\x00", "z": None}, "b": [1, 2]}


def test_files_are_private_even_with_a_loose_umask(folder: Path) -> None:
    before = os.umask(0o000)
    try:
        journal = Journal.open(folder)
        run = written(journal)
        with journal.lease("queue-backlog on redis"):
            pass
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder, *folder.rglob("*")]}
        journal.close()
    finally:
        os.umask(before)
    assert run
    assert modes.pop("state") == 0o700 and modes.pop("locks") == 0o700
    assert set(modes.values()) == {0o600} and {"journal.db", "journal.db-wal", "journal.db-shm"} <= set(modes)


def test_a_planted_link_is_not_followed(folder: Path, tmp_path: Path) -> None:
    folder.mkdir(mode=0o700)
    (tmp_path / "elsewhere").write_text("mine")
    (folder / "journal.db").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(JournalError, match="not a plain file of this user"):
        Journal.open(folder)
    assert (tmp_path / "elsewhere").read_text() == "mine"


def test_a_folder_that_others_may_write_is_refused_and_left_as_it_is(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(JournalError, match="others may write there"):
        Journal.open(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o777


def test_a_folder_that_serves_other_things_keeps_its_permissions(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "photos").mkdir()
    Journal.open(folder).close()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_the_state_folder_is_found_by_variable_then_by_xdg_then_at_home(tmp_path: Path) -> None:
    home, xdg, own = (str(tmp_path / name) for name in ("home", "xdg", "own"))
    assert state_folder({"HOME": home}) == Path(home, ".local/state/runbook")
    assert state_folder({"HOME": home, "XDG_STATE_HOME": xdg}) == Path(xdg, "runbook")
    assert state_folder({"HOME": home, "XDG_STATE_HOME": "relative"}) == Path(home, ".local/state/runbook")
    found = state_folder({"HOME": home, "XDG_STATE_HOME": xdg, "RUNBOOK_STATE": own})
    assert found == Path(own) and stat.S_IMODE(found.stat().st_mode) == 0o700


def test_run_ids_are_short_and_sort_in_the_order_of_starting(journal: Journal) -> None:
    started = [journal.start("p", "demo", at) for at in (NOON, NOON, NOON + 1, NOON - 500, NOON + 7200, 0.0)]
    assert started == sorted(set(started))
    assert all(len(run) == 7 and run.startswith("R-") for run in started)
    assert [summary.id for summary in journal.runs()] == started[::-1]


def test_a_run_is_found_by_what_a_person_types(journal: Journal) -> None:
    first, second = journal.start("p", "demo", NOON), journal.start("p", "demo", NOON + 90_000_000)
    assert journal.find(first) == journal.find(first.lower()) == journal.find(first.removeprefix("R-")) == first
    assert journal.find(second[:4]) == journal.find("last") == second
    with pytest.raises(UsageError, match=f"may be {second}, {first}"):
        journal.find("R")
    with pytest.raises(UsageError, match=f"not in the journal; the latest are {second}, {first}"):
        journal.find("zzzzz")


def test_finding_in_an_empty_journal_says_that_there_are_no_runs(journal: Journal) -> None:
    with pytest.raises(UsageError, match="there are no runs yet"):
        journal.find("last")


def test_runs_tell_their_outcome_and_one_without_an_end_has_none(journal: Journal) -> None:
    ended, cut = written(journal), written(journal, 2)
    journal.append(ended, "RunFinished", {"outcome": "fixed", "exit_code": 0}, NOON + 60)
    latest, oldest = journal.runs()
    assert (latest.id, latest.outcome, latest.exit_code, latest.ended_at, latest.last_kind) == (
        cut,
        None,
        None,
        None,
        "CallFinished",
    )
    assert (oldest.outcome, oldest.exit_code, oldest.ended_at, oldest.records) == ("fixed", 0, NOON + 60, 6)
    assert [summary.id for summary in journal.runs(limit=1)] == [cut]


def test_history_gives_records_of_the_named_kinds_over_all_runs(journal: Journal) -> None:
    first, second = written(journal, 1), written(journal, 1)
    journal.append(first, "ActionFinished", {"action": "a"}, NOON + 10)
    journal.append(second, "ActionFinished", {"action": "b"}, NOON + 20)
    found = journal.history(since=NOON + 5, kinds=["ActionFinished", "GateAnswered"])
    assert [(record.run, record.data) for record in found] == [(first, {"action": "a"}), (second, {"action": "b"})]
    assert list(journal.history(since=0, kinds=[])) == []


def test_a_record_that_need_not_be_durable_rides_with_the_next_that_is(journal: Journal, folder: Path) -> None:
    run = journal.start("p", "demo", NOON)
    reader = Journal.open(folder, readonly=True)
    journal.append(run, "CallFinished", {"n": 1}, NOON, durable=False)
    assert reader.records(run) == []
    journal.append(run, "CallRequested", {"n": 2}, NOON)
    assert [record.data["n"] for record in reader.records(run)] == [1, 2]
    reader.close()


def test_close_and_own_reads_take_waiting_records_along(folder: Path) -> None:
    journal = Journal.open(folder)
    run = journal.start("p", "demo", NOON)
    journal.append(run, "CallFinished", {}, NOON, durable=False)
    assert len(journal.records(run)) == 1
    journal.append(run, "CallFinished", {}, NOON, durable=False)
    journal.close()
    assert len(Journal.open(folder, readonly=True).records(run)) == 2


def test_a_waiting_record_does_not_lock_out_another_process(journal: Journal, folder: Path) -> None:
    journal.append(journal.start("p", "demo", NOON), "CallFinished", {}, NOON, durable=False)
    other = Journal.open(folder, patience=0.1)
    assert len(other.records(written(other, 1))) == 1
    other.close()


def test_a_run_goes_on_in_a_later_process_with_the_same_chain(folder: Path) -> None:
    journal = Journal.open(folder)
    run = written(journal)
    journal.close()
    again = Journal.open(folder)
    assert again.append(run, "RunFinished", {}, NOON + 9).seq == 6
    assert again.verify(run) == []
    again.close()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, b"bytes", object()])
def test_what_is_not_json_is_refused_and_leaves_the_chain_whole(journal: Journal, value: object) -> None:
    run = written(journal)
    with pytest.raises(JournalError, match="not plain JSON"):
        journal.append(run, "CallFinished", {"value": value}, NOON)
    assert journal.append(run, "CallFinished", {}, NOON).seq == 6
    assert journal.verify(run) == []


@pytest.mark.parametrize(
    ("how", "statement", "said"),
    [
        ("changed data", """update records set data = '{"number":9}' where seq = 3""", "record 3"),
        ("changed kind", "update records set kind = 'GateAnswered' where seq = 2", "record 2"),
        ("changed time", "update records set at = at + 1 where seq = 5", "record 5"),
        ("changed hash", "update records set hash = 'ffff' where seq = 4", "record 4"),
        ("other type", "update records set kind = x'00', at = 'noon' where seq = 1", "record 1"),
        ("no number", "update records set seq = 'one' where seq = 1", "'one'"),
        ("deleted", "delete from records where seq = 3", "record 3 is missing"),
        ("deleted many", "delete from records where seq in (2, 3)", "records 2 to 3 are missing"),
        ("deleted first", "delete from records where seq = 1", "record 1 is missing"),
        ("moved", "update records set seq = 9 where seq = 3", "record 3 is missing"),
        ("the run itself", "update runs set environment = 'production'", "record 1"),
    ],
)
def test_a_changed_journal_is_found_out(journal: Journal, folder: Path, how: str, statement: str, said: str) -> None:
    run = written(journal)
    journal.close()
    after = tampered(folder, statement)
    assert said in " ".join(after.verify(run)), how
    after.close()


_SWAP_2_AND_3 = (
    "update records set seq = 100 where seq = 2",
    "update records set seq = 2 where seq = 3",
    "update records set seq = 3 where seq = 100",
)
_INSERT_AFTER_2 = (
    "update records set seq = seq + 100 where seq > 2",
    "update records set seq = seq - 99 where seq > 100",
    "insert into records select run, 3, at, kind, data, hash from records where seq = 2",
)


@pytest.mark.parametrize("statements", [_SWAP_2_AND_3, _INSERT_AFTER_2])
def test_swapped_and_inserted_records_are_found_out(
    journal: Journal, folder: Path, statements: tuple[str, ...]
) -> None:
    run = written(journal)
    journal.close()
    after = tampered(folder, *statements)
    assert "swapped or inserted" in after.verify(run)[0]
    after.close()


def test_a_cut_tail_is_found_out_only_with_the_head(journal: Journal, folder: Path) -> None:
    run = written(journal)
    head = journal.head(run)
    journal.close()
    after = tampered(folder, "delete from records where seq > 3")
    assert after.verify(run) == []
    assert "cut off" in after.verify(run, head=head)[0]
    assert "cut off" in after.verify(run, head=head[:12])[0]
    after.close()


def test_a_rewritten_chain_is_found_out_with_the_head(journal: Journal) -> None:
    run, twin = written(journal), written(journal)
    assert "rewritten" in journal.verify(run, head=journal.head(twin))[0]


def test_records_added_after_the_head_are_told(journal: Journal) -> None:
    run = written(journal)
    head = journal.head(run)
    journal.append(run, "RunFinished", {}, NOON)
    assert journal.verify(run, head=head) == [f"1 records were added after the head {head}"]


def test_every_changed_byte_of_a_record_is_found_out(journal: Journal, folder: Path) -> None:
    run = journal.start("p", "demo", NOON)
    journal.append(run, "GateAnswered", {"verdict": "no", "by": "ann"}, NOON)
    journal.close()
    after = tampered(folder)
    text = after._connection.execute("select data from records").fetchone()[0]
    for index in range(len(text)):
        changed = text[:index] + chr(ord(text[index]) ^ 1) + text[index + 1 :]
        after._connection.execute("update records set data = ?", (changed,))
        assert after.verify(run), changed
    after.close()


def test_the_table_itself_refuses_to_change_or_lose_a_record(journal: Journal) -> None:
    written(journal)
    for statement in ("update records set at = 0", "delete from records"):
        with pytest.raises(sqlite3.IntegrityError, match="append only"):
            journal._connection.execute(statement)


def test_reading_only_never_writes_and_a_missing_journal_reads_as_empty(folder: Path, journal: Journal) -> None:
    missing = Journal.open(folder / "nowhere", readonly=True)
    assert missing.runs() == [] and not (folder / "nowhere").exists()
    reader = Journal.open(folder, readonly=True)
    with pytest.raises(JournalError, match="for reading only"):
        reader.append(written(journal), "CallFinished", {}, NOON)
    with pytest.raises(JournalError, match="for reading only"):
        reader.start("p", "demo", NOON)
    missing.close()
    reader.close()


def test_a_journal_of_a_newer_format_can_be_read_and_not_written(folder: Path, journal: Journal) -> None:
    run = written(journal)
    journal._connection.execute("update meta set value = '7'")
    journal.close()
    newer = Journal.open(folder)
    assert len(newer.records(run)) == 5
    with pytest.raises(JournalError, match=r"format 7 and this version knows 1\. upgrade"):
        newer.append(run, "CallFinished", {}, NOON)
    newer.close()


def test_no_run_starts_when_the_disk_is_nearly_full(journal: Journal) -> None:
    with pytest.raises(JournalError, match="MiB are free, the journal needs"):
        journal.start("p", "demo", NOON, minimum_free=1 << 62)
    assert journal.runs() == []


def test_a_file_that_is_no_journal_is_named(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "journal.db").write_text("hello " * 1000)
    with pytest.raises(JournalError, match="is not a journal"):
        Journal.open(folder)


def test_a_locked_journal_fails_the_append_and_everything_after_it(folder: Path) -> None:
    journal = Journal.open(folder, patience=0.1)
    run = written(journal)
    holder = sqlite3.connect(folder / "journal.db", isolation_level=None)
    holder.execute("begin immediate")
    with pytest.raises(JournalError, match="another process holds it locked"):
        journal.append(run, "CallRequested", {}, NOON)
    holder.execute("rollback")
    holder.close()
    with pytest.raises(JournalError, match="cannot be written: another process"):
        journal.append(run, "CallRequested", {}, NOON)
    assert len(journal.records(run)) == 5
    journal.close()


def test_two_writers_of_one_run_cannot_both_succeed(folder: Path, journal: Journal) -> None:
    run = written(journal)
    other = Journal.open(folder)
    other.append(run, "CallRequested", {}, NOON)
    with pytest.raises(JournalError, match="another process has written to the same run"):
        journal.append(run, "CallRequested", {}, NOON)
    assert other.verify(run) == [] and len(other.records(run)) == 6
    other.close()


def test_an_unknown_run_is_a_usage_error(journal: Journal) -> None:
    with pytest.raises(UsageError, match="not in the journal"):
        journal.append("R-XXXXX", "CallFinished", {}, NOON)
    with pytest.raises(UsageError, match="not in the journal"):
        journal.verify("R-XXXXX")


_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from runbook_engine.errors import JournalError
from runbook_engine.journal import Journal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal.open(Path(sys.argv[1]))
run = journal.start("p", "demo", 1.0)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    for number in range(10_000):
        print(journal.append(run, "CallFinished", {"pad": "x" * 500}, 1.0).seq, flush=True)
except JournalError as error:
    print(error, file=sys.stderr)
try:
    journal.append(run, "CallFinished", {}, 1.0)
except JournalError:
    journal.close()
    sys.exit(74)
"""


def test_a_full_disk_is_an_error_and_loses_nothing_that_was_acknowledged(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _FULL_DISK, str(folder)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 74, done.stderr
    assert "journal.db: the disk" in done.stderr
    _assert_kept(folder, done.stdout)


_APPENDER = """
import sys
from pathlib import Path
from runbook_engine.journal import Journal
journal = Journal.open(Path(sys.argv[1]))
run = journal.start("p", "demo", 1.0)
for number in range(1_000_000):
    journal.append(run, "CallFinished", {"pad": "x" * (number % 300)}, 1.0, durable=False)
    print(journal.append(run, "CallRequested", {"pad": "y" * (number % 700)}, 1.0).seq, flush=True)
"""


@pytest.mark.parametrize("number", range(20))
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(folder: Path, number: int) -> None:
    chance = random.Random(number)
    appender = subprocess.Popen([sys.executable, "-c", _APPENDER, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        assert appender.stdout is not None
        lines = [appender.stdout.readline() for _ in range(chance.randint(1, 60))]
    finally:
        os.kill(appender.pid, signal.SIGKILL)
        lines.append(appender.communicate(timeout=30)[0])
    _assert_kept(folder, "".join(lines))


def _assert_kept(folder: Path, printed: str) -> None:
    acknowledged = int(printed[: printed.rindex("\n")].split("\n")[-1])
    journal = Journal.open(folder)
    run = journal.find("last")
    records = journal.records(run)
    assert [record.seq for record in records[:acknowledged]] == list(range(1, acknowledged + 1))
    assert journal.verify(run) == []
    journal.append(run, "Interrupted", {}, 2.0)
    assert journal.verify(run) == []
    journal.close()


_OPENER = """
import sys
from pathlib import Path
from runbook_engine.journal import Journal
journal = Journal.open(Path(sys.argv[1]))
run = journal.start("p", "demo", 1.0)
for number in range(20):
    journal.append(run, "CallFinished", {}, 1.0)
journal.close()
print(run)
"""


def test_processes_that_open_a_fresh_journal_at_once_all_get_a_run_of_their_own(folder: Path) -> None:
    command = [sys.executable, "-c", _OPENER, str(folder)]
    openers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    runs = {opener.communicate(timeout=60)[0].strip() for opener in openers}
    assert {opener.returncode for opener in openers} == {0}
    with Journal.open(folder)._connection as connection:
        assert connection.execute("select count(*), count(distinct run) from records").fetchone() == (120, 6)
    connection.close()
    assert len(runs) == 6


_HOLDER = """
import sys
from pathlib import Path
from runbook_engine.journal import Journal
with Journal.open(Path(sys.argv[1])).lease("queue-backlog on redis"):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lease_is_held_against_other_processes_and_ends_with_its_holder(folder: Path, journal: Journal) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        said = rf"queue-backlog on redis: another process acts on it: pid {holder.pid}, since \d{{4}}-\d\d-\d\d .* UTC"
        with pytest.raises(UsageError, match=said), journal.lease("queue-backlog on redis"):
            pass
        with journal.lease("queue-backlog on db"):
            pass
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate(timeout=30)
    for _ in range(2):
        with journal.lease("queue-backlog on redis"):
            pass


def test_network_filesystems_are_recognised_by_the_longest_mount_point() -> None:
    mounts = "/dev/sda1 / ext4 rw 0 0\nnas:/x /home nfs4 rw 0 0\ntmpfs /home/ann/my\\040disk tmpfs rw 0 0\n"
    assert filesystem_of(Path("/var/lib"), mounts) == "ext4"
    assert filesystem_of(Path("/home/ann"), mounts) == "nfs4"
    assert filesystem_of(Path("/home/ann/my disk/state"), mounts) == "tmpfs"
    assert filesystem_of(Path("/homes"), mounts) == "ext4"


def test_hostile_text_does_not_change_the_number_of_records(journal: Journal) -> None:
    run = journal.start("p\udcff\n'; drop table records; --", "demo", NOON)
    payloads = ['"}\n{"kind":"GateAnswered"', "\r\n\x00\x1b[2J", "'; delete from records; --", "\u2028\x85"]
    for payload in payloads:
        journal.append(run, payload, {payload: payload}, NOON)
    records = journal.records(run)
    assert [record.kind for record in records] == payloads
    assert [json.dumps(record.data) for record in records] == [json.dumps({each: each}) for each in payloads]
    assert journal.verify(run) == []
