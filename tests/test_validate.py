"""`runbook validate`: which files are judged, how complaints are weighed, and what is remembered of them."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from commands import RUNBOOK, Place
from test_schema import with_gopher

from runbook_engine import profiles
from runbook_engine.errors import Complaint, UsageError
from runbook_engine.linter import rules
from runbook_engine.validation import run as validation
from runbook_engine.validation.files import STDIN, sources
from runbook_engine.validation.fingerprint import fingerprint
from runbook_engine.validation.verdicts import NAME, cache_folder, key_of, open_verdicts

ROOT = Path(__file__).parent.parent
FINE = """runbook: 1
name: fine
title: Fine
targets: {redis: redis}
symptoms:
  - id: a
    redis: [LLEN, jobs]
    facts: {n: result}
    present: n > 0
"""
UNVERIFIED = f"""{FINE}causes:
  - id: c
    needs: n > 5
    fix: [m]
  - id: dead-end
    needs: n > 9
resolution:
  - id: m
    effect: disruptive
    manual: do it
inputs: {{unused: {{}}}}
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "home").mkdir()
    return Place(tmp_path, tmp_path / "state", {"HOME": str(tmp_path / "home")})


def found(*names: str) -> dict[str, str]:
    """What becomes of the files that names lead to: their complaint, or their text."""
    return {
        Path(each.path).name: each.complaint.message if each.complaint else each.content.decode()
        for each in sources(names, BytesIO(b"from stdin"))
    }


def test_files_folders_and_standard_input_are_judged_each_once(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("a.yaml", "b/c.yml", "b/d.test.yaml", "b/e.json", "f.txt"):
        (tmp_path / name).write_text(name)
    shown = found(str(tmp_path), str(tmp_path / "a.yaml"), "-", "-", str(tmp_path / "f.txt"))
    assert shown == {
        "a.yaml": "a.yaml",
        "c.yml": "b/c.yml",
        "d.test.yaml": "b/d.test.yaml",
        STDIN: "from stdin",
        "f.txt": "f.txt",
    }


def test_what_is_no_file_is_told_and_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    (tmp_path / "gone.yaml").symlink_to("nowhere")
    (tmp_path / "self.yaml").symlink_to("self.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "huge.yaml").write_bytes(b"a" * 3_000_000)
    assert found(str(tmp_path)) == {
        "pipe.yaml": "is a pipe and no file",
        "zero.yaml": "is a device and no file",
        "gone.yaml": "cannot be read: No such file or directory",
        "self.yaml": "cannot be read: Too many levels of symbolic links",
        "huge.yaml": "the file has 3000000 bytes, more than 1048576. split it",
    }
    with pytest.raises(UsageError, match="neither a file nor a folder"):
        found(str(tmp_path / "missing"))


def test_folders_that_lead_back_to_themselves_are_walked_once(tmp_path: Path) -> None:
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "x.yaml").write_text("x")
    (deep / "up").symlink_to(tmp_path)
    (tmp_path / "side").symlink_to(deep)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "y.yaml").write_text("y")
    assert [each.content for each in sources([str(tmp_path)], BytesIO())] == [b"x"]


def test_a_long_standard_input_is_not_read_to_its_end(tmp_path: Path) -> None:
    endless = subprocess.Popen(["yes"], stdout=subprocess.PIPE)
    try:
        done = subprocess.run(
            [RUNBOOK, "validate", "-"], stdin=endless.stdout, capture_output=True, text=True, timeout=60
        )
    finally:
        endless.kill()
        endless.wait()
        assert endless.stdout is not None
        endless.stdout.close()
    assert done.returncode == 65 and "<stdin>:1:1: RB002" in done.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0)
    assert found(str(tmp_path)) == {"closed": "cannot be read: Permission denied"}


def test_a_warning_that_the_load_makes_is_told_once(place: Place) -> None:
    (place.folder / "x.yaml").write_text(UNVERIFIED)
    told = place.run("validate", "x.yaml", "--format", "concise").stdout.splitlines()
    assert len(told) == len(set(told)) == 3


def severities(place: Place, *words: str) -> dict[str, str]:
    done = place.run("validate", "x.yaml", "--format", "json", *words)
    errors = any(each["severity"] == "error" for each in done.document)
    assert done.code == (65 if errors else 0)
    return {each["code"]: each["severity"] for each in done.document}


