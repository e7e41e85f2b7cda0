"""No secret of any common form is in a cassette: not in replies, bindings, inputs, answers, nor in what they became."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest
from commands import Place
from planted import CREDENTIALS

PLAYBOOK = """\
runbook: 1
name: leaky
title: Secrets pass by
inputs:
  said: {type: string}
targets: {here: local}
symptoms:
  - id: echoed
    title: It is said again
    shell: |
      cat planted.txt
      printf '%s\\n' "$SAID"
      printf '%s' "$SAID" >&2
    with: {SAID: "${{ said }}"}
    effect: read
    facts: {heard: stdout, again: lines}
    present: heard != ''
diagnosis:
  - id: note
    ask: {question: What did you see?, fact: seen}
causes:
  - id: said
    title: ${{ seen }}
    needs: seen is known
    fix: [say]
resolution:
  - id: say
    title: Say ${{ said }}
    effect: disruptive
    impact: {count: again | length, of: "lines of ${{ said }}"}
    shell: printf '%s' "$SAID"
    with: {SAID: "${{ said }}"}
    verify: {until: heard != '', within: 1s}
"""
KNOWN = "Pl4nted-Database-Word"
ENVIRONMENT = """\
environments:
  here:
    targets:
      here: {kind: local}
      db: {kind: postgres, host: 127.0.0.1, port: 1, user: app, password: {env: DATABASE_WORD}, database: app}
"""


@pytest.mark.parametrize("said", ["; ".join(CREDENTIALS.values()), f"the word is {KNOWN} here"], ids=["forms", "known"])
def test_no_planted_secret_is_in_a_cassette_and_a_mask_is_never_sent_in_its_place(tmp_path: Path, said: str) -> None:
    (tmp_path / "leaky.yaml").write_text(PLAYBOOK)
    (tmp_path / "runbook.yaml").write_text(ENVIRONMENT)
    (tmp_path / "planted.txt").write_text("\n".join([*CREDENTIALS.values(), KNOWN, ""]))
    place = Place(tmp_path, tmp_path / "state", {"DATABASE_WORD": KNOWN})
    words = ("-i", f"said={said}", "--answer", f"note=it says {said}", "--approve", "say")
    finished = place.run("run", "leaky.yaml", *words, "--env", "here", "--record", "kept", "--output", "json")
    assert finished.code == 4, finished.said
    (file,) = (tmp_path / "kept").glob("*.jsonl")
    assert file.stat().st_mode & 0o777 == 0o600
    text = file.read_text()
    assert '"call": "say/' in text and '"question": "note"' in text and '"gate": "say"' in text
    assert [each for each in (*CREDENTIALS, KNOWN) if each in text] == []
    packed = file.with_suffix(".jsonl.gz")
    packed.write_bytes(gzip.compress(file.read_bytes()))
    os.replace(tmp_path / "leaky.yaml", tmp_path / "kept" / "leaky.yaml")
    (tmp_path / "kept" / "leaky.test.yaml").write_text(
        "cases: leaky\ntests:\n"
        f"  - {{name: plain, cassette: {file.name}, expect: {{top: said, says: [masked as a secret]}}}}\n"
        f"  - {{name: packed, cassette: {packed.name}, expect: {{top: said, says: [masked as a secret]}}}}\n"
    )
    played = place.run("test", "kept")
    assert played.code == 0, played.said
