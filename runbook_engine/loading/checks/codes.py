"""Every code a load can complain with, and what it means. Codes are public: additions only.

Lint rules bring their own.
"""

from __future__ import annotations

from collections.abc import Mapping

CODES: Mapping[str, str] = {
    "RB001": "The file is not readable text: not UTF-8, a byte order mark, a control or direction character.",
    "RB002": "A limit of size, depth or number is exceeded; aliases count as what they stand for.",
    "RB003": "The YAML cannot be parsed.",
    "RB004": "A common slip of YAML: an unquoted template, colon or quote, a tab, a missing space.",
    "RB005": "A key stands twice in one mapping.",
    "RB006": "An alias names nothing, or itself.",
    "RB007": "A feature of YAML that playbooks do not have: tags, merge keys, several documents, complex keys.",
    "RB008": "A number that JSON cannot hold exactly: too many digits, infinite, not a number.",
    "RB009": "The file is empty.",
    "RB010": "`runbook fmt` cannot change the layout of this file without changing what it says, and left it alone.",
    "RB012": "The file cannot be read: not allowed, gone, or a pipe or device and no file.",
    "RB101": "A key that is not known here.",
    "RB102": "A key is missing.",
    "RB103": "A value of the wrong type.",
    "RB104": "A value that is not allowed here.",
    "RB106": "The executor does not accept this request.",
    "RB107": "A library or one of its probes cannot be found or read.",
    "RB108": "An id stands twice.",
    "RB109": "The file is of no known kind.",
    "RB110": "`present` is missing in a symptom, or `present` and `recovering` stand outside of symptoms.",
    "RB111": "An input's default, pattern or bounds contradict its type.",
    "RB201": "An expression or template cannot be parsed.",
    "RB202": "A name that nothing in the playbook provides.",
    "RB203": "A name that exists, but not in this place.",
    "RB204": "rate, delta, rises, changes or diff outside the facts of a step with `sample`.",
    "RB205": "The baseline of something that is no fact.",
    "RB206": "A name is taken: facts are unique and hide no input and no word of the language.",
    "RB207": "Steps that wait for each other.",
    "RB208": "A step uses a fact that it establishes itself, only later.",
    "RB209": "A symptom's `present` needs a fact of the diagnosis, which comes after.",
    "RB301": "The SQL text would fail, or silently do something else.",
    "RB302": "A template in code. Code is constant, data is bound; the rewrite is shown.",
    "RB303": "A placeholder without a value, or a value without a placeholder.",
    "RB304": "An identifier comes from an input that anybody can set to anything: it needs a pattern or an enum.",
    "RB401": "A step of symptoms or diagnosis, a snapshot or a progress probe writes.",
    "RB402": "The declared effect is milder than what the act can do.",
    "RB403": "`idents` or `autocommit` outside of resolution.",
    "RB404": "A guard uses a fact that takes several answers to know.",
    "RB405": "`reversible` without an undo, or with one that only reads.",
    "RB406": "A target that does not exist, is of no known kind, or does not fit the executor.",
    "RB407": "Several targets fit and none is named.",
    "RB408": "A command in symptoms or diagnosis whose effect nobody declared.",
    "RB501": "`explains` names no cause.",
    "RB502": "Causes that explain each other.",
    "RB503": "`fix` names no action.",
}