def test_profiles_weigh_warnings(place: Place) -> None:
    (place.folder / "x.yaml").write_text(UNVERIFIED)
    assert severities(place) == {"RB221": "warning", "RB410": "warning", "RB511": "warning"}
    assert severities(place, "--profile", "basic") == {"RB221": "warning"}
    assert severities(place, "--profile", "production") == {"RB221": "warning", "RB410": "error", "RB511": "warning"}


def test_an_error_is_an_error_in_every_profile() -> None:
    error = Complaint("x", 1, 1, "broken", "RB101")
    assert all(profiles.weighed([error], profile) == [error] for profile in profiles.PROFILES)


def test_every_rule_has_its_class_and_every_class_its_rule() -> None:
    assert {rule.CODE for rule in rules()} - profiles.CLASSES.keys() == set()
    assert set(profiles.CLASSES.values()) == {"wrong", "safety", "care"}


def test_the_help_and_the_docs_name_every_profile(place: Place) -> None:
    shown = place.run("validate", "--help").stdout
    docs = (ROOT / "docs" / "validating.md").read_text(encoding="utf-8")
    for profile in profiles.PROFILES:
        assert profile in shown and f"`{profile}`" in docs
    assert all(f"`{code}`" in docs for code, kind in profiles.CLASSES.items() if kind == "safety")


# What is remembered


class Watched:
    """Validates in this process and tells which files were really judged."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.judged: list[str] = []
        self.environ = {"HOME": str(folder / "home")}
        judging = validation.judging()
        monkeypatch.setattr(validation, "judging", lambda: self)
        monkeypatch.chdir(folder)
        self.real = judging
        self.depends_on_third_parties = judging.depends_on_third_parties

    def judge_all(self, work: Any) -> Any:
        self.judged += [path for path, _, _ in work]
        return self.real.judge_all(work)

    def validate(self, *names: str, cached: bool = True) -> tuple[list[str], dict[str, list[str]]]:
        self.judged.clear()
        told = validation.validate(names, self.environ, BytesIO(), cached=cached)
        return sorted(self.judged), {path: [str(each) for each in every] for path, every in told.items()}

    @property
    def database(self) -> Path:
        return cache_folder(self.environ) / NAME


@pytest.fixture
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watched:
    (tmp_path / "home").mkdir()
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "x.yaml").write_text(UNVERIFIED)
    (tmp_path / "p" / "y.yaml").write_text(FINE.replace("present", "presnt"))
    return Watched(tmp_path, monkeypatch)


def test_what_has_not_changed_is_not_judged_again_and_told_all_the_same(watched: Watched) -> None:
    first = watched.validate("p")
    assert first[0] == ["p/x.yaml", "p/y.yaml"]
    assert watched.validate("p") == ([], first[1])
    assert watched.validate("p", cached=False) == first
    (watched.folder / "p" / "x.yaml").write_text(FINE)
    judged, told = watched.validate("p")
    assert judged == ["p/x.yaml"] and told["p/x.yaml"] == []


def test_the_same_text_at_another_place_is_another_matter(watched: Watched) -> None:
    watched.validate("p")
    judged, told = watched.validate("./p/x.yaml")
    assert judged == ["./p/x.yaml"] and told["./p/x.yaml"][0].startswith("./p/x.yaml:")


LIBRARY = "library: shared\nprobes:\n  size: {redis: [LLEN, jobs], facts: {n: result}}\n"


def test_a_library_that_changes_comes_or_goes_changes_the_verdict(watched: Watched) -> None:
    user = watched.folder / "p" / "x.yaml"
    user.write_text(FINE.replace("    redis: [LLEN, jobs]\n    facts: {n: result}\n", "    use: shared.size\n"))
    (watched.folder / "p" / "y.yaml").unlink()
    judged, told = watched.validate("p/x.yaml")
    assert judged and "there is no library 'shared'" in " ".join(told["p/x.yaml"])
    library = watched.folder / "p" / "shared.yaml"
    library.write_text(LIBRARY)
    assert watched.validate("p/x.yaml") == (["p/x.yaml"], {"p/x.yaml": []})
    assert watched.validate("p/x.yaml") == ([], {"p/x.yaml": []})
    library.write_text(LIBRARY.replace("facts: {n: result}", "facts: {m: result}"))
    judged, told = watched.validate("p/x.yaml")
    assert judged and "unknown name 'n'" in " ".join(told["p/x.yaml"])
    library.unlink()
    assert "there is no library" in " ".join(watched.validate("p/x.yaml")[1]["p/x.yaml"])
    elsewhere = watched.folder / "home" / ".config" / "runbook" / "playbooks"
    elsewhere.mkdir(parents=True)
    (elsewhere / "shared.yaml").write_text(LIBRARY)
    assert watched.validate("p/x.yaml") == (["p/x.yaml"], {"p/x.yaml": []})


def test_the_memory_is_for_its_owner_alone(watched: Watched) -> None:
    watched.validate("p")
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (watched.database.parent, watched.database)]
    assert modes == [0o700, 0o600]


@pytest.mark.parametrize("damage", ["garbage", "cut", "empty", "folder", "link", "open to all", "other table"])
def test_a_broken_memory_is_done_without_or_made_anew(watched: Watched, damage: str) -> None:
    first = watched.validate("p")
    database = watched.database
    content = database.read_bytes()
    for path in database.parent.iterdir():
        path.unlink()
    if damage == "folder":
        database.mkdir()
    elif damage == "link":
        database.symlink_to(watched.folder / "p" / "x.yaml")
    elif damage == "other table":
        with sqlite3.connect(database) as connection:
            connection.execute("create table verdicts (key blob primary key, other text)")
        connection.close()
        database.chmod(0o600)
    else:
        database.write_bytes(
            {"garbage": b"x" * 9000, "cut": content[:5000], "empty": b"", "open to all": content}[damage]
        )
        database.chmod(0o666 if damage == "open to all" else 0o600)
    assert watched.validate("p")[1] == first[1]
    again = watched.validate("p")
    assert again[1] == first[1]
    assert (watched.folder / "p" / "x.yaml").read_text() == UNVERIFIED
    if damage in ("garbage", "cut", "empty", "other table"):
        assert again[0] == []


def test_a_verdict_that_was_tampered_with_is_not_believed(watched: Watched) -> None:
    first = watched.validate("p")
    with sqlite3.connect(watched.database) as connection:
        assert connection.execute("update verdicts set body = '[]'").rowcount == 2
    connection.close()
    assert watched.validate("p") == first


def test_runs_side_by_side_all_say_the_same(place: Place) -> None:
    shutil.copytree(ROOT / "tests" / "bad", place.folder / "bad")
    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: place.run("validate", "bad", "--format", "concise"), range(4)))
    assert len({each.stdout for each in told}) == 1 and {each.code for each in told} == {65}


def test_what_cannot_be_kept_is_judged_all_the_same(place: Place) -> None:
    (place.folder / "x.yaml").write_text(FINE)
    for home in ("/proc/nothing", "relative", ""):
        assert place.run("validate", "x.yaml", XDG_CACHE_HOME=home, HOME="/proc/nothing").code == 0


def test_the_fingerprint_is_of_the_engine_and_stays_the_same() -> None:
    assert fingerprint() == fingerprint()
    assert key_of(b"a", "p", b"c", {}) != key_of(b"b", "p", b"c", {})
    assert key_of(b"a", "p", b"c", {"l": ("x", "y")}) != key_of(b"a", "p", b"c", {"l": ("xy", "")})


def test_old_verdicts_are_forgotten(watched: Watched) -> None:
    watched.validate("p")
    with sqlite3.connect(watched.database) as connection:
        connection.execute("update verdicts set day = 1 where key = (select min(key) from verdicts)")
    connection.close()
    (watched.folder / "p" / "z.yaml").write_text(FINE)
    watched.validate("p")
    with open_verdicts(watched.database.parent) as verdicts:
        assert verdicts._connection is not None
        assert verdicts._connection.execute("select count(*) from verdicts where day = 1").fetchone() == (0,)


def test_what_is_remembered_needs_no_heavy_import(place: Place) -> None:
    (place.folder / "x.yaml").write_text(FINE)
    code = (
        "import sys\nfrom runbook_engine.cli import group\n"
        "print(group.main(['validate', 'x.yaml'], standalone_mode=False))\n"
        "print(sorted({'pydantic', 'jinja2', 'yaml'} & sys.modules.keys()))"
    )
    first = place.run("-c", code, program=sys.executable)
    assert first.stdout.splitlines() == ["0", "['jinja2', 'pydantic', 'yaml']"], first.said
    second = place.run("-c", code, program=sys.executable)
    assert second.stdout.splitlines() == ["0", "[]"], second.said


def test_what_asks_an_executor_of_another_package_is_judged_every_time(place: Place) -> None:
    """Its code may change without a new version; only files that do not mention it are remembered."""
    home = with_gopher(place.folder)
    text = FINE.replace("redis: [LLEN, jobs]", "gopher: {selector: /}").replace("{redis: redis}", "{g: gopher}")
    (place.folder / "x.yaml").write_text(text.replace("result", "text"))
    # Bytecode is told apart by its second and size alone, and a test is faster.
    environ = {"PYTHONPATH": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    told = place.run("validate", "x.yaml", **environ)
    assert told.code == 0, told.said
    module = home / "gopher_x.py"
    module.write_text(module.read_text().replace("selector: str", "selector: int"))
    assert place.run("validate", "x.yaml", **environ).code == 65
    assert place.run("validate", "x.yaml").code == 65


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the tests have threads
def test_many_files_are_judged_by_several_processes_as_by_one(tmp_path: Path) -> None:
    judging = validation.judging()
    files: list[Any] = [(f"{index}.yaml", UNVERIFIED.encode(), {}) for index in range(2 * judging.WORTH_A_PROCESS)]
    files[7] = ("7.yaml", b"\xff", {})
    together = list(judging.judge_all(files))
    assert together == [judging.verdict(*each) for each in files]


# GitHub


def test_github_gets_ten_of_each_level_and_the_rest_in_log_and_summary(place: Place) -> None:
    for number in range(13):
        (place.folder / f"{number}.yaml").write_text(UNVERIFIED.replace("needs: n > 5", "needs: n >< 5"))
        (place.folder / f"w{number}.yaml").write_text(UNVERIFIED)
    summary = place.folder / "summary.md"
    done = place.run("validate", ".", GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    lines = done.stdout.splitlines()
    for level in ("error", "warning"):
        assert sum(line.startswith(f"::{level} ") for line in lines) == 10
    assert len(lines) == 13 + 3 * 13
    assert done.code == 65 and summary.read_text().count("\n| ") == len(lines) + 1
    assert "13 errors, 39 warnings in 26 files" in summary.read_text()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # the tests have threads
def test_what_a_killed_process_does_not_answer_is_judged_all_the_same() -> None:
    judging = validation.judging()
    files: list[Any] = [(f"{index}.yaml", UNVERIFIED.encode(), {}) for index in range(2 * judging.WORTH_A_PROCESS)]
    told = judging.judge_all(files)
    first = next(told)
    for process in multiprocessing.active_children():
        process.kill()
    assert [first, *told] == [judging.verdict(*each) for each in files]
    assert multiprocessing.active_children() == []


def test_an_interrupt_ends_every_process_with_one_word(place: Place) -> None:
    for index in range(600):
        (place.folder / f"{index}.yaml").write_text(UNVERIFIED)
    with place.begun("validate", "--no-cache", ".") as running:
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
        while running.poll() is None and not children.read_text():
            time.sleep(0.01)
        os.killpg(running.pid, signal.SIGINT)
        out, err = running.communicate(timeout=60)
    if running.returncode == 130:  # on one processor there are no children, and it may have ended before
        assert out == "" and err.strip() == "interrupted"
    assert "Traceback" not in err


def test_a_folder_with_nothing_in_it_is_no_success(place: Place) -> None:
    (place.folder / "empty").mkdir()
    done = place.run("validate", "empty")
    assert done.code == 2 and "empty holds no *.yaml or *.yml" in done.stderr


def test_a_closed_standard_input_is_an_empty_file(place: Place) -> None:
    done = place.run("-c", f"{RUNBOOK} validate - <&-", program="sh")
    assert done.code == 65 and "the file is empty" in done.stdout


def test_output_that_cannot_be_written_is_nobodys_bug(place: Place) -> None:
    done = place.run("-c", f"{RUNBOOK} schema > /dev/full", program="sh")
    assert done.code == 74 and "the output cannot be written" in done.stderr and "bug" not in done.stderr
